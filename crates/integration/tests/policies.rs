//! Package policies: shapes, checks, secrets, upgrades.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{context, made, package, pretty, set};
use fleet_integration::secrets;
use fleet_integration::shapes::{complete, full, is_simplified, simplified};
use fleet_integration::upgrade::Change;
use fleet_integration::{Finding, Package, PackagePolicy, SimplifiedPolicy, check, compile, upgrade};
use serde_json::{Value, json};

fn read(body: Value) -> SimplifiedPolicy {
    serde_json::from_value(body).unwrap()
}

fn fields(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_simplified_shape_says_what_differs() {
    let package = package("acme");
    let body = json!({
        "name": "acme-1", "namespace": "", "policy_ids": ["agents-1"], "package": {"name": "acme", "version": "1.2.0"},
        "vars": {"site": "north"}, "of_tomorrow": 1,
        "inputs": {
            "acme-logfile": {"enabled": false},
            "acme-acme/metrics": {
                "vars": {"hosts": ["http://a"], "period": {"value": "5s", "type": "text"}, "password": null},
                "streams": {"acme.traffic": {"vars": null}, "acme.state": {"enabled": false, "condition": "${host.os_family} == 'linux'"}},
            },
        },
    });
    assert!(is_simplified(&body) && !is_simplified(&json!({"inputs": []})));
    let policy = full(read(body), &package).unwrap();
    assert_eq!(policy.vars["site"].value, json!("north"));
    assert!(!policy.inputs[0].enabled && policy.inputs[1].enabled);
    assert_eq!(policy.inputs[0].streams[0].vars["paths"].value, json!(["/var/log/acme/access.log*"]));
    assert_eq!(policy.inputs[1].vars["period"].value, json!("5s"));
    assert_eq!(policy.inputs[1].vars["password"].value, Value::Null);
    assert!(policy.inputs[1].streams[1].enabled && !policy.inputs[1].streams[0].enabled);
    assert_eq!(policy.rest["of_tomorrow"], json!(1));
    // What is shown can be sent.
    let shown = simplified(&policy);
    assert_eq!(full(shown.clone(), &package).unwrap(), policy);
    let shown: Value = serde_json::to_value(shown).unwrap();
    assert_eq!(full(read(shown), &package).unwrap(), policy);
    let stored: Value = serde_json::to_value(&policy).unwrap();
    assert_eq!(serde_json::from_value::<PackagePolicy>(stored).unwrap(), policy);
}

#[test]
fn what_the_package_does_not_have_is_told_with_what_it_has() {
    let package = package("acme");
    let body = json!({
        "name": "x", "vars": {"sight": "a"},
        "inputs": {
            "acme-logfiles": {},
            "nginx": {},
            "acme-logfile": {
                "vars": {"paths": []},
                "streams": {"acme.acces": {}, "acme.access": {"vars": {"path": []}}},
            },
        },
    });
    let findings = full(read(body), &package).unwrap_err();
    assert_eq!(
        fields(&findings),
        [
            "vars.sight: there is no such variable: there is only site",
            "inputs.acme-logfile.vars.paths: there is no such variable",
            "inputs.acme-logfile.streams.acme.acces: the input acme-logfile has no such stream: did you mean acme.access?",
            "inputs.acme-logfile.streams.acme.access.vars.path: there is no such variable: did you mean paths?",
            "inputs.acme-logfiles: the package acme has no such input: did you mean acme-logfile?",
            "inputs.nginx: the package acme has no such input: there are acme-acme/metrics, acme-logfile",
        ]
    );
}

#[test]
fn the_full_shape_may_leave_things_out() {
    let package = package("acme");
    let body = json!({
        "name": "x", "vars": null,
        "inputs": [{"type": "acme/metrics", "streams": [{"data_stream": {"type": "metrics", "dataset": "acme.state"}}]}],
    });
    let mut policy: PackagePolicy = serde_json::from_value(body).unwrap();
    policy.id = "pp-1".to_owned();
    complete(&mut policy, &package);
    insta::assert_snapshot!(pretty(&policy));
    assert_eq!(check(&package, &policy), []);
    assert_eq!(compile(&package, &policy, &context()).unwrap().inputs.len(), 1);
}

#[test]
fn what_is_required_must_be_there_where_it_is_used() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    assert_eq!(check(&package, &policy), []);
    for empty in [Value::Null, json!([]), json!([""]), json!([" ", null])] {
        set(&mut policy, 0, Some(0), "paths", empty);
        let wanted = ["inputs.logfile.streams.acme.access.vars.paths: paths is required"];
        assert_eq!(fields(&check(&package, &policy)), wanted);
    }
    policy.inputs[0].streams[0].enabled = false;
    assert_eq!(check(&package, &policy), []);
    policy.vars.remove("site");
    assert_eq!(check(&package, &policy), [], "what is not there is the default");
    policy.vars.insert("site".to_owned(), fleet_integration::policy::PolicyVar::default());
    assert_eq!(fields(&check(&package, &policy)), ["vars.site: Site is required"]);
    policy.name = String::new();
    policy.namespace = Some("Prod-1".to_owned());
    policy.enabled = false;
    assert_eq!(
        fields(&check(&package, &policy)),
        ["name: must not be empty", "namespace: must be in lower case"]
    );
}

