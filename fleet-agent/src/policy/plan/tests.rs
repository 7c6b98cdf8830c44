use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("a map") };
    map
}

fn facts() -> Facts {
    Facts::new(map(json!({
        "host": {"name": "web", "platform": "linux"},
        "env": {},
        "agent": {"id": "a"},
    })))
}

fn planned(value: Value) -> Plan {
    plan(&map(value), &facts()).unwrap()
}

fn with_inputs(inputs: impl Into<Value>) -> Value {
    json!({"id": "p", "revision": 3, "outputs": {"default": {"type": "file", "path": "/tmp/${agent.id}"}}, "inputs": inputs.into()})
}

#[test]
fn inputs_and_streams_that_are_off_or_for_others_are_left_out_and_told() {
    let plan = planned(with_inputs(json!([
        {"id": "on", "type": "filestream", "condition": "${host.platform} == 'linux'", "streams": [
            {"id": "s1", "paths": ["/var/${host.name}.log"]},
            {"id": "s2", "enabled": false},
            {"id": "s3", "condition": "${host.platform} == 'windows'"},
        ]},
        {"id": "off", "type": "filestream", "enabled": false},
        {"id": "windows", "type": "winlog", "condition": "${host.platform} == 'windows'"},
        {"id": "empty", "type": "filestream", "streams": [{"enabled": false}]},
        {"id": "no-streams", "type": "otlp"},
    ])));
    let ids: Vec<&str> = plan.inputs.iter().map(|input| input.id.as_str()).collect();
    assert_eq!(ids, ["on", "no-streams"]);
    assert_eq!(plan.inputs[0].config["streams"], json!([{"id": "s1", "paths": ["/var/web.log"]}]));
    assert!(!plan.inputs[0].config.contains_key("condition"));
    assert_eq!(plan.outputs[0].config["path"], "/tmp/a");
    let told: Vec<&str> = plan.findings.iter().map(|finding| finding.about.as_str()).collect();
    assert_eq!(told, ["off", "windows", "empty"]);
    assert_eq!((plan.policy_id.as_str(), plan.revision), ("p", 3));
    assert!(plan.broken.is_empty());
}

#[test]
fn what_is_broken_stops_no_other_and_says_where() {
    let plan = planned(with_inputs(json!([
        {"id": "good", "type": "filestream"},
        {"id": "good", "type": "filestream"},
        {"id": "no-type"},
        {"id": "missing", "type": "x", "path": "${env.NO}"},
        {"id": "bad-condition", "type": "x", "condition": "1 +"},
        {"id": "no-output", "type": "x", "use_output": "other"},
        {"id": "bad-streams", "type": "x", "streams": 1},
        {"id": "bad-enabled", "type": "x", "enabled": "perhaps"},
        7,
    ])));
    assert_eq!(plan.inputs.len(), 1);
    let reasons: Vec<(&str, &str)> =
        plan.broken.iter().map(|broken| (broken.id.as_str(), broken.reason.as_str())).collect();
    let starts = [
        ("good", "inputs.1.id: "),
        ("no-type", "inputs.2.type: "),
        ("missing", "inputs.3.path: the variable ${env.NO} is not known"),
        ("bad-condition", "inputs.4.condition: the condition cannot be read: it ends"),
        ("no-output", "inputs.5.use_output: "),
        ("bad-streams", "inputs.6.streams: "),
        ("bad-enabled", "inputs.7.enabled: "),
        ("-8", "inputs.8: this is not a map"),
    ];
    assert_eq!(reasons.len(), starts.len(), "{reasons:?}");
    for ((id, reason), (wanted, start)) in reasons.iter().zip(starts) {
        assert!(*id == wanted && reason.starts_with(start), "{id}: {reason}");
    }
}

#[test]
fn all_mistakes_of_an_input_are_told_at_once() {
    let plan = planned(with_inputs(json!([{
        "id": "many", "use_output": "other", "a": "${env.NO}", "b": "${env.NO_MORE}",
        "streams": [{"id": "1", "enabled": "perhaps"}, {"id": "2", "condition": "1 +", "x": "${env.NO}"}, 3, {"id": "4", "x": "${env.NO}"}],
    }])));
    let reason = plan.broken[0].reason.as_str();
    let told = [".type: ", ".a: ", ".b: ", ".use_output: ", ".streams.0.enabled: ", ".streams.1.condition: "];
    for told in told.into_iter().chain([".streams.1: ", ".streams.2: ", ".streams.3: "]) {
        assert!(reason.contains(&format!("inputs.0{told}")), "{told}: {reason}");
    }
}

#[test]
fn of_very_many_mistakes_the_first_are_told() {
    let streams = vec![json!("x"); 1000];
    let plan = planned(with_inputs(json!([{"id": "many", "type": "x", "streams": streams}])));
    let reason = plan.broken[0].reason.as_str();
    assert!(reason.starts_with("inputs.0.streams.0: this is not a map; inputs.0.streams.1: "), "{reason}");
    assert!(reason.ends_with("; and 990 more mistakes") && reason.len() < 1000, "{reason}");
}

