//! Keys of agents, on a real Elasticsearch.

use fleet_test_engine::{Client, Elastic};
use http::Method;
use serde_json::{Value, json};

use crate::agent::{Agent, Answer, Way};
use crate::manager::Manager;
use crate::server::Server;
use crate::{eventually, server_with};

/// With what the server logs in.
pub(super) fn login(elastic: &Elastic) -> String {
    format!("username: {}\npassword: {}\n", elastic.user(), elastic.password())
}

/// A server that may administer the engine, and an agent of it that runs its policy.
pub(super) async fn with_agent(elastic: &Elastic) -> (Server, Manager, String, Agent, Value) {
    let (server, manager) = server_with(elastic.url(), &login(elastic), &[]).await;
    let (policy, key) = manager.make_policy("web").await;
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let output = keyed(&mut agent, &way).await;
    (server, manager, policy, agent, output)
}

pub(super) fn policy_of(answer: &Answer) -> Option<&Value> {
    let actions = answer.body["actions"].as_array()?;
    actions.iter().find(|action| action["type"] == "POLICY_CHANGE").map(|action| &action["data"]["policy"])
}

/// Checks in until the policy comes with a key for the default output, takes it, and answers that output.
pub(super) async fn keyed(agent: &mut Agent, way: &Way) -> Value {
    eventually("a key in the policy", async || {
        let answer = agent.checkin(way).await;
        let output =
            policy_of(&answer).map(|policy| policy["outputs"]["default"].clone()).unwrap_or_default();
        if policy_of(&answer).is_some() {
            agent.apply(way, &answer).await;
        }
        if output["api_key"].is_string() { Ok(output) } else { Err(answer.body) }
    })
    .await
}

pub(super) fn by_key(elastic: &Elastic, output: &Value) -> Client {
    use base64::Engine as _;
    let key = output["api_key"].as_str().unwrap();
    elastic.authorized(format!("ApiKey {}", base64::prelude::BASE64_STANDARD.encode(key)))
}

fn key_id(output: &Value) -> &str {
    output["api_key"].as_str().unwrap().split(':').next().unwrap()
}

async fn write(client: &Client, stream: &str) -> u16 {
    let line = json!({"@timestamp": "2026-01-01T00:00:00Z", "message": "hello"});
    client.post(&format!("/{stream}/_create/{}", uuid()), &line).await.unwrap().status
}

fn uuid() -> String {
    format!("{:?}", std::time::Instant::now()).chars().filter(char::is_ascii_digit).collect()
}

async fn roles(elastic: &Elastic, id: &str) -> Value {
    let found = elastic.get(&format!("/_security/api_key?id={id}")).await.unwrap().success().unwrap();
    found["api_keys"][0]["role_descriptors"].clone()
}

pub(super) async fn dead(elastic: &Elastic, output: &Value) {
    let client = by_key(elastic, output);
    eventually("the key is dead", async || {
        let reply = client.get("/_security/_authenticate").await.unwrap();
        if reply.status == 401 { Ok(()) } else { Err(reply.body) }
    })
    .await;
}

