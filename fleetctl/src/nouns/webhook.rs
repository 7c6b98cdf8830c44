//! `fleetctl webhook`

use serde_json::{Value, json};

use super::session::Session;
use super::{edit, generic, print};
use crate::cli::nouns::{Create, Output, Show, WebhookVerb};
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::management::{Query, WEBHOOK};

pub(super) async fn run(session: &Session, verb: &WebhookVerb) -> Outcome {
    match verb {
        WebhookVerb::List(list) => generic::list(session, &WEBHOOK, Query::default(), list).await,
        WebhookVerb::Show(show) => generic::show(session, &WEBHOOK, show).await,
        WebhookVerb::Create(create) => make(session, create).await,
        WebhookVerb::Edit(flags) => edit::run(session, &WEBHOOK, flags).await,
        WebhookVerb::Delete(delete) => generic::delete(session, &WEBHOOK, delete).await,
        WebhookVerb::Test(show) => test(session, show).await,
    }
}

/// Its secret is told once, in a line of its own.
async fn make(session: &Session, flags: &Create) -> Outcome {
    let body = Value::Object(generic::body_of(&WEBHOOK, flags)?);
    let answer = session.client.post(WEBHOOK.path, &body).await?;
    if let Some(output @ (Output::Json | Output::Yaml)) = flags.output {
        print::object(&session.console, &WEBHOOK, &answer, output);
        return Ok(0);
    }
    let webhook = answer.get("item").unwrap_or(&answer);
    generic::created(session, &WEBHOOK, webhook, flags.output);
    if let (None | Some(Output::Table), Some(secret)) =
        (flags.output, answer.get("secret").and_then(Value::as_str))
    {
        session.console.line(secret);
    }
    Ok(0)
}

/// Sends an event, and tells what the receiver said.
async fn test(session: &Session, flags: &Show) -> Outcome {
    let id = session.id(&WEBHOOK, &flags.name).await?;
    let path = format!("{}/{}/test", WEBHOOK.path, percent_encode(&id));
    let answer = session.client.post(&path, &json!({})).await?;
    let tried = answer.get("item").unwrap_or(&answer);
    let told = |field: &str| tried.get(field).filter(|value| !value.is_null()).map(ToString::to_string);
    let why = told("error").or_else(|| told("status")).unwrap_or_default();
    if tried.get("delivered") == Some(&Value::Bool(true)) {
        session.console.line(format_args!("The receiver of webhook {id} took it ({why})"));
        return Ok(0);
    }
    Err(Failure::new(format!("the receiver of webhook {id} did not take it: {why}")))
}
