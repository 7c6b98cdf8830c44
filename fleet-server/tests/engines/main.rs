//! A real program that administers real engines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../agents/agent.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod agent;
#[path = "../management/packages/archives.rs"]
#[expect(dead_code, reason = "shared with the tests of the management API")]
mod archives;
mod assets;
#[path = "../agents/opamp/collector.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod collector;
mod collectors;
mod data;
mod endings;
mod keys;
#[path = "../agents/manager.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod manager;
mod partly;
#[path = "../agents/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod server;
mod stand_in;
mod whole;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::manager::Manager;
use crate::server::Server;

/// The longest time for an engine to be as it should be: a hundred templates take seconds under load.
const BOUND: Duration = Duration::from_mins(2);
const FIRST_OUTPUT: &str = "/api/fleet/outputs/fleet-default-output";

/// A server whose default output is at `url`, with what else its advanced YAML says.
async fn server_with(url: &str, yaml: &str, settings: &[String]) -> (Server, Manager) {
    let server = Server::start(settings);
    let manager = Manager::of(&server);
    let output = json!({"name": "default", "type": "elasticsearch", "hosts": [url], "config_yaml": yaml});
    let (status, answer) = manager.ask("PUT", FIRST_OUTPUT, Some(&output)).await;
    assert_eq!(status, 200, "{answer}");
    (server, manager)
}

/// Looks again and again until there is something, and answers it.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, Value>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(last) => assert!(began.elapsed() < BOUND, "{what}: {last:#}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is told of a package in the engine of the default output, once that has this status.
async fn in_engine(manager: &Manager, package: &str, status: &str) -> Value {
    eventually(status, async || {
        let item = manager.get(&format!("/api/fleet/epm/packages/{package}")).await["item"].take();
        let engine = item["engines"].as_array().and_then(|engines| engines.first()).cloned();
        match engine {
            Some(engine) if engine["status"] == status => Ok(engine),
            other => Err(json!({"engines": other, "log": item["status"]})),
        }
    })
    .await
}