#[test]
fn nothing_may_be_there_twice() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    let (input, stream) = (policy.inputs[0].clone(), policy.inputs[1].streams[0].clone());
    policy.inputs.push(input);
    policy.inputs[1].streams.push(stream);
    assert_eq!(
        fields(&check(&package, &policy)),
        ["inputs.acme/metrics.streams.acme.state: is there twice", "inputs.acme-logfile: is there twice"]
    );
}

/// What is said of a value of a variable with these attributes.
fn said(attributes: &str, value: &Value) -> Option<String> {
    let manifest = format!("name: x\nversion: 1.0.0\nvars:\n  - {{name: v, title: V, {attributes}}}\n");
    let package: Package = made(&[("manifest.yml", &manifest)]).unwrap();
    let mut policy = PackagePolicy::defaults(&package, "p", "p");
    policy.vars.entry("v".to_owned()).or_default().value = value.clone();
    let findings = check(&package, &policy);
    assert!(findings.len() < 2, "{findings:?}");
    findings.into_iter().next().map(|finding| finding.message)
}

#[test]
fn values_must_be_what_their_types_say() {
    for (attributes, good, bad, message) in [
        ("type: bool", json!([true, "false", null, ""]), json!([1, "yes"]), "must be true or false"),
        (
            "type: integer",
            json!([1, -5, "7", 3.0, "${env.N}"]),
            json!([1.5, "x", true]),
            "must be a whole number",
        ),
        ("type: yaml", json!(["a: 1", "- x", "", "# x"]), json!(["a: [", "a: b: c"]), "must be YAML: "),
        ("type: text", json!(["a", 1, true]), json!([{"a": 1}]), "must be a text"),
        ("type: text", json!(["a"]), json!([["a"]]), "must be one value, not a list"),
        (
            "type: email",
            json!(["a@b"]),
            json!(["a", "a @b", "@b"]),
            "must be an address like name@example.org",
        ),
        ("type: url", json!(["anything"]), json!([{}]), "must be a text"),
        (
            "type: url, url_allowed_schemes: [https]",
            json!(["https://a", "HTTPS://b"]),
            json!(["http://a", "a"]),
            "must be an address that begins with https://",
        ),
        (
            "type: duration",
            json!(["1s", "1h30m", "1.5h", "500ms", "0", "${x}"]),
            json!(["1", "s", "1 s", "1x", ".s"]),
            "must be a span of time like 30s, 5m or 1h30m",
        ),
        (
            "type: duration, min_duration: 10s",
            json!(["10s", "1m"]),
            json!(["9s", "9999ms", "-1h"]),
            "must be at least 10s",
        ),
        ("type: duration, max_duration: 1h", json!(["60m"]), json!(["61m"]), "must be at most 1h"),
        (
            "type: select, options: [{value: a}, {value: 2}]",
            json!(["a", "2", 2]),
            json!(["b"]),
            "must be one of a, 2",
        ),
        ("type: text, multi: true", json!([["a"], []]), json!(["a"]), "must be a list"),
        ("type: integer, multi: true", json!([[1, "2"]]), json!([[1, "x"]]), "[1]: must be a whole number"),
        (
            "type: text, required: true",
            json!(["a", {"isSecretRef": true, "id": "s"}]),
            json!(["", null, "  "]),
            "V is required",
        ),
    ] {
        for value in good.as_array().unwrap() {
            assert_eq!(said(attributes, value), None, "{attributes}: {value}");
        }
        for value in bad.as_array().unwrap() {
            let said = said(attributes, value).unwrap_or_default();
            assert!(said.starts_with(message), "{attributes}: {value}: {said:?}");
        }
    }
}

