//! From the first start to the stop.

use std::time::{Duration, Instant};

use fleet_component::unit::{State, UnitKey};
use serde_json::json;
use tokio::net::TcpStream;

use crate::agent::Agent;
use crate::host::{COMPONENT, Host, LONGEST, POLICY, in_state, input_unit};

/// A server that was killed is back after this time.
const BACK_MAX: Duration = Duration::from_secs(2);

/// The agent's first start, up to where it has enrolled and has its policy.
async fn enrolled() -> (Host, Agent, String) {
    let host = Host::start().await;
    host.apply("fleet-server", &host.server(), 1).await;
    let input = input_unit("fleet-server");
    let output = UnitKey::output(COMPONENT);
    let component = host.until(|component| in_state(component, &input, State::Degraded).is_some()).await;
    let status = &component.units[&input];
    assert!(status.message.contains("missing config fleet.agent.id"), "{}", status.message);
    assert!(
        status.message.contains(POLICY) && status.message.contains("store: embedded"),
        "{}",
        status.message
    );
    assert_eq!(component.units[&output].message, status.message);
    let payload = status.payload.as_ref().expect("a payload");
    let token = payload["enrollment_token"].as_str().expect("a token").to_owned();

    let mut agent = Agent::enrol(host.internal_port, &token).await;
    host.enrolled(&agent.id).await;
    let component = host.until_healthy("fleet-server").await;
    assert_eq!(component.units[&input].payload, None);
    let policy = agent.take_policy(host.internal_port).await;
    assert_eq!(policy["id"], POLICY);
    let inputs = policy["inputs"].as_array().expect("inputs");
    assert!(inputs.iter().any(|input| input["type"] == "fleet-server"), "{policy}");
    (host, agent, token)
}

/// Whoever has enrolled is known, and is held; others can enrol.
async fn goes_on(host: &Host, agent: Agent, token: &str) {
    let held = tokio::spawn(agent.hold(host.internal_port));
    let mut other = Agent::enrol(host.internal_port, token).await;
    assert_eq!(other.take_policy(host.internal_port).await["id"], POLICY);
    if held.is_finished() {
        panic!("what should be held was answered: {:?}", held.await);
    }
    host.supervisor.stop(Duration::from_secs(20)).await;
    assert!(held.await.expect("a check-in").is_some_and(|(status, _)| status.is_success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_enrols_at_the_server_that_it_runs() {
    let (host, agent, _) = enrolled().await;
    let pid = host.until_healthy("fleet-server").await.pid;
    let held = tokio::spawn(agent.hold(host.internal_port));

    // The policy has an input of another id: the same server goes on under it.
    host.apply("of-the-policy", &host.server(), 2).await;
    let component = host.until_healthy("of-the-policy").await;
    assert_eq!(component.units.len(), 2, "{component:#?}");
    assert_eq!((component.pid, component.restarts), (pid, 0));
    assert!(!held.is_finished());

    let files = host.supervisor.diagnostics(COMPONENT, &[]).await.expect("files");
    assert_eq!(files[0].filename, "fleet-server.yml");
    let text = String::from_utf8_lossy(&files[0].content).into_owned();
    assert!(text.contains("internal_port") && !text.contains("service_token"), "{text}");
    let unit = host.supervisor.unit_diagnostics(COMPONENT, input_unit("of-the-policy")).await;
    assert_eq!(unit, Ok(Vec::new()));
    let unknown = host.supervisor.action(
        COMPONENT,
        input_unit("of-the-policy"),
        "dance",
        serde_json::Map::new(),
        LONGEST,
    );
    assert!(unknown.await.is_err_and(|error| error.to_string().contains("action undefined")));
    assert!(host.data().join("admin-password").exists());

    let began = Instant::now();
    host.supervisor.stop(Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let stopped = host.until(|component| component.state == State::Stopped).await;
    assert_eq!(stopped.restarts, 0);
    // Who was held is answered.
    let answer = held.await.expect("a check-in");
    assert!(answer.is_some_and(|(status, _)| status.is_success()));
    assert!(TcpStream::connect(("127.0.0.1", host.port)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_refuses_nobody() {
    let (host, agent, token) = enrolled().await;
    let pid = host.until_healthy("fleet-server").await.pid;
    let held = tokio::spawn(agent.clone().hold(host.internal_port));
    let port = host.port;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let knocking = tokio::spawn(async move {
        let mut refused = 0;
        while stopped.try_recv().is_err() {
            refused += u32::from(TcpStream::connect(("127.0.0.1", port)).await.is_err());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        refused
    });

    let mut server = host.server();
    server["compression_level"] = json!(3);
    host.apply("changed", &server, 2).await;
    let component = host.until_healthy("changed").await;
    assert_eq!((component.pid, component.restarts), (pid, 0));
    assert!(held.await.expect("a check-in").is_some_and(|(status, _)| status.is_success()));
    stop.send(()).expect("somebody knocks");
    assert_eq!(knocking.await.expect("somebody knocks"), 0);
    goes_on(&host, agent, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_back_at_once() {
    let (host, agent, token) = enrolled().await;
    let before = host.until_healthy("fleet-server").await;
    let pid = before.pid.and_then(|pid| i32::try_from(pid).ok()).expect("a process");
    let held = tokio::spawn(agent.clone().hold(host.internal_port));
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is killed");
    let began = Instant::now();
    assert!(held.await.expect("a check-in").is_none());
    host.until(|component| component.pid != before.pid && component.is_healthy()).await;
    assert!(began.elapsed() < BACK_MAX, "{:?}", began.elapsed());
    goes_on(&host, agent, &token).await;
}
