//! A component in a few lines: each input unit greets somebody, and says so in its state.
//!
//! `example-component.spec.yml`, which lies beside the program, tells an agent about it. With `--service ADDRESS` it is a
//! service of the system: `example-service` installs it as one.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use fleet_component::component::{
    About, Action, Address, Change, DiagnosticFile, Handler, News, Reporter, Scope, ServeError, Unit, serve,
    serve_at,
};
use fleet_component::unit::{State, UnitKind};
use serde_json::{Map, Value};

struct Greeter;

fn greet(unit: &Unit) -> (State, String) {
    match unit.config.get("greet").and_then(Value::as_str) {
        _ if unit.key.kind == UnitKind::Output => (State::Healthy, "Healthy".to_owned()),
        Some(whom) => (State::Healthy, format!("Hello, {whom}!")),
        None => (State::Failed, "greet is missing: name whom to greet".to_owned()),
    }
}

#[async_trait]
impl Handler for Greeter {
    async fn changed(&self, news: News, reporter: &Reporter) {
        for change in news.changes {
            match change {
                Change::Added(unit) | Change::Changed(unit) => {
                    let (state, text) = greet(&unit);
                    // What is written to the standard output goes to the agent's log.
                    let _ = writeln!(std::io::stdout(), "{text}");
                    reporter.report(&unit.key, state, text);
                }
                Change::Stop(unit) => reporter.report(&unit, State::Stopped, "Stopped"),
                Change::Removed(_) => {}
            }
        }
    }

    async fn action(&self, action: Action) -> Result<Map<String, Value>, String> {
        let whom = action.params.get("data").and_then(|data| data["whom"].as_str());
        let whom = whom.ok_or("data.whom is missing: name whom to greet")?;
        Ok(Map::from_iter([("greeted".to_owned(), whom.into())]))
    }

    async fn diagnostics(&self, scope: Scope) -> Vec<DiagnosticFile> {
        let Scope::Component { .. } = scope else { return Vec::new() };
        let (filename, content) = ("manners.txt".to_owned(), b"very\n".to_vec());
        vec![DiagnosticFile { filename, content, ..DiagnosticFile::default() }]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ServeError> {
    let about = About { name: "example-component".to_owned(), ..About::default() };
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--service"), Some(address)) => {
            let address: Address = address.parse().map_err(ServeError::StartUp)?;
            serve_at(&address, about, Arc::new(Greeter)).await
        }
        _ => serve(about, Arc::new(Greeter)).await,
    }
}
