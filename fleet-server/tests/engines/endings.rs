//! Every way in which an agent's keys are over, on a real Elasticsearch.

use std::sync::Arc;

use fleet_policy::documents::{AGENT_STATES, AgentState};
use fleet_store::embedded::Embedded;
use fleet_store::{Expect, Store, Typed};
use fleet_test_engine::Elastic;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::agent::{Agent, Way};
use crate::keys::{by_key, dead, keyed, login, policy_of, with_agent};
use crate::manager::Manager;
use crate::{FIRST_OUTPUT, eventually, server_with};

const OTHER: &str = "/api/fleet/outputs/other";

async fn is_alive(elastic: &Elastic, output: &Value) -> bool {
    by_key(elastic, output).get("/_security/_authenticate").await.unwrap().status == 200
}

/// Makes an output of no engine.
async fn make_other(manager: &Manager) {
    let other = json!({"id": "other", "name": "other", "type": "logstash", "hosts": ["logs.example:5044"]});
    manager.post("/api/fleet/outputs", &other).await;
}

/// Checks in until a policy with this output comes, and runs it.
async fn run_with(agent: &mut Agent, way: &Way, output: &str) {
    let answer = eventually("the other policy", async || {
        let answer = agent.checkin(way).await;
        let is_it = policy_of(&answer).is_some_and(|policy| policy["outputs"].get(output).is_some());
        if is_it { Ok(answer) } else { Err(answer.body) }
    })
    .await;
    agent.apply(way, &answer).await;
}

#[tokio::test]
async fn an_agent_that_is_asked_to_leave_has_its_key_until_it_does() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager, _, mut agent, output) = with_agent(&elastic).await;
    let way = Way::to(&server);
    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({"force": true})).await;
    let asked = eventually("to be asked", async || {
        let answer = agent.checkin(&way).await;
        let actions = answer.body["actions"].as_array().cloned().unwrap_or_default();
        actions.into_iter().find(|action| action["type"] == "UNENROLL").ok_or(answer.body)
    })
    .await;
    assert!(is_alive(&elastic, &output).await, "what is on its way is still written");
    agent.ack(&way, asked["id"].as_str().unwrap(), None).await;
    dead(&elastic, &output).await;
}

#[tokio::test]
async fn agents_that_are_made_to_leave_together_have_no_keys() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager, policy, agent, output) = with_agent(&elastic).await;
    let keys = manager.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{policy}")).await;
    let way = Way::to(&server);
    let mut other = Agent::enrol(&way, keys["items"][0]["api_key"].as_str().unwrap(), "web-2").await;
    let of_other = keyed(&mut other, &way).await;
    let both = json!({"agents": [agent.id, other.id], "revoke": true});
    manager.post("/api/fleet/agents/bulk_unenroll", &both).await;
    dead(&elastic, &output).await;
    dead(&elastic, &of_other).await;
}

#[tokio::test]
async fn an_agent_that_is_silent_for_too_long_has_no_key() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (mut server, manager, policy, agent, output) = with_agent(&elastic).await;
    let body = json!({"name": "web", "namespace": "default", "unenroll_timeout": 3600});
    let (status, answer) =
        manager.ask("PUT", &format!("/api/fleet/agent_policies/{policy}"), Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    // Two hours pass.
    server.kill();
    {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&server.data().join("store.db")).unwrap());
        let states: Typed<AgentState> = Typed::new(store, &AGENT_STATES);
        let found = states.get(&agent.id).await.unwrap().unwrap();
        let long_ago = found.value.last_checkin.unwrap() - std::time::Duration::from_hours(2);
        let state = AgentState { last_checkin: Some(long_ago), ..found.value };
        states.put(&agent.id, &state, Expect::Revision(found.revision), None, None).await.unwrap();
    }
    let server = server.restart();
    let told = Manager::of(&server).await_agent(&agent.id, "gone", |agent| agent["active"] == false).await;
    assert_eq!(told["unenrolled_reason"], "timeout", "{told}");
    dead(&elastic, &output).await;
}

#[tokio::test]
async fn an_agent_that_goes_to_a_policy_without_the_output_has_no_key_of_it() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager, _, mut agent, output) = with_agent(&elastic).await;
    let way = Way::to(&server);
    make_other(&manager).await;
    let body = json!({"id": "quiet", "name": "quiet", "namespace": "default", "data_output_id": "other",
        "monitoring_output_id": "other"});
    manager.post("/api/fleet/agent_policies", &body).await;
    manager.post(&format!("/api/fleet/agents/{}/reassign", agent.id), &json!({"policy_id": "quiet"})).await;
    assert!(is_alive(&elastic, &output).await, "until it runs the other policy");
    run_with(&mut agent, &way, "other").await;
    dead(&elastic, &output).await;
}

