//! From start to end, with every signal between.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use serde_json::json;

use crate::bus::Service;
use crate::daemon::{Daemon, Machine};
use crate::wait_for;

const HELLO: &str = r#"{"desiredState":"launched","options":[
    {"section":"Service","name":"ExecStart","value":"/bin/sleep 1000"}]}"#;

/// A machine that runs `hello.service`.
async fn running() -> (Machine, Daemon) {
    running_with(Machine::new(), &[]).await
}

async fn running_with(machine: Machine, variables: &[(&str, &str)]) -> (Machine, Daemon) {
    let daemon = machine.start_with(variables).await;
    assert_eq!(daemon.ask("PUT", "/fleet/v1/units/hello.service", HELLO).await, (201, String::new()));
    // The agent is done with it when it says so; systemd's state is known a moment before.
    wait_for("the unit is launched", async || {
        let unit = daemon.get("/fleet/v1/units/hello.service").await;
        (unit["currentState"] == "launched").then_some(())
    })
    .await;
    daemon.wait_for_state("hello.service", "running").await;
    assert_eq!(machine.bus.take_jobs(), ["StartUnit hello.service"]);
    (machine, daemon)
}

fn machine_id() -> String {
    std::fs::read_to_string("/etc/machine-id").unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_unit_runs_and_usr1_shows_it() {
    let (_machine, mut daemon) = running().await;
    // What is shown as unpublished may be so for a moment.
    let dump = wait_for("everything is published", async || {
        daemon.signal(Signal::USR1);
        let dump: serde_json::Value = serde_json::from_str(&daemon.line().await).unwrap();
        (dump["UnitStatePublisher"]["ToPublish"] == json!({})).then_some(dump)
    })
    .await;
    let published = json!({
        "LoadState": "loaded", "ActiveState": "active", "SubState": "running",
        "MachineID": machine_id(), "UnitHash": "2d432f4a06608c1a8b2848b66c836793a1d48ce6",
        "UnitName": "hello.service",
    });
    assert_eq!(
        dump,
        json!({
            "Agent": {"Cache": {"TargetStates": {"hello.service": "launched"}}},
            "UnitStatePublisher": {"Cache": {"hello.service": published}, "ToPublish": {}},
            "UnitStateGenerator": {"Subscribed": ["hello.service"]},
        })
    );
}

#[tokio::test]
async fn metrics_show_what_engine_and_store_do() {
    let (_machine, daemon) = running().await;
    let (status, metrics) = daemon.ask("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    let value = |series: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("no {series}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value("fleet_engine_task_count_total{type=\"attemptscheduleunit\"}"), 1.0);
    assert!(value("fleet_engine_leader_start_time") > 1.7e9);
    assert!(value("fleet_engine_reconcile_count_total") >= 1.0);
    for operation in ["get", "get_all", "set", "watch", "grant"] {
        assert!(
            value(&format!("fleet_registry_operation_count_total{{type=\"{operation}\"}}")) > 0.0,
            "{operation}"
        );
        assert_eq!(
            value(&format!("fleet_registry_operation_failed_count_total{{type=\"{operation}\"}}")),
            0.0
        );
    }
}

#[tokio::test]
async fn a_reload_takes_the_new_configuration_and_touches_no_unit() {
    let (machine, daemon) = running().await;
    daemon.ask("PUT", "/fleet/v1/units/other.service", &HELLO.replace("launched", "inactive")).await;
    machine.configure("token_limit = 1\nmetadata = colour=blue\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("Reloading configuration").await;
    wait_for("pages have one entry", async || {
        let page = daemon.get("/fleet/v1/units").await;
        (page["nextPageToken"] == "AQACAA==").then_some(())
    })
    .await;
    wait_for("metadata is new", async || {
        let page = daemon.get("/fleet/v1/machines").await;
        (page["machines"][0]["metadata"] == json!({"colour": "blue"})).then_some(())
    })
    .await;
    daemon.wait_for_state("hello.service", "running").await;
    assert_eq!(machine.bus.take_jobs(), Vec::<String>::new(), "{}", daemon.log());
}

#[tokio::test]
async fn a_reload_of_a_bad_configuration_changes_nothing() {
    let (machine, daemon) = running().await;
    machine.configure("token_limit = none\nagent_ttl = 30\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration has mistakes").await;
    let log = daemon.log();
    assert!(log.contains("token_limit") && log.contains("agent_ttl"), "{log}");
    assert_eq!(daemon.get("/fleet/v1/units").await.get("nextPageToken"), None);
    assert_eq!(daemon.get("/fleet/v1/state/hello.service").await["systemdSubState"], "running");
    assert_eq!(machine.bus.take_jobs(), Vec::<String>::new());
}

#[tokio::test]
async fn an_end_for_good_hands_units_over() {
    for signal in [Signal::TERM, Signal::INT] {
        let (machine, mut daemon) = running().await;
        daemon.signal(signal);
        assert!(daemon.ended().await.success(), "{}", daemon.log());
        assert_eq!(machine.bus.take_jobs(), ["StopUnit hello.service"]);
        assert!(!machine.path("run/units/hello.service").exists());
        assert!(!machine.path("fleet.sock").exists(), "its socket is gone");
    }
}

/// A person starts fleetd where a service's variables are inherited: it is that service by no means, even while
/// that one is being restarted.
#[tokio::test]
async fn variables_of_another_service_mean_nothing() {
    for service in [None, Some(Service { main: Some(1), job: Some("restart") })] {
        let machine = Machine::new();
        if let Some(service) = service {
            machine.bus.set_service(service);
        }
        let path = machine.path("notify");
        let notified = UnixDatagram::bind(&path).unwrap();
        let inherited = [
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("INVOCATION_ID", "0123456789abcdef0123456789abcdef"),
            ("JOURNAL_STREAM", "8:1234"),
            ("LISTEN_PID", "1"),
            ("LISTEN_FDS", "3"),
            ("WATCHDOG_PID", "1"),
            ("WATCHDOG_USEC", "1000"),
        ];
        let (machine, mut daemon) = running_with(machine, &inherited).await;
        daemon.signal(Signal::TERM);
        assert!(daemon.ended().await.success(), "{}", daemon.log());
        assert_eq!(machine.bus.take_jobs(), ["StopUnit hello.service"], "it ends for good");
        notified.set_nonblocking(true).unwrap();
        assert!(notified.recv(&mut [0; 100]).is_err(), "the other service's state is not its own to tell");
    }
}

#[tokio::test]
async fn a_service_tells_how_it_is_and_asks_why_it_ends() {
    for (job, jobs) in
        [(Some("stop"), vec!["StopUnit hello.service"]), (Some("restart"), vec![]), (None, vec![])]
    {
        let machine = Machine::new();
        machine.bus.set_service(Service { main: None, job });
        let path = machine.path("notify");
        let notified = UnixDatagram::bind(&path).unwrap();
        let (machine, mut daemon) = running_with(machine, &[("NOTIFY_SOCKET", path.to_str().unwrap())]).await;
        let mut told = [0; 100];
        notified.set_nonblocking(true).unwrap();
        let size = notified.recv(&mut told).unwrap();
        assert!(told[..size].starts_with(b"READY=1"), "{:?}", String::from_utf8_lossy(&told[..size]));
        daemon.signal(Signal::TERM);
        assert!(daemon.ended().await.success(), "{}", daemon.log());
        assert_eq!(machine.bus.take_jobs(), jobs, "{job:?}");
    }
}

#[tokio::test]
async fn units_are_left_running_where_that_is_asked_for() {
    let (machine, mut daemon) = running().await;
    machine.configure("stop_units_on_shutdown = false\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("Reloading configuration").await;
    // The reload is over when the next signal is looked at.
    daemon.signal(Signal::TERM);
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(machine.bus.take_jobs(), Vec::<String>::new());
    assert_eq!(machine.bus.active(), ["hello.service"]);
    assert!(machine.path("run/units/hello.service").exists());
}

#[tokio::test]
async fn a_fleetd_that_was_killed_comes_back_to_what_runs() {
    let (machine, mut daemon) = running().await;
    daemon.signal(Signal::KILL);
    assert!(!daemon.ended().await.success());
    let began = std::time::Instant::now();
    let daemon = machine.start().await;
    daemon.wait_for_state("hello.service", "running").await;
    assert!(
        began.elapsed().as_secs() < 5,
        "its own registration must not keep it out: {:?}",
        began.elapsed()
    );
    assert_eq!(machine.bus.take_jobs(), Vec::<String>::new(), "it adopts what runs: {}", daemon.log());
    // And steers it as before.
    assert_eq!(daemon.ask("DELETE", "/fleet/v1/units/hello.service", "").await.0, 204);
    wait_for("the unit is gone", async || machine.bus.active().is_empty().then_some(())).await;
    wait_for("its state is gone", async || {
        (daemon.ask("GET", "/fleet/v1/state/hello.service", "").await.0 == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_fleetd_in_the_same_place_is_refused() {
    let (machine, daemon) = running().await;
    let second = tokio::process::Command::new(env!("CARGO_BIN_EXE_fleetd"))
        .arg("--config")
        .arg(machine.path("fleet.conf"))
        .env_clear()
        .envs(machine.environment())
        .kill_on_drop(true)
        .output();
    let second = tokio::time::timeout(crate::LIMIT, second).await.unwrap().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let log = String::from_utf8(second.stderr).unwrap();
    assert!(log.contains("fleetd ends"), "{log}");
    assert_eq!(daemon.get("/fleet/v1/state/hello.service").await["systemdSubState"], "running");
    assert_eq!(machine.bus.take_jobs(), Vec::<String>::new());
}
