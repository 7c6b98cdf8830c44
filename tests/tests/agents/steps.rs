//! What the product is for, from the policy to the agent that leaves.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fleet_test_engine::{Client, Elastic, Engine, EngineError, Reply};
use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};
use serde_json::{Value, json};

use crate::office::{self, Office, SOON, enrolled, text};
use crate::relay::Relay;

/// A file that a new revision names is collected within this of the revision's save.
const COLLECTED_WITHIN: Duration = Duration::from_secs(2);
/// So often may something else keep the machine busy meanwhile.
const TRIES: u32 = 5;

#[test]
fn a_policy_is_made_shipped_obeyed_changed_and_left() -> TestResult {
    // Where it is not installed yet, that takes longer than a test may.
    let engine = Engine::shared();
    seven_steps(engine, &Value::Null)
}

#[test]
fn the_key_of_an_agent_that_left_is_dead() -> TestResult {
    let Some(elastic) = Elastic::from_env() else { return Ok(()) };
    templates(&elastic)?;
    let login = format!("username: {}\npassword: {}\n", elastic.user(), elastic.password());
    seven_steps(&elastic, &json!(login))
}

/// From the policy to the agent that leaves. `login` is what the output has for the engine beside its address; an
/// engine that asks for one has keys.
fn seven_steps(engine: &Client, login: &Value) -> TestResult {
    let has_keys = !login.is_null();
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, machine) = (cluster.machine(0)?, cluster.machine(1)?);
        let relay = Relay::start(bridge(servers), engine_port(engine)?).await?;
        let office = Office::open(servers).await?;

        // 1. A policy, made by the API, that says where data goes and what is collected.
        let output = json!({
            "name": "engine", "type": "elasticsearch", "hosts": [relay.url()], "is_default": true,
            "is_default_monitoring": true, "preset": "latency", "config_yaml": login,
        });
        office.post("/api/fleet/outputs", output).await?;
        let policy = json!({"name": "machines", "namespace": "steps", "monitoring_enabled": []});
        let made = office.post("/api/fleet/agent_policies?sys_monitoring=true", policy).await?;
        let policy = text(&made["item"]["id"]);
        office.add(&policy, "filestream", "first", log_of("first")).await?;
        let keys = office.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{policy}")).await?;
        let key = text(&keys["items"][0]["api_key"]);

        // 2. An agent enrols from a machine, and stays there as a service.
        machine.write_file("/var/log/first.log", "one\ntwo\nthree\n").await?;
        let id = install(machine, &office, &key).await?;
        let agent = Installed { id, machine, office: &office, engine };

        // 3. The policy arrives.
        let saved = office.get(&format!("/api/fleet/agent_policies/{policy}")).await?;
        let revision = saved["item"]["revision"].clone();
        let runs = |agent: &Value| agent["policy_revision"] == revision;
        office.await_agent(&agent.id, "the agent runs its policy", runs).await?;

        // 4. Lines and measurements are in the engine, under the data streams that the policy names.
        agent.ships().await?;

        // 5. The policy changes: a file that was not collected is.
        agent.follows_changes_of(&policy).await?;

        // 6. How it is, is back in the API, unit by unit.
        let told = office.await_agent(&agent.id, "the agent and its units are well", is_well).await?;
        assert_eq!(told["local_metadata"]["host"]["hostname"], agent.host().await?.as_str());
        if has_keys {
            agent.await_keys("the agent has a key for its output", &[Key::Alive]).await?;
        }

        // 7. It leaves: nothing is collected any more, and its key opens nothing.
        agent.leaves().await?;
        if has_keys {
            agent.await_keys("the agent's key is dead", &[Key::Dead]).await?;
        }
        Ok(())
    })
}

/// An agent that is a service of a machine.
struct Installed<'a> {
    id: String,
    machine: &'a Machine,
    office: &'a Office<'a>,
    /// Where its data goes.
    engine: &'a Client,
}

/// How a key of an agent is.
#[derive(Debug, PartialEq)]
enum Key {
    Alive,
    Dead,
}

