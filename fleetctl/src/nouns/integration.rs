//! `fleetctl integration`

use serde_json::{Value, json};

use super::session::Session;
use super::{edit, generic};
use crate::cli::nouns::{IntegrationVerb, UpgradeIntegrations};
use crate::context::{Failure, Outcome};
use crate::management::INTEGRATION;
use crate::plan::{changes, shown};

pub(super) async fn run(session: &Session, verb: &IntegrationVerb) -> Outcome {
    match verb {
        IntegrationVerb::List(flags) => {
            generic::list(session, &INTEGRATION, INTEGRATION.query(), flags).await
        }
        IntegrationVerb::Show(show) => generic::show(session, &INTEGRATION, show).await,
        IntegrationVerb::Create(flags) => generic::create(session, &INTEGRATION, flags).await,
        IntegrationVerb::Edit(flags) => edit::run(session, &INTEGRATION, flags).await,
        IntegrationVerb::Delete(delete) => generic::delete(session, &INTEGRATION, delete).await,
        IntegrationVerb::Upgrade(flags) => upgrade(session, flags).await,
    }
}

async fn upgrade(session: &Session, flags: &UpgradeIntegrations) -> Outcome {
    let ids = session.ids(&INTEGRATION, &flags.names).await?;
    let body = json!({"packagePolicyIds": ids});
    let path = if flags.dry_run { "package_policies/upgrade/dryrun" } else { "package_policies/upgrade" };
    let answer = session.client.post(path, &body).await?;
    let mut failures = 0;
    for (id, result) in ids.iter().zip(answer.as_array().into_iter().flatten()) {
        if flags.dry_run {
            failures += u8::from(tell_dry_run(session, id, result));
        } else if result.get("success").and_then(Value::as_bool) == Some(true) {
            session.console.line(format_args!("Upgraded integration {id}"));
        } else {
            failures = 1;
            session.console.note(format_args!("integration {id}: {}", why(result)));
        }
    }
    if failures > 0 { Err(Failure::new("Not every integration can be upgraded")) } else { Ok(0) }
}

/// Tells what an upgrade would change; says whether it cannot be.
fn tell_dry_run(session: &Session, id: &str, result: &Value) -> bool {
    if result.get("hasErrors").and_then(Value::as_bool) == Some(true) {
        session.console.note(format_args!("integration {id}: {}", why(result)));
        return true;
    }
    session.console.line(format_args!("integration {id}:"));
    if let Some([before, after]) = result.get("diff").and_then(Value::as_array).map(Vec::as_slice) {
        let written = |value: &Value| without_compiled(&Value::Object(INTEGRATION.written(value)));
        for change in changes(&written(before), &written(after)) {
            session.console.line(format_args!("  {}", shown(&change)));
        }
    }
    false
}

/// What is left is what people write: the rest follows from it.
fn without_compiled(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let own = fields.iter().filter(|(field, _)| !field.starts_with("compiled_"));
            Value::Object(own.map(|(field, value)| (field.clone(), without_compiled(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_compiled).collect()),
        other => other.clone(),
    }
}

fn why(result: &Value) -> String {
    let places = ["/body/message", "/message"];
    let told = places.iter().find_map(|place| result.pointer(place)?.as_str());
    told.map_or_else(|| result.to_string(), str::to_owned)
}