#[test]
fn a_dataset_is_a_part_of_a_name() {
    let package = package("probe");
    let mut policy = PackagePolicy::defaults(&package, "pp-2", "probe-1");
    set(&mut policy, 0, Some(0), "url", json!("https://example.org"));
    for (dataset, wanted) in
        [("a-b", "must not contain '-'"), ("A", "must be in lower case"), ("a b", "must not contain ' '")]
    {
        set(&mut policy, 0, Some(0), "data_stream.dataset", json!(dataset));
        let field = "inputs.http/metrics.streams.probe.http.vars.data_stream.dataset";
        assert_eq!(fields(&check(&package, &policy)), [format!("{field}: {wanted}")]);
    }
    set(&mut policy, 0, Some(0), "data_stream.dataset", json!({"dataset": "shop", "package": "x"}));
    assert_eq!(check(&package, &policy), []);
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert_eq!(compiled.permissions.unwrap()["indices"][0]["names"], json!(["metrics-shop-prod"]));
}

#[test]
fn secrets_are_taken_out_and_referred_to() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    assert!(secrets::take(&package, &mut policy).is_empty(), "what is empty is no secret");
    set(&mut policy, 1, None, "password", json!("hunter2"));
    let taken = secrets::take(&package, &mut policy);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].values, ["hunter2"]);
    assert!(!format!("{taken:?}").contains("hunter2"));
    assert!(!pretty(&policy).contains("hunter2"));
    secrets::refer(&mut policy, &taken[0], &["s-1".to_owned()]);
    secrets::name_references(&mut policy);
    assert_eq!(policy.inputs[1].vars["password"].value, json!({"isSecretRef": true, "id": "s-1"}));
    assert_eq!(serde_json::to_value(&policy.secret_references).unwrap(), json!([{"id": "s-1"}]));
    assert!(secrets::take(&package, &mut policy).is_empty(), "a reference is no secret");
    assert_eq!(secrets::references(&policy).into_iter().collect::<Vec<_>>(), ["s-1"]);
    let old = policy.clone();
    assert_eq!(secrets::foreign(&package, &policy, Some(&old)), []);
    set(&mut policy, 1, None, "password", json!({"isSecretRef": true, "id": "s-2"}));
    let findings = secrets::foreign(&package, &policy, Some(&old));
    assert_eq!(
        fields(&findings),
        ["inputs.acme/metrics.vars.password: the policy has no secret s-2: send the value itself"]
    );
    assert_eq!(secrets::foreign(&package, &policy, None).len(), 1);
}

#[test]
fn what_somebody_set_to_null_stays_null() {
    let manifest = "name: x\nversion: 1.0.0\nvars:\n  - {name: proxy, type: text, default: none}\n  \
                    - {name: other, type: text}\n";
    let package = made(&[("manifest.yml", manifest)]).unwrap();
    let sent = json!({"name": "p", "vars": {"proxy": null}});
    let policy = fleet_integration::shapes::full(serde_json::from_value(sent).unwrap(), &package).unwrap();
    let stored = serde_json::to_value(&policy).unwrap();
    assert_eq!(stored["vars"], json!({"other": {"type": "text"}, "proxy": {"value": null, "type": "text"}}));
    let read: PackagePolicy = serde_json::from_value(stored).unwrap();
    assert_eq!(read, policy);
    let shown = serde_json::to_value(fleet_integration::shapes::simplified(&read)).unwrap();
    assert_eq!(shown["vars"], json!({"proxy": null}), "what nobody has set is left out");
    let upgraded = fleet_integration::upgrade(&read, &package).policy;
    assert_eq!(upgraded.vars, policy.vars);
}

#[test]
fn lists_of_secrets_have_an_id_each() {
    let manifest =
        "name: x\nversion: 1.0.0\nvars:\n  - {name: keys, type: text, multi: true, secret: true}\n";
    let package = made(&[("manifest.yml", manifest)]).unwrap();
    let mut policy = PackagePolicy::defaults(&package, "p", "p");
    policy.vars.get_mut("keys").unwrap().value = json!(["one"]);
    let taken = secrets::take(&package, &mut policy);
    secrets::refer(&mut policy, &taken[0], &["a".to_owned()]);
    secrets::name_references(&mut policy);
    assert_eq!(policy.vars["keys"].value, json!({"isSecretRef": true, "ids": ["a"]}));
    policy.vars.get_mut("keys").unwrap().value = json!(["one", 2]);
    let taken = secrets::take(&package, &mut policy);
    assert_eq!(taken[0].values, ["one", "2"]);
    secrets::refer(&mut policy, &taken[0], &["b".to_owned(), "c".to_owned()]);
    secrets::name_references(&mut policy);
    assert_eq!(secrets::references(&policy).len(), 2);
}