/// A server whose agents write to an engine that is not the default output.
async fn with_engine_beside(elastic: &Elastic) -> (crate::server::Server, Manager, Agent, Value) {
    let (server, manager) = server_with("http://127.0.0.1:9", "", &[]).await;
    let output = json!({"id": "other", "name": "other", "type": "elasticsearch", "hosts": [elastic.url()],
        "config_yaml": login(elastic)});
    manager.post("/api/fleet/outputs", &output).await;
    let body = json!({"id": "web", "name": "web", "namespace": "default", "data_output_id": "other",
        "monitoring_output_id": "other"});
    manager.post("/api/fleet/agent_policies", &body).await;
    let keys = manager.get("/api/fleet/enrollment_api_keys?kuery=policy_id:web").await;
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, keys["items"][0]["api_key"].as_str().unwrap(), "web-1").await;
    let output = eventually("a key", async || {
        let answer = agent.checkin(&way).await;
        if policy_of(&answer).is_some() {
            agent.apply(&way, &answer).await;
        }
        let output = policy_of(&answer).map(|policy| policy["outputs"]["other"].clone()).unwrap_or_default();
        if output["api_key"].is_string() { Ok(output) } else { Err(answer.body) }
    })
    .await;
    (server, manager, agent, output)
}

#[tokio::test]
async fn keys_of_an_output_that_was_removed_are_over_when_its_agents_run_without_it() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager, mut agent, output) = with_engine_beside(&elastic).await;
    let (status, answer) = manager.ask("DELETE", OTHER, None).await;
    assert_eq!(status, 200, "{answer}");
    // How to log in there outlives the output, and the server.
    let server = server.restart();
    let way = Way::to(&server);
    run_with(&mut agent, &way, "default").await;
    dead(&elastic, &output).await;
}

#[tokio::test]
async fn keys_of_an_engine_that_its_output_names_no_more_are_over_when_the_agent_leaves() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (_server, manager, agent, output) = with_engine_beside(&elastic).await;
    let (status, answer) =
        manager.ask("PUT", OTHER, Some(&json!({"hosts": ["http://127.0.0.1:9"], "config_yaml": ""}))).await;
    assert_eq!(status, 200, "{answer}");
    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({"revoke": true})).await;
    dead(&elastic, &output).await;
}

/// A way to the engine that can be taken away, and is there again later on the same port.
struct Relay {
    port: u16,
    to: String,
    running: JoinSet<()>,
}

impl Relay {
    async fn to(elastic: &Elastic) -> Relay {
        let to = elastic.url().split("://").nth(1).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut relay = Relay { port, to, running: JoinSet::new() };
        relay.serve(listener);
        relay
    }

    fn serve(&mut self, listener: TcpListener) {
        let to = self.to.clone();
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let to = to.clone();
                connections.spawn(async move {
                    if let Ok(mut engine) = TcpStream::connect(to).await {
                        // Either side may break off.
                        let _ = copy_bidirectional(&mut client, &mut engine).await;
                    }
                });
            }
        });
    }

    async fn cut(&mut self) {
        self.running.shutdown().await;
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.serve(listener);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_before_a_key_is_over_ends_it_when_it_is_back() {
    let Some(elastic) = Elastic::from_env() else { return };
    let mut relay = Relay::to(&elastic).await;
    let scheme = elastic.url().split("://").next().unwrap();
    let url = format!("{scheme}://127.0.0.1:{}", relay.port);
    // Its certificate may be for another name.
    let yaml = format!("{}ssl.verification_mode: none\n", login(&elastic));
    let (mut server, manager) = server_with(&url, &yaml, &[]).await;
    let way = Way::to(&server);
    let (_, key) = manager.make_policy("web").await;
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let output = keyed(&mut agent, &way).await;

    relay.cut().await;
    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({"revoke": true})).await;
    server.await_log("what is over of an agent's keys is done later");
    server.kill();
    assert!(is_alive(&elastic, &output).await, "nobody could say so to the engine");
    relay.mend().await;
    let server = server.restart();
    dead(&elastic, &output).await;
    // Nothing of it is left to do.
    let told = Manager::of(&server).get(FIRST_OUTPUT).await;
    assert_eq!(told["item"]["hosts"][0], url);
}
