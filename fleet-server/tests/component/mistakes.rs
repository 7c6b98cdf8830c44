//! What an agent may say and no server can be.

use std::time::Duration;

use fleet_component::unit::State;
use serde_json::json;

use crate::host::{Host, in_state, input_unit};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told_and_mended() {
    let host = Host::start().await;
    let mut server = host.server();
    server["port"] = json!("eighty");
    host.apply("a", &server, 1).await;
    let input = input_unit("a");
    let failed = host.until(|component| in_state(component, &input, State::Failed).is_some()).await;
    assert!(failed.units[&input].message.contains("inputs.0.server.port"), "{failed:#?}");

    // Somebody else has the port.
    let taken = std::net::TcpListener::bind(("127.0.0.1", host.internal_port)).expect("a port");
    host.apply("a", &host.server(), 2).await;
    let port = host.internal_port.to_string();
    let failed = host
        .until(|component| {
            in_state(component, &input, State::Failed).is_some_and(|unit| unit.message.contains(&port))
        })
        .await;
    assert_eq!(failed.restarts, 0);
    drop(taken);
    host.until(|component| in_state(component, &input, State::Degraded).is_some()).await;
    host.supervisor.stop(Duration::from_secs(20)).await;
}
