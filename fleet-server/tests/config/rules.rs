//! Rules that the original was seen to follow.

use std::time::Duration;

use fleet_server::config::logging::{Destination, Level};
use fleet_server::config::statistics::Address;

use crate::{Material, yaml};

#[test]
fn all_spellings_of_a_key_are_one() {
    for text in [
        "inputs:\n- type: fleet-server\n  server:\n    port: 9",
        "inputs:\n- type: fleet-server\n  server.port: 9",
        "inputs: [{server: {port: 9}}]",
        "inputs: {server.port: 9}",
        "inputs.0.server.port: 9",
        "inputs:\n- server:\n    port: '9'",
        "inputs:\n- server.port: ${PORT:9}",
    ] {
        assert_eq!(yaml(text).config().server.port, 9, "{text}");
    }
    assert!(yaml("http.enabled: true").config().statistics.address.is_some());
    assert_eq!(yaml("inputs:\n- policy.id: x").config().policy_id, "x");
    assert_eq!(yaml("inputs:\n- server.limits.max_agents: 7").config().server.limits.max_agents, 7);
}

#[test]
fn inputs_is_a_list_of_one() {
    for text in ["", "inputs:", "inputs: []", "inputs: [{}]", "inputs:\n- type: fleet-server"] {
        assert_eq!(yaml(text).config().server.port, 8220, "{text}");
    }
    let mistakes = yaml("inputs:\n- type: fleet-server\n- type: fleet-server").mistakes();
    assert_eq!(mistakes, ["test.yml:1: inputs has 2 items: there may be one, of the type fleet-server"]);
    let mistakes = yaml("inputs:\n- type: log").mistakes();
    assert_eq!(mistakes, ["test.yml:2: inputs.0.type must be fleet-server, not \"log\""]);
    let others = "inputs:\n- {id: x, name: y, use_output: default, revision: 1}";
    assert_eq!(yaml(others).warnings(), Vec::<String>::new());
}

#[test]
fn an_override_below_inputs_drops_what_the_file_has_there() {
    let file = || {
        yaml("inputs:\n- policy.id: x\n  server: {host: 127.0.0.1, port: 8}\nhttp: {enabled: true, port: 1}")
    };
    assert_eq!(file().config().policy_id, "x");
    let config = file().with("inputs.0.server.port=9").with("http.port=2").config();
    assert_eq!(
        (config.server.port, config.server.host.as_str(), config.policy_id.as_str()),
        (9, "0.0.0.0", "")
    );
    // Everything else is joined key by key.
    assert_eq!(config.statistics.address, Some(Address::Tcp("localhost".to_owned(), 2)));
}

#[test]
fn brackets_are_not_understood_but_told() {
    let world = yaml("").with("inputs[0].server.port=9");
    assert_eq!(world.config().server.port, 8220);
    assert_eq!(world.warnings(), ["-E inputs[0].server.port: unknown key inputs[0]: was inputs.0 meant?"]);
}

#[test]
fn unknown_keys_do_not_keep_it_from_starting() {
    let warnings = yaml("inputs:\n- server.limits.max_agent: 5\nmonitor: {fetch_size: 1}\nxyz: 1").warnings();
    assert_eq!(
        warnings,
        [
            "test.yml:2: unknown key inputs.0.server.limits.max_agent: was inputs.0.server.limits.max_agents meant?",
            "test.yml:3: unknown key monitor: was inputs.0.monitor meant?",
            "test.yml:4: unknown key xyz",
        ]
    );
}

#[test]
fn zero_may_mean_the_default() {
    let config = yaml(
        "inputs.0.server.internal_port: 0\ninputs.0.server.gc.schedule_interval: 0\ninputs.0.cache.ttl_api_key: 0\n\
         inputs.0.cache.jitter_api_key: 0\ninputs.0.monitor.fetch_size: -5\ninputs.0.server.port: 0\n\
         inputs.0.server.feature_flags.graceful_force_unenroll: {enabled: true, max_bytes: 0}",
    )
    .config();
    assert_eq!(config.server.internal_port, 8221);
    assert_eq!(config.server.gc.schedule_interval, Duration::from_secs(3600));
    assert_eq!(config.cache.ttl_api_key, Duration::from_secs(900));
    assert_eq!(config.cache.jitter_api_key, Duration::from_secs(300));
    assert_eq!(config.monitor.fetch_size, 1000);
    assert_eq!(config.server.port, 0);
    assert_eq!(config.server.feature_flags.graceful_force_unenroll, Some(50_000_000));
}

