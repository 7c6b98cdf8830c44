use std::sync::Arc;

use fleet_component::component::Unit;
use fleet_component::unit::{LogLevel, UnitKey};

use super::*;
use crate::config::tls::ListenerTls;

fn units(input: &Value) -> Units {
    let unit = |key, kind: &str, config: &Value| Unit {
        key,
        kind: kind.to_owned(),
        level: LogLevel::Info,
        config: Arc::new(config.as_object().cloned().expect("a map")),
    };
    Units {
        input: unit(UnitKey::input("i"), "fleet-server", input),
        output: unit(UnitKey::output("o"), "elasticsearch", &json!({"hosts": ["http://localhost:9200"]})),
    }
}

fn bootstrap() -> Value {
    json!({
        "id": "fleet-server", "type": "fleet-server", "policy": {"id": "p"},
        "server": {"host": "0.0.0.0", "port": 8220, "internal_port": 8221},
    })
}

#[test]
fn what_an_agent_says_is_a_configuration() {
    let config = Document::of(&units(&bootstrap()), &[]).config().expect("a configuration");
    assert_eq!((config.server.host.as_str(), config.server.port), ("0.0.0.0", 8220));
    assert_eq!((config.server.internal_port, config.policy_id.as_str()), (8221, "p"));
    assert!(matches!(config.server.tls, ListenerTls::Off));
    assert_eq!(config.server.timeouts.drain.as_secs(), 3);
}

#[test]
fn the_input_of_the_policy_is_the_same_server() {
    let mut input = bootstrap();
    for (key, value) in [
        ("id", json!("other")),
        ("name", json!("n")),
        ("revision", json!(3)),
        ("package_policy_id", json!("x")),
        ("streams", json!([])),
        ("data_stream", json!({"namespace": "default"})),
        ("policy", json!({"id": "p", "revision": 7})),
    ] {
        input[key] = value;
    }
    assert_eq!(Document::of(&units(&input), &[]), Document::of(&units(&bootstrap()), &[]));
    input["server"]["limits"] = json!({"max_agents": 100});
    assert_ne!(Document::of(&units(&input), &[]), Document::of(&units(&bootstrap()), &[]));
}

#[test]
fn whatever_an_agent_says_to_all_its_components_is_accepted() {
    let overrides: Vec<String> = [
        "logging.level=debug",
        "logging.to_stderr=true",
        "http.enabled=true",
        "http.host=unix:///tmp/x.sock",
        "http.pprof.enabled=true",
        "unknown.key=1",
        "path.data=/tmp/run",
    ]
    .map(str::to_owned)
    .to_vec();
    let config = Document::of(&units(&bootstrap()), &overrides).config().expect("a configuration");
    assert!(config.statistics.address.is_some());
    assert!(base(&overrides).is_ok());
}

#[test]
fn a_mistake_names_its_key() {
    let mut input = bootstrap();
    input["server"]["port"] = json!("eighty");
    let problem = Document::of(&units(&input), &[]).config().expect_err("a mistake");
    assert!(problem.contains("inputs.0.server.port"), "{problem}");
}

#[test]
fn documents_are_kept_where_they_outlive_the_process() {
    let overrides = ["path.data=/a".to_owned(), "path.data=/b".to_owned()];
    assert_eq!(data_dir(&overrides, false, false), json!("/b/fleet-server"));
    assert_eq!(data_dir(&overrides, false, true), json!(DEFAULT_DATA_DIR));
    assert_eq!(data_dir(&[], false, false), json!(DEFAULT_DATA_DIR));
}

#[test]
fn secrets_are_not_shown() {
    let mut input = bootstrap();
    input["server"]["ssl"] = json!({"certificate": "c", "key": "k", "key_passphrase_path": "p"});
    input["server"]["static_policy_tokens"] = json!({"policy_tokens": [{"token_key": "t"}]});
    let shown = Document::of(&units(&input), &[]).redacted().to_string();
    for secret in ["\"k\"", "\"t\""] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("\"certificate\":\"c\""), "{shown}");
}