impl Installed<'_> {
    async fn host(&self) -> Result<String, HarnessError> {
        Ok(self.machine.exec(["hostname"]).await?.success()?.stdout.trim().to_owned())
    }

    /// So many documents that it wrote into a data stream, once they are there.
    async fn found(&self, stream: &str, count: usize) -> Result<Vec<Value>, HarnessError> {
        let of_it = json!({"term": {"agent.id": self.id}});
        self.engine.wait_for(stream, &of_it, count, SOON).await.map_err(of_engine)
    }

    /// The first file's lines and measurements of the machine arrive, in data streams.
    async fn ships(&self) -> Result<(), HarnessError> {
        let lines = self.found("logs-first-steps", 3).await?;
        let messages: Vec<&str> = lines.iter().filter_map(|hit| hit["_source"]["message"].as_str()).collect();
        assert!(["one", "two", "three"].iter().all(|line| messages.contains(line)), "{messages:?}");
        let memory = self.found("metrics-system.memory-steps", 1).await?;
        let seen = &memory[0]["_source"];
        assert!(seen["system"]["memory"]["total"].as_u64().is_some_and(|bytes| bytes > 0), "{seen}");
        assert_eq!(seen["host"]["name"], self.host().await?.as_str(), "{seen}");
        for (stream, hits) in [("logs-first-steps", &lines), ("metrics-system.memory-steps", &memory)] {
            let index = text(&hits[0]["_index"]);
            assert!(index.starts_with(&format!(".ds-{stream}-")), "{index} belongs to no data stream");
        }
        Ok(())
    }

    /// A file that a new revision names is collected in time, unless something else keeps the machine busy each time.
    async fn follows_changes_of(&self, policy: &str) -> Result<(), HarnessError> {
        let mut took = Vec::new();
        for round in 0..TRIES {
            let name = format!("later{round}");
            self.machine.write_file(&format!("/var/log/{name}.log"), "four\n").await?;
            let began = Instant::now();
            self.office.add(policy, "filestream", &name, log_of(&name)).await?;
            self.found(&format!("logs-{name}-steps"), 1).await?;
            took.push(began.elapsed());
            if began.elapsed() <= COLLECTED_WITHIN {
                return Ok(());
            }
        }
        Err(HarnessError::Unexpected(format!("collected after {took:?}")))
    }

    /// It is unenrolled, and collects nothing more.
    async fn leaves(&self) -> Result<(), HarnessError> {
        self.office.post(&format!("/api/fleet/agents/{}/unenroll", self.id), json!({})).await?;
        self.office.await_agent(&self.id, "the agent has left", |agent| agent["active"] == false).await?;
        self.machine.shell("echo five >> /var/log/first.log").await?.success()?;
        wait_for("the agent has stopped collecting", SOON, async || {
            let status = self.machine.exec(["fleet-agent", "status", "-o", "json"]).await?.stdout;
            let status: Value = serde_json::from_str(&status).unwrap_or_default();
            let left = status["components"].as_array().is_none_or(Vec::is_empty);
            if left { Ok(()) } else { Err(NotYet::saw(status.to_string())) }
        })
        .await?;
        assert_eq!(self.found("logs-first-steps", 3).await?.len(), 3);
        Ok(())
    }

    async fn await_keys(&self, what: &str, wanted: &[Key]) -> Result<(), HarnessError> {
        wait_for(what, SOON, async || {
            let keys = self.keys().await?;
            if keys == wanted { Ok(()) } else { Err(NotYet::saw(format!("{keys:?}"))) }
        })
        .await
    }

    /// The keys that the engine has made for it.
    async fn keys(&self) -> Result<Vec<Key>, HarnessError> {
        let path = format!("/_security/api_key?name={}:*", self.id);
        let mut found = self.engine.get(&path).await.map_err(of_engine)?.success().map_err(of_engine)?;
        let Value::Array(keys) = found["api_keys"].take() else {
            return Err(HarnessError::Unexpected(format!("no keys in {found}")));
        };
        Ok(keys.iter().map(|key| if key["invalidated"] == true { Key::Dead } else { Key::Alive }).collect())
    }
}

/// What every Elasticsearch has by itself but the one that can be had as a package.
fn templates(elastic: &Elastic) -> Result<(), HarnessError> {
    let template = json!({
        "index_patterns": ["logs-*-steps", "metrics-*-steps"], "priority": 110, "data_stream": {},
        "template": {
            "settings": {"number_of_replicas": 0},
            "mappings": {"properties": {"agent": {"properties": {"id": {"type": "keyword"}}}}},
        },
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| HarnessError::Unexpected(format!("a runtime: {error}")))?;
    let put = runtime.block_on(elastic.put("/_index_template/seven-steps", &template));
    put.and_then(Reply::success).map(drop).map_err(of_engine)
}

/// The settings of an integration that follows `/var/log/NAME.log` into `logs-NAME-steps`.
fn log_of(name: &str) -> Value {
    let vars = json!({"paths": [format!("/var/log/{name}.log")], "data_stream.dataset": name, "fingerprint": false,
        "file_identity_native": true, "check_interval": "500ms"});
    json!({"filestream-filestream": {"streams": {"filestream.filestream": {"vars": vars}}}})
}

/// Installs the agent's service; returns the agent's id.
async fn install(machine: &Machine, office: &Office<'_>, key: &str) -> Result<String, HarnessError> {
    machine.write_file("/root/ca.pem", &office.authority().await?).await?;
    let url = office.url();
    let flags = ["--url", &url, "--enrollment-token", key, "--certificate-authorities", "/root/ca.pem"];
    enrolled(&office::install(machine, &flags).await?)
}

fn is_well(agent: &Value) -> bool {
    let components = agent["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let units = || components.iter().flat_map(|one| one["units"].as_array().into_iter().flatten());
    agent["status"] == "online"
        && components.iter().all(|one| one["status"] == "HEALTHY")
        && units().count() > 2
        && units().all(|unit| unit["status"] == "HEALTHY")
}

/// This host, as machines see it.
fn bridge(machine: &Machine) -> Ipv4Addr {
    let [a, b, c, _] = machine.address().ip().octets();
    Ipv4Addr::new(a, b, c, 1)
}

fn engine_port(engine: &Client) -> Result<u16, HarnessError> {
    let port = engine.url().rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
    port.ok_or_else(|| HarnessError::Unexpected(format!("no port in {}", engine.url())))
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
fn of_engine(error: EngineError) -> HarnessError {
    HarnessError::Unexpected(format!("the engine: {error}"))
}