#[test]
fn negative_durations_are_none() {
    let world = yaml("inputs.0.server.timeouts.read: -5s");
    assert_eq!(world.config().server.timeouts.read, Duration::ZERO);
    let warning = "test.yml:1: inputs.0.server.timeouts.read is negative, which counts as 0";
    assert_eq!(world.warnings(), [warning]);
}

#[test]
fn addresses_have_several_forms() {
    let host = |text: &str| yaml(&format!("inputs.0.server.host: '{text}'")).config().server.host;
    assert_eq!(host("::1"), "::1");
    assert_eq!(host("[::1]"), "::1");
    assert_eq!(host("fleet.example"), "fleet.example");
    assert_eq!(host(""), "0.0.0.0");
    let http =
        |text: &str| yaml(&format!("http: {{enabled: true, host: '{text}'}}")).config().statistics.address;
    let tcp = |host: &str, port| Some(Address::Tcp(host.to_owned(), port));
    assert_eq!(http("0.0.0.0"), tcp("0.0.0.0", 5066));
    assert_eq!(http("http://h:1"), tcp("h", 1));
    assert_eq!(http("http://[::1]:1"), tcp("::1", 1));
    assert_eq!(http("http://[::1]"), tcp("::1", 5066));
    assert_eq!(http("unix:///run/x"), Some(Address::Unix("/run/x".into())));
    for text in ["unix://x", "http://h:x", "http://", "npipe:///x", "a b"] {
        let mistakes = yaml(&format!("http.host: '{text}'")).mistakes();
        assert!(mistakes[0].starts_with("test.yml:1: http.host must"), "{text}: {mistakes:?}");
    }
    let mistakes = yaml("http.named_pipe.user: x").mistakes();
    assert_eq!(mistakes, ["test.yml:1: http.named_pipe.user is for Windows only: remove it"]);
}

#[test]
fn two_listeners_cannot_have_one_port() {
    let mistakes = yaml("management.port: 8220").mistakes();
    assert_eq!(
        mistakes,
        ["test.yml:1: management.port is 8220, which inputs.0.server.port is as well: change one"]
    );
    assert_eq!(yaml("management.port: 0\ninputs.0.server.port: 0").config().management.port, 0);
}

#[test]
fn only_loopback_may_be_asked_without_tls() {
    let plain = |text: &str| yaml(text).config().management.allows_plain();
    for text in ["", "management.host: '::1'", "management.host: localhost", "management.host: 127.0.0.9"] {
        assert!(plain(text), "{text}");
    }
    for text in ["management.host: 0.0.0.0", "management.host: fleet.example"] {
        assert!(!plain(text), "{text}");
    }
    assert!(plain("management: {host: 0.0.0.0, ssl.enabled: false}"));
    let material = Material::new();
    assert!(!plain(&material.fill("management.ssl: {certificate: $cert, key: $key}")));
}

#[test]
fn the_log_goes_to_one_place() {
    let destination = |text: &str| yaml(text).config().logging.destination;
    assert_eq!(destination(""), None);
    assert_eq!(destination("logging.to_stderr: true"), Some(Destination::Stderr { pretty: false }));
    assert_eq!(
        destination("logging: {to_stderr: true, pretty: true, to_files: true}"),
        Some(Destination::Stderr { pretty: true })
    );
    assert_eq!(destination("logging: {to_stderr: false, to_files: false}"), Some(Destination::Nowhere));
    for text in ["logging.to_files: true", "logging.files.name: x"] {
        assert!(matches!(destination(text), Some(Destination::Files(_))), "{text}");
    }
    let words = [
        ("trace", Level::Trace),
        ("DEBUG", Level::Debug),
        ("Info", Level::Info),
        ("warn", Level::Warning),
        ("warning", Level::Warning),
        ("error", Level::Error),
    ];
    for (word, level) in words {
        assert_eq!(yaml(&format!("logging.level: {word}")).config().logging.level, level);
    }
    let Some(Destination::Files(files)) = destination("logging: {to_files: true, files.permissions: 0640}")
    else {
        panic!("no files");
    };
    assert_eq!((files.permissions, files.rotate_every_bytes, files.keep_files), (0o640, 10_485_760, 7));
}

