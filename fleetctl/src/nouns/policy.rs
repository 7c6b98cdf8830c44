//! `fleetctl policy`

use serde_json::{Value, json};

use super::print;
use super::session::Session;
use super::{edit, generic};
use crate::cli::nouns::{
    CopyPolicy, Create, DiffPolicy, DownloadPolicy, Output, PolicyRevisions, PolicyVerb, Rollback,
};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{Body, Cell, Column, POLICY, Query, list_at};
use crate::plan::{Change, shown};
use crate::yaml::to_text;

const REVISION_COLUMNS: &[Column] = &[
    Column { title: "REVISION", cell: Cell::Text(&["/revision"]) },
    Column { title: "UPDATED", cell: Cell::Text(&["/updated_at"]) },
    Column { title: "BY", cell: Cell::Text(&["/updated_by"]) },
];

pub(super) async fn run(session: &Session, verb: &PolicyVerb) -> Outcome {
    match verb {
        PolicyVerb::List(flags) => generic::list(session, &POLICY, Query::default(), flags).await,
        PolicyVerb::Show(show) => generic::show(session, &POLICY, show).await,
        PolicyVerb::Create(flags) => create(session, flags).await,
        PolicyVerb::Edit(flags) => edit::run(session, &POLICY, flags).await,
        PolicyVerb::Delete(delete) => generic::delete(session, &POLICY, delete).await,
        PolicyVerb::Copy(flags) => copy(session, flags).await,
        PolicyVerb::Revisions(flags) => revisions(session, flags).await,
        PolicyVerb::Diff(flags) => diff(session, flags).await,
        PolicyVerb::Rollback(flags) => rollback(session, flags).await,
        PolicyVerb::Download(flags) => download(session, flags).await,
    }
}

async fn create(session: &Session, flags: &Create) -> Outcome {
    let mut body = generic::body_of(&POLICY, flags)?;
    body.entry("namespace").or_insert_with(|| "default".into());
    let object = generic::post(session, &POLICY, Value::Object(body)).await?;
    generic::created(session, &POLICY, &object, flags.output);
    Ok(0)
}

async fn copy(session: &Session, flags: &CopyPolicy) -> Outcome {
    let id = session.id(&POLICY, &flags.policy).await?;
    let mut body = json!({"name": flags.name});
    if let Some(description) = &flags.description {
        body["description"] = description.as_str().into();
    }
    let path = format!("agent_policies/{}/copy", percent_encode(&id));
    let mut answer = session.client.post(&path, &body).await?;
    let object = answer.get_mut("item").map(Value::take).unwrap_or(answer);
    generic::created(session, &POLICY, &object, None);
    Ok(0)
}

async fn revisions(session: &Session, flags: &PolicyRevisions) -> Outcome {
    let id = session.id(&POLICY, &flags.policy).await?;
    let path = format!("agent_policies/{}/revisions", percent_encode(&id));
    let found = list_at(&session.client, &path, &Query::default(), flags.list.limit).await?;
    let shape = (REVISION_COLUMNS, "revision");
    print::rows(&session.console, shape, &found, flags.list.output, flags.list.no_legend);
    Ok(0)
}

async fn diff(session: &Session, flags: &DiffPolicy) -> Outcome {
    let policy = session.object(&POLICY, &flags.policy).await?;
    let id = POLICY.id_of(&policy).unwrap_or(&flags.policy);
    let newest = policy.get("revision").and_then(Value::as_u64);
    let revision = flags.revision.or(newest).ok_or_else(|| {
        Failure::new(format!("the server names no revision of {}", print::called(&POLICY, &policy)))
    })?;
    let against = flags.against.map(|against| format!("?against={against}")).unwrap_or_default();
    let path = format!("agent_policies/{}/revisions/{revision}/diff{against}", percent_encode(id));
    let mut answer = session.client.get(&path).await?;
    let difference = answer.get_mut("item").map(Value::take).unwrap_or(answer);
    match flags.output {
        Output::Json => session.console.line(format_args!("{difference:#}")),
        Output::Yaml => session.console.data(to_text(&difference).as_bytes()),
        Output::Table | Output::Id => {
            for change in difference.get("changes").and_then(Value::as_array).into_iter().flatten() {
                session.console.line(shown(&change_of(change)));
            }
        }
    }
    Ok(0)
}

fn change_of(change: &Value) -> Change {
    let side = |field: &str| change.get(field).filter(|value| !value.is_null()).cloned();
    let path = change.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
    Change { path, before: side("before"), after: side("after") }
}

async fn rollback(session: &Session, flags: &Rollback) -> Outcome {
    let policy = session.object(&POLICY, &flags.policy).await?;
    let id = POLICY.id_of(&policy).unwrap_or(&flags.policy);
    let called = print::called(&POLICY, &policy);
    session.confirm(flags.yes, &format!("Make {called} what it was in revision {}?", flags.to)).await?;
    let path = format!("agent_policies/{}/revisions/{}/rollback", percent_encode(id), flags.to);
    let answer = session.client.post(&path, &json!({})).await?;
    let revision = answer.pointer("/item/revision").map(Value::to_string).unwrap_or_default();
    session.console.line(format_args!("{called} is as in revision {}: revision {revision}", flags.to));
    Ok(0)
}

async fn download(session: &Session, flags: &DownloadPolicy) -> Outcome {
    let id = session.id(&POLICY, &flags.policy).await?;
    let path = format!("api/fleet/agent_policies/{}/download", percent_encode(&id));
    let reply = session.client.raw(hyper::Method::GET, &path, Body::Nothing).await?;
    match &flags.file {
        Some(path) => std::fs::write(path, &reply.body).map_err(|error| {
            Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error)))
        })?,
        None => session.console.data(&reply.body),
    }
    Ok(0)
}
