//! Outputs: what Terraform and scripts send, what is refused, what agents get.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::agent::{Agent, Way};
use crate::manager::Manager;
use crate::server::Server;

const OUTPUTS: &str = "/api/fleet/outputs";
const FIRST: &str = "fleet-default-output";

fn elasticsearch(id: &str) -> Value {
    json!({"id": id, "name": format!("Output {id}"), "type": "elasticsearch", "hosts": ["https://es:9200"]})
}

async fn put(manager: &Manager, id: &str, body: Value) -> (StatusCode, Value) {
    manager.ask("PUT", &format!("{OUTPUTS}/{id}"), Some(&body)).await
}

async fn get(manager: &Manager, id: &str) -> Value {
    manager.get(&format!("{OUTPUTS}/{id}")).await["item"].take()
}

async fn delete(manager: &Manager, id: &str) -> (StatusCode, Value) {
    manager.ask("DELETE", &format!("{OUTPUTS}/{id}"), None).await
}

async fn full(manager: &Manager, policy: &str) -> Value {
    manager.get(&format!("/api/fleet/agent_policies/{policy}/full")).await["item"].take()
}

async fn make_policy(manager: &Manager, id: &str, fields: Value) -> Value {
    let mut body = json!({"id": id, "name": id, "namespace": "default"});
    for (key, value) in fields.as_object().expect("fields") {
        body[key] = value.clone();
    }
    manager.post("/api/fleet/agent_policies", &body).await["item"].take()
}

async fn revision(manager: &Manager, policy: &str) -> u64 {
    let policy = manager.get(&format!("/api/fleet/agent_policies/{policy}")).await;
    policy["item"]["revision"].as_u64().expect("a revision")
}

#[tokio::test]
async fn the_first_start_makes_what_every_policy_needs_once() {
    let server = Server::start(&[]);
    let address = format!("https://127.0.0.1:{}", server.agents_port());
    for server in [server.restart()] {
        let manager = Manager::of(&server);
        let outputs = manager.get(OUTPUTS).await;
        assert_eq!(outputs["total"], 1, "{outputs}");
        let expected = json!({"id": FIRST, "name": "default", "type": "elasticsearch",
            "hosts": ["http://localhost:9200"], "is_default": true, "is_default_monitoring": true,
            "preset": "balanced"});
        assert_eq!(outputs["items"][0], expected);
        let sources = manager.get("/api/fleet/agent_download_sources").await;
        assert_eq!(sources["items"][0]["host"], "https://artifacts.elastic.co/downloads/");
        assert_eq!(sources["items"][0]["is_default"], true);
        let hosts = manager.get("/api/fleet/fleet_server_hosts").await;
        assert_eq!(hosts["items"][0]["host_urls"], json!([address]));
        let policy = full(&manager, "default").await;
        assert_eq!(policy["outputs"]["default"]["hosts"], json!(["http://localhost:9200"]));
        assert_eq!(policy["fleet"], json!({"hosts": [address]}));
        assert_eq!(policy["agent"]["download"]["sourceURI"], "https://artifacts.elastic.co/downloads/");
    }
}

