use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{Revision, Versioned};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::documents::{AgentPolicy, DeployedPolicy};
use crate::render::{render, secret_ids};

fn known<T: serde::de::DeserializeOwned>(documents: &[Value]) -> Known<T> {
    let versioned = documents.iter().enumerate().map(|(index, document)| {
        let id = document["id"].as_str().unwrap().to_owned();
        let value = serde_json::from_value(document.clone()).unwrap();
        (id.clone(), Arc::new(Versioned { id, revision: Revision(10 + index as u64), value }))
    });
    Arc::new(versioned.collect())
}

fn snapshot(outputs: &[Value], hosts: &[Value], sources: &[Value], proxies: &[Value]) -> Snapshot {
    Snapshot {
        outputs: known(outputs),
        hosts: known(hosts),
        download_sources: known(sources),
        proxies: known(proxies),
        defaults: SettingDefaults::default(),
    }
}

fn default_output() -> Value {
    json!({"id": "fleet-default-output", "name": "default", "type": "elasticsearch",
        "hosts": ["http://localhost:9200"], "is_default": true, "is_default_monitoring": true, "preset": "balanced"})
}

fn one_output(output: Value) -> Value {
    let snapshot = snapshot(&[output], &[], &[], &[]);
    snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap().outputs["default"].clone()
}

#[test]
fn a_policy_that_names_nothing_gets_the_defaults() {
    let snapshot = snapshot(
        &[default_output()],
        &[json!({"id": "h", "host_urls": ["https://fleet:8220"], "is_default": true})],
        &[json!({"id": "d", "host": "https://mirror/", "is_default": true})],
        &[],
    );
    let parts = snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap();
    let expected = json!({"default": {"type": "elasticsearch", "hosts": ["http://localhost:9200"], "preset": "balanced"}});
    assert_eq!(Value::Object(parts.outputs), expected);
    assert_eq!((parts.data_output.as_str(), parts.monitoring_output.as_str()), ("default", "default"));
    assert_eq!(parts.fleet, Some(json!({"hosts": ["https://fleet:8220"]})));
    assert_eq!(parts.download, json!({"sourceURI": "https://mirror/"}));
    let made_of = [("download-source:d", 10), ("fleet-server-host:h", 10), ("output:default", 10)];
    assert_eq!(parts.made_of, made_of.map(|(name, revision)| (name.to_owned(), revision)).into());
    assert_eq!(parts.findings, []);
}

#[test]
fn the_chosen_one_is_the_default_whatever_objects_say_of_themselves() {
    let other = json!({"id": "other", "type": "logstash", "hosts": ["l:5044"]});
    let mut snapshot = snapshot(&[default_output(), other], &[], &[], &[]);
    snapshot.defaults.output = Some("other".to_owned());
    let parts = snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap();
    assert_eq!(parts.outputs["default"]["type"], "logstash");
    assert_eq!(parts.monitoring_output, "fleet-default-output");
    snapshot.defaults.output = Some("gone".to_owned());
    assert_eq!(snapshot.default_output().unwrap().id, "fleet-default-output");
}

#[test]
fn what_is_named_and_gone_is_replaced_and_told() {
    let snapshot = snapshot(&[default_output()], &[], &[], &[]);
    let policy = AgentPolicy {
        data_output_id: Some("gone".to_owned()),
        fleet_server_host_id: Some("gone".to_owned()),
        download_source_id: Some("gone".to_owned()),
        ..AgentPolicy::default()
    };
    let parts = snapshot.parts_for(&policy, &["gone".to_owned()]).unwrap();
    assert_eq!(parts.data_output, "default");
    assert_eq!(parts.output_names["gone"], "default");
    assert_eq!(parts.fleet, None);
    assert_eq!(parts.download, json!({"sourceURI": PUBLIC_DOWNLOADS}));
    let expected = [
        MissingSetting::Output("gone".to_owned()),
        MissingSetting::Host("gone".to_owned()),
        MissingSetting::DownloadSource("gone".to_owned()),
    ];
    assert_eq!(parts.findings, expected);
}

#[test]
fn without_any_default_nothing_is_made() {
    let snapshot =
        snapshot(&[json!({"id": "other", "type": "logstash", "hosts": ["l:5044"]})], &[], &[], &[]);
    let missing = snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap_err();
    assert_eq!(missing, MissingSetting::DefaultOutput);
    let named = AgentPolicy {
        data_output_id: Some("other".to_owned()),
        monitoring_output_id: Some("other".to_owned()),
        ..AgentPolicy::default()
    };
    assert_eq!(snapshot.parts_for(&named, &[]).unwrap().data_output, "other");
}