/// A template that takes what these tests write, whatever the engine has by itself.
async fn streams(elastic: &Elastic) {
    let template = json!({"index_patterns": ["logs-*-*"], "priority": 101, "data_stream": {}, "template": {
        "settings": {"number_of_replicas": 0}}});
    elastic.put("/_index_template/keys-of-agents", &template).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn each_agent_has_a_key_that_may_do_what_its_policy_needs_until_it_leaves() {
    let Some(elastic) = Elastic::from_env() else { return };
    streams(&elastic).await;
    let (server, manager, policy, mut agent, output) = with_agent(&elastic).await;
    assert_eq!((output.get("username"), output.get("password")), (None, None), "{output}");
    let way = Way::to(&server);
    let client = by_key(&elastic, &output);
    let who = client.get("/_security/_authenticate").await.unwrap().success().unwrap();
    assert_eq!(who["api_key"]["name"], format!("{}:default", agent.id));
    assert_eq!(write(&client, "logs-generic-default").await, 403, "nothing in its policy writes that");

    // Others have others.
    let keys = manager.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{policy}")).await;
    let mut other = Agent::enrol(&way, keys["items"][0]["api_key"].as_str().unwrap(), "web-2").await;
    let of_other = keyed(&mut other, &way).await;
    assert_ne!(of_other["api_key"], output["api_key"]);

    // A policy that needs more: the same key may do it at once, and what it could before.
    let version = manager.get("/api/fleet/epm/packages/filestream").await["item"]["version"].clone();
    let integration = json!({"id": "lines", "name": "lines", "policy_ids": [policy],
        "package": {"name": "filestream", "version": version},
        "inputs": {"filestream-filestream": {"enabled": true, "streams": {"filestream.filestream": {"enabled": true,
            "vars": {"paths": ["/var/log/a.log"], "data_stream.dataset": "generic"}}}}}});
    manager.post("/api/fleet/package_policies", &integration).await;
    let answer = eventually("the next revision", async || {
        let answer = agent.checkin(&way).await;
        let is_it = policy_of(&answer).is_some_and(|policy| policy["inputs"].to_string().contains("a.log"));
        if is_it { Ok(answer) } else { Err(answer.body) }
    })
    .await;
    let renewed = policy_of(&answer).unwrap()["outputs"]["default"].clone();
    assert_eq!(renewed["api_key"], output["api_key"]);
    assert_eq!(write(&client, "logs-generic-default").await, 201);
    let both = roles(&elastic, key_id(&output)).await;
    assert!(both.as_object().unwrap().contains_key("lines"), "{both}");

    // And less: what it may do besides ends when the agent runs the policy.
    agent.apply(&way, &answer).await;
    let (status, _) = manager.ask("DELETE", "/api/fleet/package_policies/lines", None).await;
    assert_eq!(status, 200);
    let answer = eventually("the revision without it", async || {
        let answer = agent.checkin(&way).await;
        let is_it = policy_of(&answer).is_some_and(|policy| !policy["inputs"].to_string().contains("a.log"));
        if is_it { Ok(answer) } else { Err(answer.body) }
    })
    .await;
    assert_eq!(write(&client, "logs-generic-default").await, 201, "until it runs the other policy");
    agent.apply(&way, &answer).await;
    eventually("the old rights are gone", async || {
        let roles = roles(&elastic, key_id(&output)).await;
        let names: Vec<String> = roles.as_object().unwrap().keys().cloned().collect();
        let is_stale = names.iter().any(|name| name.ends_with("-rdstale"));
        if is_stale || names.contains(&"lines".to_owned()) { Err(json!(names)) } else { Ok(()) }
    })
    .await;
    assert_eq!(write(&client, "logs-generic-default").await, 403);

    manager.post(&format!("/api/fleet/agents/{}/unenroll", agent.id), &json!({"revoke": true})).await;
    dead(&elastic, &output).await;
    let still = by_key(&elastic, &of_other).get("/_security/_authenticate").await.unwrap();
    assert_eq!(still.status, 200, "the other one goes on");
    other.checkin(&way).await;
}

#[tokio::test]
async fn a_key_is_over_when_the_agent_runs_a_policy_without_its_output() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager, policy, mut agent, output) = with_agent(&elastic).await;
    let way = Way::to(&server);
    let other = json!({"id": "other", "name": "other", "type": "logstash", "hosts": ["logs.example:5044"]});
    manager.post("/api/fleet/outputs", &other).await;
    let body = json!({"name": "web", "namespace": "default", "data_output_id": "other",
        "monitoring_output_id": "other"});
    let (status, answer) =
        manager.ask("PUT", &format!("/api/fleet/agent_policies/{policy}"), Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let answer = eventually("the other output", async || {
        let answer = agent.checkin(&way).await;
        let is_it = policy_of(&answer).is_some_and(|policy| policy["outputs"].get("other").is_some());
        if is_it { Ok(answer) } else { Err(answer.body) }
    })
    .await;
    let alive = by_key(&elastic, &output).get("/_security/_authenticate").await.unwrap();
    assert_eq!(alive.status, 200, "what is on its way is still written");
    agent.apply(&way, &answer).await;
    dead(&elastic, &output).await;
}

#[tokio::test]
async fn the_servers_own_login_makes_keys_and_says_what_it_lacks_for_more() {
    let Some(elastic) = Elastic::from_env() else { return };
    let path = "/_security/service/elastic/fleet-server/credential/token";
    let made = elastic.request(Method::POST, path, None).await.unwrap().success().unwrap();
    let token = made["token"]["value"].as_str().unwrap();
    let settings = [
        format!("output.elasticsearch.hosts={}", elastic.url()),
        format!("output.elasticsearch.service_token={token}"),
        "store.type=embedded".to_owned(),
    ];
    // What agents would log in with is taken out of what they get.
    let yaml = "username: nobody\npassword: wrong\n";
    let (server, manager) = server_with(elastic.url(), yaml, &settings).await;
    let (_, key) = manager.make_policy("web").await;
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let output = keyed(&mut agent, &way).await;
    assert_eq!(output.get("username"), None, "{output}");
    assert_eq!(by_key(&elastic, &output).get("/_security/_authenticate").await.unwrap().status, 200);
    manager.post("/api/fleet/epm/packages/otlp", &json!({"force": true})).await;
    let told = crate::in_engine(&manager, "otlp", "install_failed").await;
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("manage_index_templates") && message.contains("give it a role"), "{message}");
}

#[tokio::test]
async fn a_login_that_is_wrong_is_told_and_its_policy_goes_out_as_it_is() {
    let Some(elastic) = Elastic::from_env() else { return };
    let (server, manager) = server_with(elastic.url(), "username: nobody\npassword: wrong\n", &[]).await;
    manager.post("/api/fleet/epm/packages/otlp", &json!({"force": true})).await;
    let told = crate::in_engine(&manager, "otlp", "install_failed").await;
    assert!(told["message"].as_str().unwrap().contains("check the user and the password"), "{told}");
    let (_, key) = manager.make_policy("web").await;
    let way = Way::to(&server);
    let mut agent = Agent::enrol(&way, &key, "web-1").await;
    let answer = agent.checkin(&way).await;
    let output = &policy_of(&answer).unwrap()["outputs"]["default"];
    assert_eq!((&output["username"], output.get("api_key")), (&json!("nobody"), None));
}