/// The fields as the provider for Terraform sends them, and what it must read back.
#[tokio::test]
async fn each_type_is_made_read_changed_and_removed() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let kinds = [
        json!({"type": "elasticsearch", "hosts": ["https://elasticsearch:9200"],
            "ca_sha256": "abcdef1234567890", "ca_trusted_fingerprint": "ab".repeat(32),
            "config_yaml": "\"ssl.verification_mode\": \"none\"\n", "ssl": {"verification_mode": "none"}}),
        json!({"type": "logstash", "hosts": ["logstash:5044"], "config_yaml": "\"ssl.verification_mode\": \"none\"\n",
            "ssl": {"certificate_authorities": ["placeholder"], "certificate": "placeholder", "key": "placeholder"}}),
        json!({"type": "kafka", "hosts": ["kafka1:9092", "kafka2:9092"], "auth_type": "none",
            "topic": "complex-topic", "partition": "hash", "compression": "lz4", "connection_type": "encryption",
            "required_acks": 0, "broker_timeout": 10, "timeout": 30, "version": "2.6.0",
            "headers": [{"key": "datacenter", "value": "us-west-1"}], "hash": {"hash": "event.hash", "random": false},
            "sasl": {"mechanism": "SCRAM-SHA-256"}}),
        json!({"type": "kafka", "hosts": ["kafka:9092"], "auth_type": "user_pass", "username": "testuser",
            "password": "testpass", "topic": "beats", "compression": "gzip"}),
        json!({"type": "remote_elasticsearch", "hosts": ["https://elasticsearch:9200"], "service_token": "token",
            "sync_integrations": false, "sync_uninstalled_integrations": false, "write_to_logs_streams": false}),
    ];
    for (index, fields) in kinds.into_iter().enumerate() {
        let id = format!("output-{index}");
        let mut body = json!({"id": id, "name": id, "is_default": false, "is_default_monitoring": false});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let made = manager.post(OUTPUTS, &body).await["item"].take();
        for (key, value) in body.as_object().unwrap() {
            assert_eq!(&made[key], value, "{key} of {made}");
        }
        assert_eq!(get(&manager, &id).await, made);
        let listed = manager.get(OUTPUTS).await;
        assert!(listed["items"].as_array().unwrap().contains(&made), "{listed}");
        // What is read can be sent; nothing of it is lost.
        let (status, same) = put(&manager, &id, made.clone()).await;
        assert_eq!((status, &same["item"]), (StatusCode::OK, &made));
        let (status, changed) = put(&manager, &id, json!({"type": body["type"], "name": "Another"})).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        let mut expected = made.clone();
        expected["name"] = "Another".into();
        assert_eq!(changed["item"], expected, "what is not given stays");
        assert_eq!(delete(&manager, &id).await, (StatusCode::OK, json!({"id": id})));
        assert_eq!(manager.ask("GET", &format!("{OUTPUTS}/{id}"), None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(delete(&manager, &id).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_kafka_needs_is_filled_in_and_shown() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let body = json!({"id": "k", "name": "k", "type": "kafka", "hosts": ["k:9092"], "auth_type": "user_pass",
        "username": "u", "password": "p"});
    let made = manager.post(OUTPUTS, &body).await["item"].take();
    for (field, value) in [
        ("version", json!("1.0.0")),
        ("compression", json!("gzip")),
        ("compression_level", json!(4)),
        ("client_id", json!("Elastic")),
        ("sasl", json!({"mechanism": "PLAIN"})),
        ("timeout", json!(30)),
        ("required_acks", json!(1)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    let (_, changed) = put(&manager, "k", json!({"compression": "snappy", "compression_level": null})).await;
    assert_eq!(changed["item"]["compression_level"], 4, "{changed}");
    let (_, changed) = put(&manager, "k", json!({"type": "logstash", "hosts": ["l:5044"]})).await;
    let expected = json!({"id": "k", "name": "k", "type": "logstash", "hosts": ["l:5044"], "is_default": false,
        "is_default_monitoring": false});
    assert_eq!(changed["item"], expected, "another type has nothing of the old one");
}

#[tokio::test]
async fn a_secret_is_sent_once_and_seen_by_agents_alone() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let mut body = elasticsearch("es");
    body["ssl"] = json!({"certificate": "cert"});
    body["secrets"] = json!({"ssl": {"key": "the first key"}});
    let made = manager.post(OUTPUTS, &body).await["item"].take();
    let first = made["secrets"]["ssl"]["key"]["id"].as_str().unwrap().to_owned();
    make_policy(&manager, "web", json!({"data_output_id": "es"})).await;
    assert_eq!(
        full(&manager, "web").await["outputs"]["es"]["secrets"],
        json!({"ssl": {"key": {"id": first}}})
    );

    let keys = manager.get("/api/fleet/enrollment_api_keys?kuery=policy_id:web").await;
    let mut agent = Agent::enrol(&way, keys["items"][0]["api_key"].as_str().unwrap(), "web-1").await;
    let answer = agent.checkin(&way).await;
    let policy = &answer.body["actions"][0]["data"]["policy"];
    assert_eq!(policy["outputs"]["es"]["ssl"], json!({"certificate": "cert", "key": "the first key"}));
    assert_eq!(policy["secret_paths"], json!(["outputs.es.ssl.key"]));
    agent.apply(&way, &answer).await;

    let (_, same) = put(&manager, "es", json!({"secrets": made["secrets"]})).await;
    assert_eq!(same["item"], made, "a reference that is sent back stays");
    let (status, stolen) = put(&manager, FIRST, json!({"secrets": made["secrets"]})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{stolen}");
    assert!(stolen["message"].as_str().unwrap().starts_with("[request body.secrets.ssl.key]: "), "{stolen}");

    let (_, changed) = put(&manager, "es", json!({"secrets": {"ssl": {"key": "the second key"}}})).await;
    assert_ne!(changed["item"]["secrets"]["ssl"]["key"]["id"], json!(first));
    let answer = agent.checkin(&way).await;
    assert_eq!(answer.body["actions"][0]["data"]["policy"]["outputs"]["es"]["ssl"]["key"], "the second key");
    agent.apply(&way, &answer).await;

    let (_, plain) = put(&manager, "es", json!({"ssl": {"certificate": "cert", "key": "plain"}})).await;
    assert_eq!(
        (&plain["item"]["ssl"]["key"], plain["item"]["secrets"].pointer("/ssl/key")),
        (&json!("plain"), None)
    );
    for text in ["the first key", "the second key", "plain"] {
        let trail = manager.get("/api/fleet/audit?kind=output&perPage=100").await;
        assert!(!trail.to_string().contains(text), "{text} in {trail}");
        assert!(!server.log().join("\n").contains(text), "{text} in the log");
    }
}

#[tokio::test]
async fn one_output_is_the_default_whatever_is_asked() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    make_policy(&manager, "named", json!({"data_output_id": FIRST, "monitoring_output_id": FIRST})).await;
    make_policy(&manager, "unnamed", json!({"monitoring_enabled": ["logs"]})).await;
    let mut body = elasticsearch("new");
    body["is_default"] = true.into();
    manager.post(OUTPUTS, &body).await;
    let first = get(&manager, FIRST).await;
    assert_eq!((&first["is_default"], &first["is_default_monitoring"]), (&json!(false), &json!(true)));
    // Agents know the default output by one name, so that both policies have another revision.
    let policy = full(&manager, "unnamed").await;
    assert_eq!(policy["outputs"]["default"]["hosts"], json!(["https://es:9200"]), "{policy}");
    assert_eq!(policy["agent"]["monitoring"]["use_output"], FIRST);
    let policy = full(&manager, "named").await;
    assert_eq!(policy["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), [FIRST]);

    let (status, refused) = put(&manager, "new", json!({"is_default": false})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert!(refused["message"].as_str().unwrap().starts_with("[request body.is_default]: "), "{refused}");
    let (status, refused) = delete(&manager, "new").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refused["message"].as_str().unwrap().contains("is the default (is_default)"), "{refused}");

    // What the acceptance tests of the provider for Terraform do before they remove a default.
    let back = json!({"name": "default", "type": "elasticsearch", "hosts": ["http://localhost:9200"],
        "is_default": true, "is_default_monitoring": true});
    assert_eq!(put(&manager, FIRST, back).await.0, StatusCode::OK);
    assert_eq!(get(&manager, "new").await["is_default"], false);
    assert_eq!(put(&manager, "new", json!({"is_default": false})).await.0, StatusCode::OK);
    assert_eq!(delete(&manager, "new").await.0, StatusCode::OK);
}

#[tokio::test]
async fn of_many_that_want_to_be_the_default_at_once_one_is() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let ids: Vec<String> = (0..6).map(|index| format!("o{index}")).collect();
    for id in &ids {
        manager.post(OUTPUTS, &elasticsearch(id)).await;
    }
    let wanted =
        ids.iter().map(|id| put(&manager, id, json!({"is_default": true, "is_default_monitoring": true})));
    for (status, answer) in join_all(wanted).await {
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&status), "{answer}");
    }
    let listed = manager.get(OUTPUTS).await;
    for flag in ["is_default", "is_default_monitoring"] {
        let are = listed["items"].as_array().unwrap().iter().filter(|output| output[flag] == true);
        assert_eq!(are.count(), 1, "{flag}: {listed}");
    }
}

#[tokio::test]
async fn of_many_edits_at_once_none_is_lost_in_silence() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    manager.post(OUTPUTS, &elasticsearch("es")).await;
    let names: Vec<String> = (0..8).map(|index| format!("name {index}")).collect();
    let answers = join_all(names.iter().map(|name| put(&manager, "es", json!({"name": name})))).await;
    let mut accepted = Vec::new();
    for (status, answer) in answers {
        if status == StatusCode::OK {
            accepted.push(answer["item"]["name"].clone());
        } else {
            assert_eq!(status, StatusCode::CONFLICT, "{answer}");
            assert_eq!(answer["attributes"]["current"]["id"], "es", "{answer}");
        }
    }
    assert!(accepted.contains(&get(&manager, "es").await["name"]), "{accepted:?}");
    let (status, taken) = manager.ask("POST", OUTPUTS, Some(&elasticsearch("es"))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(taken["message"], "Output es exists already");
}

#[tokio::test]
async fn a_change_reaches_the_policies_that_it_touches_and_no_other() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    manager.post(OUTPUTS, &elasticsearch("es")).await;
    make_policy(&manager, "with", json!({"monitoring_output_id": "es", "monitoring_enabled": ["metrics"]}))
        .await;
    make_policy(&manager, "without", json!({})).await;
    let (_, changed) = put(&manager, "es", json!({"hosts": ["https://other", "http://other:81/path"]})).await;
    assert_eq!(changed["item"]["hosts"], json!(["https://other:443", "http://other:81/path"]));
    assert_eq!((revision(&manager, "with").await, revision(&manager, "without").await), (2, 1));
    let policy = full(&manager, "with").await;
    assert_eq!(policy["outputs"]["es"]["hosts"], changed["item"]["hosts"]);
    assert_eq!(policy["agent"]["monitoring"]["use_output"], "es");
    put(&manager, "es", json!({"hosts": ["https://other", "http://other:81/path"]})).await;
    assert_eq!(revision(&manager, "with").await, 2, "what changes nothing makes no revision");

    let health = manager.get(&format!("{OUTPUTS}/es/health")).await;
    assert_eq!(health["state"], "UNKNOWN");
    let integration = json!({
        "name": "lines", "policy_ids": ["without"], "output_id": "es",
        "package": {"name": "filestream", "version": "1.0.0"},
        "inputs": {"filestream-filestream": {"streams": {"filestream.filestream": {"vars": {"paths": ["/a"]}}}}},
    });
    let made = manager.post("/api/fleet/package_policies", &integration).await["item"].take();
    assert_eq!(full(&manager, "without").await["inputs"][0]["use_output"], "es");

    // What named an output that is removed uses the default.
    assert_eq!(delete(&manager, "es").await.0, StatusCode::OK);
    let (with, without) = (full(&manager, "with").await, full(&manager, "without").await);
    assert_eq!(with["agent"]["monitoring"]["use_output"], "default");
    assert_eq!(without["inputs"][0]["use_output"], "default");
    assert_eq!((with["outputs"].get("es"), without["outputs"].get("es")), (None, None));
    let path = format!("/api/fleet/package_policies/{}", made["id"].as_str().expect("an id"));
    assert_eq!(manager.get(&path).await["item"].get("output_id"), None);
}

#[tokio::test]
async fn a_preset_gives_way_to_what_the_yaml_tunes() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    manager.post(OUTPUTS, &elasticsearch("es")).await;
    assert_eq!(get(&manager, "es").await["preset"], "balanced");
    let tuned = json!({"config_yaml": "queue.mem.events: 1000\n"});
    assert_eq!(put(&manager, "es", tuned).await.1["item"]["preset"], "custom");
    let (status, refused) = put(&manager, "es", json!({"preset": "scale"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = "[request body.preset]: custom is needed, since config_yaml sets queue.mem.events";
    assert_eq!(refused["message"], message);
}

#[tokio::test]
async fn mistakes_name_the_field() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let long = "x".repeat(600 * 1024);
    let engine = elasticsearch("es");
    let kafka = json!({"id": "k", "name": "k", "type": "kafka", "hosts": ["k:9092"], "auth_type": "none"});
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]";
    for (good, field, value) in [
        (&engine, "name", json!("")),
        (&engine, "name", json!(1)),
        (&engine, "name", json!("x".repeat(300))),
        (&engine, "name", Value::Null),
        (&engine, "type", json!("syslog")),
        (&engine, "type", Value::Null),
        (&engine, "id", json!("a/b")),
        (&engine, "id", json!("default")),
        (&engine, "id", json!(7)),
        (&engine, "hosts", json!([])),
        (&engine, "hosts", Value::Null),
        (&engine, "hosts", json!("https://es:9200")),
        (&engine, "hosts", json!(["es:9200"])),
        (&engine, "hosts", json!(["https://user:password@es:9200"])),
        (&engine, "hosts", json!(vec!["https://es:9200"; 11])),
        (&engine, "is_default", json!("yes")),
        (&engine, "ca_trusted_fingerprint", json!("xyz")),
        (&engine, "config_yaml", json!("a: [")),
        (&engine, "config_yaml", json!("just words")),
        (&engine, "config_yaml", json!(bomb)),
        (&engine, "preset", json!("turbo")),
        (&engine, "proxy_id", json!("nobody")),
        (&engine, "ssl", json!({"verification_mode": "maybe"})),
        (&engine, "ssl", json!({"certificates": "x"})),
        (&engine, "secrets", json!({"ssl": {"key": {"id": "made-up"}}})),
        (&engine, "secrets", json!({"ssl": {"key": 7}})),
        (&engine, "topic", json!("logs")),
        (&engine, "service_token", json!("token")),
        (&engine, "colour", json!("red")),
        (&kafka, "hosts", json!(["k"])),
        (&kafka, "hosts", json!(["http://k:9092"])),
        (&kafka, "preset", json!("balanced")),
        (&kafka, "auth_type", json!("guess")),
        (&kafka, "auth_type", json!("user_pass")),
        (&kafka, "required_acks", json!(2)),
        (&kafka, "compression_level", json!(10)),
        (&kafka, "timeout", json!(-1)),
        (&kafka, "topics", json!([{"topic": "", "when": {}}])),
        (&kafka, "topics", json!([{"topic": "a", "when": {"type": "equals", "condition": "x"}}])),
        (&kafka, "headers", json!([{"key": "a", "val": "b"}])),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let (status, answer) = manager.ask("POST", OUTPUTS, Some(&body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field} = {value}: {answer}");
        let field = if value == json!("user_pass") { "username" } else { field };
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("[request body.{field}")), "{field} = {value}: {message}");
    }
    let mut large = engine.clone();
    large["config_yaml"] = format!("a: {long}").into();
    let (status, answer) = manager.ask("POST", OUTPUTS, Some(&large)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let (status, answer) = put(&manager, FIRST, json!({"id": "another"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(manager.get(OUTPUTS).await["total"], 1, "nothing of that was kept");
}