#[test]
fn fields_win_over_the_yaml_whichever_way_it_is_written() {
    let made = one_output(json!({"id": "o", "type": "elasticsearch", "hosts": ["https://es:9200"],
        "is_default": true, "ca_trusted_fingerprint": "ab", "ca_sha256": "pin",
        "ssl": {"verification_mode": "full", "certificate": ""},
        "config_yaml": "ssl.verification_mode: none\nssl: {renegotiation: never}\nbulk_max_size: 50\nhosts: [x]\n"}));
    let expected = json!({"type": "elasticsearch", "hosts": ["https://es:9200"], "bulk_max_size": 50,
        "ca_sha256": "pin",
        "ssl": {"verification_mode": "full", "renegotiation": "never", "ca_trusted_fingerprint": "ab"}});
    assert_eq!(made, expected);
}

#[test]
fn yaml_that_cannot_be_read_is_left_out_and_told() {
    let mut output = default_output();
    for yaml in ["a: [", "- 1", "a: &x 1\nb: *x", "word"] {
        output["config_yaml"] = yaml.into();
        let snapshot = snapshot(&[output.clone()], &[], &[], &[]);
        let parts = snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap();
        assert_eq!(parts.outputs["default"]["hosts"], json!(["http://localhost:9200"]));
        assert!(
            matches!(&parts.findings[..], [MissingSetting::ConfigYaml { .. }]),
            "{yaml}: {:?}",
            parts.findings
        );
    }
}

#[test]
fn kafka_is_told_as_agents_know_it() {
    let made = one_output(json!({"id": "k", "type": "kafka", "hosts": ["k:9092"], "is_default": true,
        "version": "2.6.0", "client_id": "Elastic", "auth_type": "user_pass", "username": "u", "password": "p",
        "sasl": {"mechanism": "PLAIN"}, "compression": "snappy", "compression_level": 4, "partition": "hash",
        "hash": {"hash": "a, b", "random": false}, "random": {"group_events": 1}, "topic": "logs",
        "topics": [{"topic": "bad", "when": {"type": "contains", "condition": "message:error: x"}}],
        "headers": [{"key": "k", "value": "v"}, {"key": "", "value": ""}],
        "timeout": 30, "broker_timeout": 10, "required_acks": -1, "proxy_id": "gone"}));
    let expected = json!({"type": "kafka", "hosts": ["k:9092"], "version": "2.6.0", "client_id": "Elastic",
        "username": "u", "password": "p", "sasl": {"mechanism": "PLAIN"}, "compression": "snappy",
        "partition": {"hash": {"hash": ["a", "b"], "random": false}}, "topic": "logs",
        "topics": [{"topic": "bad", "when": {"contains": {"message": "error: x"}}}],
        "headers": [{"key": "k", "value": "v"}], "timeout": 30, "broker_timeout": 10, "required_acks": -1});
    assert_eq!(made, expected);
}

#[test]
fn a_plain_connection_to_kafka_has_no_tls_and_an_encrypted_one_has() {
    let kafka = |connection: &str| {
        one_output(
            json!({"id": "k", "type": "kafka", "hosts": ["k:9092"], "is_default": true, "auth_type": "none",
            "connection_type": connection, "ssl": {"certificate_authorities": ["ca"]},
            "secrets": {"ssl": {"key": {"id": "s"}}}}),
        )
    };
    assert_eq!(kafka("plaintext"), json!({"type": "kafka", "hosts": ["k:9092"]}));
    let encrypted = kafka("encryption");
    assert_eq!(encrypted["ssl"], json!({"certificate_authorities": ["ca"], "enabled": true}));
    assert_eq!(encrypted["secrets"]["ssl"]["key"], json!({"id": "s"}));
}

#[test]
fn a_proxy_stands_with_what_goes_through_it() {
    let proxy = json!({"id": "p", "url": "http://proxy:3128", "proxy_headers": {"X-A": "b", "X-N": 1},
        "certificate_authorities": "ca", "certificate": "c", "certificate_key": "k"});
    let mut output = default_output();
    output["proxy_id"] = "p".into();
    let snapshot = snapshot(
        &[output],
        &[json!({"id": "h", "host_urls": ["https://f:8220"], "is_default": true, "proxy_id": "p",
            "ssl": {"agent_certificate": "mine", "certificate": "the server's", "es_key": "not for agents"},
            "secrets": {"ssl": {"agent_key": {"id": "s1"}, "es_key": {"id": "s2"}}}})],
        &[json!({"id": "d", "host": "https://mirror/", "is_default": true, "proxy_id": "p",
            "auth": {"username": "u"}, "secrets": {"auth": {"password": {"id": "s3"}}}})],
        &[proxy],
    );
    let parts = snapshot.parts_for(&AgentPolicy::default(), &[]).unwrap();
    assert_eq!(parts.outputs["default"]["proxy_url"], "http://proxy:3128");
    assert_eq!(parts.outputs["default"]["proxy_headers"], json!({"X-A": "b", "X-N": 1}));
    let fleet = json!({"hosts": ["https://f:8220"], "proxy_url": "http://proxy:3128",
        "proxy_headers": {"X-A": "b", "X-N": 1},
        "ssl": {"certificate_authorities": ["ca"], "certificate": "mine", "key": "k"},
        "secrets": {"ssl": {"key": {"id": "s1"}}}});
    assert_eq!(parts.fleet, Some(fleet));
    assert_eq!(parts.download["auth"], json!({"username": "u"}));
    assert_eq!(parts.download["secrets"], json!({"auth": {"password": {"id": "s3"}}}));
    assert_eq!(parts.download["ssl"]["certificate_authorities"], json!(["ca"]));
    assert_eq!(parts.made_of["proxy:p"], 10);
}