const STREAM: &str = "type: logs\ntitle: L\nstreams:\n  - input: logfile\n    vars:\n";

fn versioned(version: &str, vars: &str, more: &[(&str, &str)]) -> Package {
    let manifest = format!(
        "name: x\nversion: {version}\npolicy_templates:\n  - name: x\n    inputs:\n      - type: logfile\n"
    );
    let stream = format!("{STREAM}{vars}");
    let mut files = vec![
        ("manifest.yml", manifest.as_str()),
        ("data_stream/log/manifest.yml", &stream),
        ("data_stream/log/agent/stream/stream.yml.hbs", "a: 1"),
    ];
    files.extend(more);
    made(&files).unwrap()
}

#[test]
fn an_upgrade_keeps_what_people_have_set() {
    let old = versioned(
        "1.0.0",
        "      - {name: paths, type: text}\n      - {name: gone, type: text}\n      - {name: was, type: text}\n",
        &[],
    );
    let mut policy = PackagePolicy::defaults(&old, "p", "p");
    policy.revision = 4;
    set(&mut policy, 0, Some(0), "paths", json!("/a"));
    set(&mut policy, 0, Some(0), "was", json!("kept"));
    set(&mut policy, 0, Some(0), "gone", json!({"isSecretRef": true, "id": "s"}));
    secrets::name_references(&mut policy);
    assert!(policy.secret_references.is_some());
    policy.inputs[0].streams[0].enabled = false;
    let vars = "      - {name: paths, type: text, multi: true}\n      - {name: is, type: text, migrate_from: was}\n      - {name: new, type: integer, default: 5}\n";
    let new = versioned(
        "2.0.0",
        vars,
        &[("data_stream/more/manifest.yml", "type: logs\nstreams: [{input: logfile}]")],
    );
    let upgraded = upgrade(&policy, &new);
    let streams = &upgraded.policy.inputs[0].streams;
    assert_eq!(upgraded.policy.package.as_ref().unwrap().version, "2.0.0");
    assert_eq!(upgraded.policy.revision, 4);
    assert_eq!(upgraded.policy.secret_references, None);
    assert!(!streams[0].enabled && streams[1].enabled);
    let values: Vec<(&str, &Value)> =
        streams[0].vars.iter().map(|(name, var)| (name.as_str(), &var.value)).collect();
    assert_eq!(values, [("is", &json!("kept")), ("new", &json!(5)), ("paths", &json!(["/a"]))]);
    let field = |name: &str| format!("inputs.logfile.streams.x.log.vars.{name}");
    let changes: Vec<(String, Change)> =
        upgraded.changes.into_iter().map(|change| (change.field, change.change)).collect();
    assert_eq!(
        changes,
        [
            (field("paths"), Change::Reshaped),
            (field("is"), Change::Renamed),
            (field("new"), Change::Added),
            (field("gone"), Change::Removed),
            ("inputs.logfile.streams.x.more".to_owned(), Change::Added),
        ]
    );
    assert_eq!(upgraded.conflicts, []);
}

#[test]
fn an_upgrade_tells_what_a_person_has_to_settle() {
    let old = versioned("1.0.0", "      - {name: level, type: text, default: loud}\n", &[]);
    let policy = PackagePolicy::defaults(&old, "p", "p");
    let vars = "      - {name: level, type: select, options: [{value: low}]}\n      - {name: key, title: Key, type: text, required: true}\n";
    let upgraded = upgrade(&policy, &versioned("2.0.0", vars, &[]));
    assert_eq!(
        fields(&upgraded.conflicts),
        [
            "inputs.logfile.streams.x.log.vars.level: must be one of low",
            "inputs.logfile.streams.x.log.vars.key: Key is required",
        ]
    );
    let same = upgrade(&policy, &old);
    assert_eq!((same.policy, same.changes), (policy, Vec::new()));
}

#[test]
fn documents_have_a_schema() {
    for (schema, wanted) in
        [(schemars::schema_for!(PackagePolicy), "array"), (schemars::schema_for!(SimplifiedPolicy), "object")]
    {
        let schema = serde_json::to_value(schema).unwrap();
        assert_eq!(schema["properties"]["inputs"]["type"], json!(wanted), "{schema}");
        assert_eq!(schema["required"], json!(["name"]));
    }
}