#[test]
fn outputs_that_nobody_uses_are_known() {
    let plan = planned(json!({"id": "p", "revision": 1,
        "outputs": {"default": {"type": "console"}, "spare": {"type": "kafka"}},
        "inputs": [{"id": "a", "type": "x"}],
    }));
    assert_eq!(plan.unused_outputs().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["spare"]);
}

#[test]
fn a_broken_output_breaks_its_inputs_alone() {
    let plan = planned(json!({"id": "p", "revision": 1,
        "outputs": {"default": {"type": "console"}, "bad": {"hosts": []}, "off": {"type": "file", "enabled": false}},
        "inputs": [{"id": "a", "type": "x"}, {"id": "b", "type": "x", "use_output": "bad"}],
    }));
    assert_eq!(plan.inputs.len(), 1);
    assert_eq!(plan.broken.iter().map(|broken| broken.id.as_str()).collect::<Vec<_>>(), ["bad", "b"]);
}

#[test]
fn a_policy_of_another_shape_is_refused_whole() {
    for (policy, reason) in [
        (json!({}), "id is not a text"),
        (json!({"id": "p"}), "revision is not a whole number"),
        (json!({"id": "p", "revision": 1, "inputs": {}}), "inputs is not a list"),
        (json!({"id": "p", "revision": 1, "outputs": []}), "outputs is not a map"),
        (json!({"id": "p", "revision": 1, "fleet": 1}), "fleet is not a map"),
    ] {
        let refusal = plan(&map(policy), &facts()).unwrap_err().to_string();
        assert!(refusal.ends_with(reason), "{refusal}");
    }
    let unsigned = json!({"id": "p", "revision": 1, "agent": {"protection": {"signing_key": "AAAA"}}});
    assert!(matches!(plan(&map(unsigned), &facts()), Err(Refusal::Signature(_))));
    let cyclic = json!({"id": "p", "revision": 1, "providers": {"local": {"vars": {"a": "${local.a}"}}}});
    assert!(matches!(plan(&map(cyclic), &facts()), Err(Refusal::Local(_))));
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let deep = with_inputs(json!([{"id": "d", "type": "x", "deep": deep}]));
    assert!(matches!(plan(&map(deep), &facts()), Err(Refusal::TooLarge(_))));
}

#[test]
fn settings_of_the_wrong_kind_are_told_and_taken_as_unset() {
    let plan = planned(json!({"id": "p", "revision": 1, "agent": {
        "logging": {"level": 7},
        "monitoring": {"enabled": true, "logs": "yes", "http": {"enabled": true, "port": "6792"}},
        "features": {"fqdn": {"enabled": true}, "other": {"enabled": false}},
    }}));
    assert_eq!(plan.settings.log_level, None);
    assert_eq!(
        plan.settings.http,
        Some(crate::policy::HttpMonitoring { host: "localhost".to_owned(), port: 6792 })
    );
    assert_eq!(plan.settings.features["fqdn"], json!({"enabled": true}));
    let told: Vec<&str> = plan.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        told,
        ["agent.monitoring.logs: this is not true or false", "agent.logging.level: this is not a text"]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_collectors_sections_are_one_input_as_they_are() {
    let plan = planned(
        json!({"id": "p", "revision": 1, "receivers": {"otlp": {"endpoint": "${env:X}"}}, "service": {"pipelines": {}}}),
    );
    assert_eq!(plan.inputs[0].kind, COLLECTOR_KIND);
    assert_eq!(plan.inputs[0].config["receivers"]["otlp"]["endpoint"], "${env:X}");
    let none = planned(json!({"id": "p", "revision": 1, "receivers": {}}));
    assert!(none.inputs.is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[${}.a-z|'=()]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let key = prop::sample::select(vec![
            "id",
            "type",
            "enabled",
            "condition",
            "streams",
            "use_output",
            "inputs",
            "outputs",
            "agent",
            "fleet",
            "protection",
            "signing_key",
            "monitoring",
            "http",
            "logging",
            "level",
            "secret_paths",
            "providers",
            "local",
            "vars",
            "revision",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_policy_breaks_it_and_no_input_is_lost(sections in prop::collection::btree_map(
        prop::sample::select(vec!["inputs", "outputs", "agent", "fleet", "providers", "secret_paths", "service"])
            .prop_map(str::to_owned), any_json(), 0..6)) {
        let mut policy: Map<String, Value> = sections.into_iter().collect();
        policy.insert("id".to_owned(), "p".into());
        policy.insert("revision".to_owned(), 1.into());
        if let Ok(plan) = plan(&policy, &facts()) {
            let given = policy.get("inputs").and_then(Value::as_array).map_or(0, Vec::len);
            let outputs = plan.broken.iter().filter(|broken| broken.reason.starts_with("outputs.")).count();
            let collectors = plan.inputs.iter().filter(|input| input.kind == COLLECTOR_KIND).count();
            let off = plan.findings.iter().filter(|finding| finding.message.starts_with("this input is")
                || finding.message.starts_with("none of")).count();
            prop_assert_eq!(plan.inputs.len() - collectors + plan.broken.len() - outputs + off, given);
        }
        let _ = crate::policy::Redactor::of(&policy).policy(&policy);
    }
}
