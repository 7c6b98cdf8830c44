//! The verbs that most nouns have.

use serde_json::{Map, Value, json};

use super::input::{read_fields, set_fields};
use super::print;
use super::session::Session;
use crate::cli::nouns::{Create, Delete, List, Output, Show};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::management::{ApiError, Deletion, Kind, Query, list as list_pages};

/// `list`
pub(crate) async fn list(session: &Session, kind: &Kind, query: Query, flags: &List) -> Outcome {
    let query = match &flags.kuery {
        Some(kuery) => query.with("kuery", kuery.as_str()),
        None => query,
    };
    let list = list_pages(&session.client, kind, &query, flags.limit).await?;
    print::list(&session.console, kind, &list, flags.output, flags.no_legend);
    Ok(0)
}

/// `show`
pub(crate) async fn show(session: &Session, kind: &Kind, flags: &Show) -> Outcome {
    let object = session.object(kind, &flags.name).await?;
    print::object(&session.console, kind, &object, flags.output);
    Ok(0)
}

/// `create`
pub(crate) async fn create(session: &Session, kind: &Kind, flags: &Create) -> Outcome {
    let body = body_of(kind, flags)?;
    if body.is_empty() {
        return Err(Failure {
            message: format!("Error: nothing is said of the new {}: give NAME, --set or --file", kind.title),
            code: 2,
        });
    }
    let object = post(session, kind, Value::Object(body)).await?;
    created(session, kind, &object, flags.output);
    Ok(0)
}

/// The body of a new object, from the flags of `create`.
pub(crate) fn body_of(kind: &Kind, flags: &Create) -> Result<Map<String, Value>, Failure> {
    let mut body = match &flags.file {
        Some(path) => read_fields(path)?,
        None => Map::new(),
    };
    // What `show` prints of another object may be given.
    body.retain(|field, _| !kind.is_server_set(field));
    if let Some(name) = &flags.name {
        body.insert("name".to_owned(), name.as_str().into());
    }
    set_fields(&mut body, &flags.fields)?;
    Ok(body)
}

/// Creates an object; returns it as the server has it.
pub(crate) async fn post(session: &Session, kind: &Kind, body: Value) -> Result<Value, ApiError> {
    let path = format!("{}{}", kind.path, kind.item_query());
    let mut answer = session.client.post(&path, &body).await?;
    Ok(answer.get_mut("item").map(Value::take).unwrap_or(answer))
}

/// Tells that an object was created.
pub(crate) fn created(session: &Session, kind: &Kind, object: &Value, output: Option<Output>) {
    match output {
        Some(output) => print::object(&session.console, kind, object, output),
        None => session.console.line(format_args!("Created {}", print::called(kind, object))),
    }
}

/// `delete`
pub(crate) async fn delete(session: &Session, kind: &Kind, flags: &Delete) -> Outcome {
    let mut objects = Vec::with_capacity(flags.names.len());
    for name in &flags.names {
        let object = session.object(kind, name).await?;
        let id = kind.id_of(&object).unwrap_or(name).to_owned();
        objects.push((id, print::called(kind, &object)));
    }
    if session.console.is_interactive() {
        let called: Vec<&str> = objects.iter().map(|(_, called)| called.as_str()).collect();
        session.confirm(flags.yes, &format!("Delete {}?", called.join(", "))).await?;
    }
    for (id, called) in objects {
        remove(session, kind, &id, flags.force).await?;
        session.console.line(format_args!("Deleted {called}"));
    }
    Ok(0)
}

/// Deletes an object by its id.
pub(crate) async fn remove(session: &Session, kind: &Kind, id: &str, force: bool) -> Result<(), ApiError> {
    match kind.deletion {
        Deletion::Delete => {
            let force = if force { "?force=true" } else { "" };
            session.client.delete(&format!("{}/{}{force}", kind.path, percent_encode(id))).await?;
        }
        Deletion::Post { path, field } => {
            let mut body = json!({field: id});
            if force {
                body["force"] = true.into();
            }
            session.client.post(path, &body).await?;
        }
    }
    Ok(())
}