const IDS: [&str; 4] = ["a", "b", "c", "gone"];

fn outputs() -> impl Strategy<Value = Vec<Value>> {
    let kind =
        prop_oneof![Just("elasticsearch"), Just("remote_elasticsearch"), Just("logstash"), Just("kafka")];
    let each = (kind, any::<bool>(), prop::option::of(0..IDS.len()), any::<bool>());
    (prop::collection::vec(each, 3), 0..3_usize, 0..3_usize).prop_map(|(each, default, monitoring)| {
        let made = each.into_iter().enumerate().map(|(index, (kind, has_secret, proxy, has_yaml))| {
            let mut output = json!({"id": IDS[index], "name": IDS[index], "type": kind, "hosts": ["h:1"],
                "auth_type": "user_pass", "is_default": index == default,
                "is_default_monitoring": index == monitoring});
            if has_secret {
                output["secrets"] = json!({"ssl": {"key": {"id": "key"}}, "password": {"id": "password"},
                    "service_token": {"id": "service_token"}});
            }
            if has_yaml {
                output["config_yaml"] = "type: other\nqueue.mem.events: 1".into();
            }
            if let Some(proxy) = proxy {
                output["proxy_id"] = IDS[proxy].into();
            }
            output
        });
        made.collect()
    })
}

proptest! {
    /// Whatever is named: each output that is told of is there once, nothing is named that is not there, what it
    /// is made of is told, and agents see no reference to a secret.
    #[test]
    fn parts_are_whole(
        outputs in outputs(),
        named in prop::collection::vec(prop::option::of(0..IDS.len()), 4),
        used in prop::collection::vec(0..IDS.len(), 0..4),
    ) {
        let name = |index: usize| named[index].map(|id| IDS[id].to_owned());
        let policy = AgentPolicy {
            data_output_id: name(0),
            monitoring_output_id: name(1),
            fleet_server_host_id: name(2),
            download_source_id: name(3),
            ..AgentPolicy::default()
        };
        let used: Vec<String> = used.into_iter().map(|id| IDS[id].to_owned()).collect();
        let proxies = [json!({"id": "a", "url": "http://p:1"})];
        let hosts = [json!({"id": "b", "host_urls": ["https://f:8220"], "is_default": true})];
        let snapshot = snapshot(&outputs, &hosts, &[], &proxies);
        let parts = snapshot.parts_for(&policy, &used).unwrap();
        prop_assert_eq!(&parts, &snapshot.parts_for(&policy, &used).unwrap());

        let mut names: BTreeSet<&String> = parts.output_names.values().collect();
        names.extend([&parts.data_output, &parts.monitoring_output]);
        prop_assert_eq!(&names, &parts.outputs.keys().collect::<BTreeSet<_>>());
        for name in names {
            let key = format!("output:{name}");
            prop_assert!(parts.made_of.contains_key(&key), "{} in {:?}", key, parts.made_of);
            let stored = outputs.iter().find(|output| match name.as_str() {
                DEFAULT_OUTPUT_NAME => output["is_default"] == true,
                name => output["id"] == name && output["is_default"] == false,
            });
            // To agents a remote engine is one like any other, and what the server asks it with is not theirs.
            let kind = match stored.unwrap()["type"].as_str().unwrap() {
                "remote_elasticsearch" => "elasticsearch",
                kind => kind,
            };
            prop_assert_eq!(&parts.outputs[name]["type"], kind);
            prop_assert!(!parts.outputs[name].to_string().contains("service_token"));
            prop_assert_eq!(&parts.outputs[name]["hosts"], &stored.unwrap()["hosts"]);
        }
        let told = |finding| parts.findings.contains(&finding);
        let output_is_gone = used.iter().chain(&policy.data_output_id).chain(&policy.monitoring_output_id).any(|id| id == "gone");
        prop_assert_eq!(told(MissingSetting::Output("gone".to_owned())), output_is_gone);

        let data = Map::from_iter([
            ("outputs".to_owned(), Value::Object(parts.outputs)),
            ("fleet".to_owned(), parts.fleet.unwrap()),
        ]);
        let deployed = DeployedPolicy { policy_id: "p".to_owned(), data, ..DeployedPolicy::default() };
        let secrets: BTreeMap<String, String> =
            secret_ids(&deployed).into_iter().map(|id| (id.clone(), format!("the {id}"))).collect();
        let rendered = render(&deployed, &secrets);
        let sent: Value = serde_json::from_slice(&rendered.data.text()).unwrap();
        prop_assert!(rendered.missing_secrets.is_empty());
        for output in sent["policy"]["outputs"].as_object().unwrap().values() {
            prop_assert!(output.get("secrets").is_none(), "{}", output);
        }
    }
}