#[test]
fn calendar_units_are_told_apart() {
    let days = |text: &str| {
        let key = "inputs.0.server.gc.cleanup_after_expired_interval";
        yaml(&format!("{key}: {text}")).config().server.gc.cleanup_after_expired.as_secs()
    };
    for (text, seconds) in [
        ("1y", 31_536_000),
        ("1M", 2_592_000),
        ("2w", 1_209_600),
        ("30d", 2_592_000),
        ("5h", 18_000),
        ("5H", 18_000),
        ("3m", 180),
        ("9s", 9),
    ] {
        assert_eq!(days(text), seconds, "{text}");
    }
}

#[test]
fn static_tokens_need_both_halves() {
    let tokens = "inputs.0.server.static_policy_tokens:\n  enabled: true\n  policy_tokens:\n";
    let config = yaml(&format!("{tokens}  - {{token_key: k, policy_id: p}}")).config();
    let token = &config.server.static_policy_tokens[0];
    assert_eq!((token.token_key.reveal(), token.policy_id.as_str()), ("k", "p"));
    let mistakes = yaml(&format!("{tokens}  - {{token_key: k}}\n  - {{policy_id: p}}")).mistakes();
    assert_eq!(
        mistakes,
        [
            "test.yml:4: inputs.0.server.static_policy_tokens.policy_tokens.0.policy_id is missing",
            "test.yml:5: inputs.0.server.static_policy_tokens.policy_tokens.1.token_key is missing",
        ]
    );
}

#[test]
fn what_has_no_effect_here_is_told() {
    let text = "fleet.agent.logging.level: info\ninputs.0.server.limits: {max_connections: 5}\n\
                inputs.0.server.runtime.gc_percent: 5\nstore: embedded\noutput.elasticsearch: {max_retries: 1}";
    let warnings = yaml(text).warnings();
    let lines: Vec<&str> = warnings.iter().filter_map(|warning| warning.get(..10)).collect();
    assert_eq!(lines, ["test.yml:1", "test.yml:2", "test.yml:3", "test.yml:5"]);
}

#[test]
fn the_stock_file_of_the_original_works_with_a_store() {
    let stock = r"
output:
  elasticsearch:
    hosts: '${ELASTICSEARCH_HOSTS:https://localhost:9200}'
    service_token: '${ELASTICSEARCH_SERVICE_TOKEN}'
    ssl.ca_trusted_fingerprint: '${ELASTICSEARCH_CA_TRUSTED_FINGERPRINT}'
fleet:
  agent:
    id: '${FLEET_SERVER_AGENT_ID:dev-fleet-server}'
inputs:
  - type: fleet-server
    policy.id: '${FLEET_SERVER_POLICY_ID:fleet-server-policy}'
logging:
  to_stderr: true
  pretty: true
  level: '${LOG_LEVEL:DEBUG}'
http.enabled: true
";
    let unset = yaml(stock).with("store=embedded").mistakes();
    assert_eq!(unset.len(), 2, "{unset:?}");
    let world = yaml(stock)
        .with("store=embedded")
        .variable("ELASTICSEARCH_HOSTS", "https://a:1,https://b")
        .variable("ELASTICSEARCH_SERVICE_TOKEN", "hidden")
        .variable("ELASTICSEARCH_CA_TRUSTED_FINGERPRINT", &"ab".repeat(32));
    assert_eq!(world.warnings(), Vec::<String>::new());
    let config = world.config();
    let output = config.output.as_ref().unwrap();
    assert_eq!(output.hosts, ["https://a:1", "https://b:9200"]);
    assert_eq!(config.fleet.agent_id, "dev-fleet-server");
    assert!(!format!("{config:?}").contains("hidden"));
}
