//! A component in a few lines: each input unit greets somebody, and says so in its state.
//!
//! `example-component.spec.yml`, which lies beside the program, tells an agent about it.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use fleet_component::component::{
    About, Action, Change, DiagnosticFile, Handler, News, Reporter, Scope, StartUp, Unit, run,
};
use fleet_component::unit::{State, UnitKind};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

struct Greeter;

/// What a component writes to its standard output goes to the agent's log.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // The agent may be gone; then this process is about to be.
    let _ = writeln!(out, "{text}");
}

fn greeting(unit: &Unit) -> Result<String, &'static str> {
    let whom = unit.config.get("greet").and_then(Value::as_str);
    whom.map(|whom| format!("Hello, {whom}!")).ok_or("greet is missing: name whom to greet")
}

#[async_trait]
impl Handler for Greeter {
    async fn changed(&self, news: News, reporter: &Reporter) {
        for change in news.changes {
            match change {
                Change::Added(unit) | Change::Changed(unit) if unit.key.kind == UnitKind::Input => {
                    match greeting(&unit) {
                        Ok(text) => {
                            say(&text);
                            reporter.report(&unit.key, State::Healthy, text);
                        }
                        Err(problem) => reporter.report(&unit.key, State::Failed, problem),
                    }
                }
                Change::Added(unit) | Change::Changed(unit) => {
                    reporter.report(&unit.key, State::Healthy, "Healthy");
                }
                Change::Stop(unit) => reporter.report(&unit, State::Stopped, "Stopped"),
                Change::Removed(_) => {}
            }
        }
    }

    async fn action(&self, action: Action) -> Result<Map<String, Value>, String> {
        let whom = action.params.get("data").and_then(|data| data.get("whom")).and_then(Value::as_str);
        let whom = whom.ok_or("data.whom is missing: name whom to greet")?;
        Ok(Map::from_iter([("greeted".to_owned(), json!(whom))]))
    }

    async fn diagnostics(&self, scope: Scope) -> Vec<DiagnosticFile> {
        if matches!(scope, Scope::Unit(_)) {
            return Vec::new();
        }
        vec![DiagnosticFile {
            name: "manners".to_owned(),
            filename: "manners.txt".to_owned(),
            description: "How polite it is".to_owned(),
            content_type: "text/plain".to_owned(),
            content: b"very\n".to_vec(),
        }]
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let start_up = StartUp::read()?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn({
        let stop = stop.clone();
        async move { terminate.recv().await.map(|()| stop.cancel()) }
    });
    let about = About { name: "example-component".to_owned(), ..About::default() };
    Ok(run(start_up, about, Arc::new(Greeter), stop).await?)
}
