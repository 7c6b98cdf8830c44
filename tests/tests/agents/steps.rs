//! What the product is for, from the policy to the agent that leaves.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fleet_test_engine::{Engine, EngineError};
use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};
use serde_json::{Value, json};

use crate::office::{Office, SOON, put_program, text};
use crate::relay::Relay;

const SERVICE: &str = "fleet-agent";
/// A file that a new revision names is collected within this of the revision's save, on a machine with nothing
/// else to do. Here are the compilers of other tests.
const COLLECTED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn a_policy_is_made_shipped_obeyed_changed_and_left() -> TestResult {
    // Where it is not installed yet, that takes longer than a test may.
    let engine = Engine::shared();
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let relay = Relay::start(bridge(servers), engine_port(engine)?).await?;
        let office = Office::open(servers).await?;

        // 1. A policy, made by the API, that says where data goes and what is collected.
        let output = json!({
            "name": "engine", "type": "elasticsearch", "hosts": [relay.url()], "is_default": true,
            "is_default_monitoring": true, "preset": "latency",
        });
        office.post("/api/fleet/outputs", output).await?;
        let policy = json!({"name": "machines", "namespace": "steps", "monitoring_enabled": []});
        let made = office.post("/api/fleet/agent_policies?sys_monitoring=true", policy).await?;
        let policy = text(&made["item"]["id"]);
        let log_of = |path: &str, dataset: &str| {
            let vars = json!({"paths": [path], "data_stream.dataset": dataset, "fingerprint": false,
                "file_identity_native": true, "check_interval": "500ms"});
            json!({"filestream-filestream": {"streams": {"filestream.filestream": {"vars": vars}}}})
        };
        office.add(&policy, "filestream", "first", log_of("/var/log/first.log", "first")).await?;
        let keys = office.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{policy}")).await?;
        let key = text(&keys["items"][0]["api_key"]);

        // 2. An agent enrols from a machine, and stays there as a service.
        agents.write_file("/var/log/first.log", "one\ntwo\nthree\n").await?;
        let id = install(agents, &office, &key).await?;

        // 3. The policy arrives.
        let saved = office.get(&format!("/api/fleet/agent_policies/{policy}")).await?;
        let revision = saved["item"]["revision"].clone();
        let runs = |revision: Value| move |agent: &Value| agent["policy_revision"] == revision;
        office.await_agent(&id, "the agent runs its policy", runs(revision)).await?;

        // 4. Lines and measurements are in the engine, under the data streams that the policy names.
        let lines = found(engine, "logs-first-steps", &json!({"term": {"agent.id": id}}), 3).await?;
        let messages: Vec<&str> = lines.iter().filter_map(|hit| hit["_source"]["message"].as_str()).collect();
        assert!(["one", "two", "three"].iter().all(|line| messages.contains(line)), "{messages:?}");
        let host = agents.exec(["hostname"]).await?.success()?.stdout.trim().to_owned();
        let memory = found(engine, "metrics-system.memory-steps", &json!({"match_all": {}}), 1).await?;
        let seen = &memory[0]["_source"];
        assert!(seen["system"]["memory"]["total"].as_u64().is_some_and(|bytes| bytes > 0), "{seen}");
        assert_eq!(seen["host"]["name"], host.as_str(), "{seen}");
        for name in ["logs-first-steps", "metrics-system.memory-steps"] {
            let streams = engine.get(&format!("/_data_stream/{name}")).await.map_err(of_engine)?;
            let streams = streams.success().map_err(of_engine)?;
            assert_eq!(streams["data_streams"][0]["name"], name, "{streams}");
        }

        // 5. The policy changes: a file that was not collected is.
        agents.write_file("/var/log/second.log", "four\n").await?;
        let began = Instant::now();
        office.add(&policy, "filestream", "second", log_of("/var/log/second.log", "second")).await?;
        found(engine, "logs-second-steps", &json!({"match": {"message": "four"}}), 1).await?;
        assert!(began.elapsed() < COLLECTED_WITHIN, "collected after {:?}", began.elapsed());

        // 6. How it is, is back in the API, unit by unit.
        let agent = office.await_agent(&id, "the agent and its units are well", is_well).await?;
        assert_eq!(agent["local_metadata"]["host"]["hostname"], host.as_str());

        // 7. It leaves: nothing is collected any more.
        office.post(&format!("/api/fleet/agents/{id}/unenroll"), json!({})).await?;
        office.await_agent(&id, "the agent has left", |agent| agent["active"] == false).await?;
        agents.shell("echo five >> /var/log/first.log").await?.success()?;
        wait_for("the agent has stopped collecting", SOON, async || {
            let status = agents.exec(["fleet-agent", "status", "-o", "json"]).await?.stdout;
            let status: Value = serde_json::from_str(&status).unwrap_or_default();
            let left = status["components"].as_array().is_none_or(Vec::is_empty);
            if left { Ok(()) } else { Err(NotYet::saw(status.to_string())) }
        })
        .await?;
        let late = json!({"match": {"message": "five"}});
        assert_eq!(engine.count("logs-first-steps", &late).await.map_err(of_engine)?, 0);
        Ok(())
    })
}

/// Installs the agent's service; returns the agent's id.
async fn install(machine: &Machine, office: &Office<'_>, key: &str) -> Result<String, HarnessError> {
    put_program(machine, SERVICE).await?;
    machine.write_file("/root/ca.pem", &office.authority().await?).await?;
    let url = office.url();
    let argv = [
        "fleet-agent",
        "install",
        "--non-interactive",
        "--url",
        &url,
        "--enrollment-token",
        key,
        "--certificate-authorities",
        "/root/ca.pem",
    ];
    let said = machine.exec(argv).await?.success()?.stdout;
    let id = said.lines().find_map(|line| line.strip_prefix("Successfully enrolled the agent: "));
    id.map(str::to_owned).ok_or_else(|| HarnessError::Unexpected(format!("install said {said:?}")))
}

fn is_well(agent: &Value) -> bool {
    let components = agent["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let units = || components.iter().flat_map(|one| one["units"].as_array().into_iter().flatten());
    agent["status"] == "online"
        && components.iter().all(|one| one["status"] == "HEALTHY")
        && units().count() > 2
        && units().all(|unit| unit["status"] == "HEALTHY")
}

/// So many documents of a data stream, once they are there.
async fn found(
    engine: &Engine,
    index: &str,
    query: &Value,
    count: usize,
) -> Result<Vec<Value>, HarnessError> {
    engine.wait_for(index, query, count, SOON).await.map_err(of_engine)
}

/// This host, as machines see it.
fn bridge(machine: &Machine) -> Ipv4Addr {
    let [a, b, c, _] = machine.address().ip().octets();
    Ipv4Addr::new(a, b, c, 1)
}

fn engine_port(engine: &Engine) -> Result<u16, HarnessError> {
    let port = engine.url().rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
    port.ok_or_else(|| HarnessError::Unexpected(format!("no port in {}", engine.url())))
}

fn of_engine(error: EngineError) -> HarnessError {
    HarnessError::Unexpected(format!("the engine: {error}"))
}
