//! A component in a few lines: each input unit greets somebody, and says so in its state.
//!
//! `example-component.spec.yml`, which lies beside the program, tells an agent about it.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use fleet_component::component::{About, Action, Change, Handler, News, Reporter, StartUp, Unit, run};
use fleet_component::unit::{State, UnitKind};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

struct Greeter;

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
                        Ok(text) => reporter.report(&unit.key, State::Healthy, text),
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
        Ok(Map::from_iter([("greeted".to_owned(), json!(action.params.get("whom")))]))
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
