//! From packages to what agents get.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use fleet_integration::policy::{DataTag, PolicyVar};
use fleet_integration::{Archive, Context, Package, PackagePolicy, compile};
use serde_json::{Value, json};

fn package(name: &str) -> Package {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages").join(name);
    Package::read(&Archive::directory(&path).unwrap()).unwrap()
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn context() -> Context<'static> {
    Context {
        output: "default",
        output_id: "out-1",
        output_type: "elasticsearch",
        agent_policy_id: "agents-1",
        agent_policy_name: "Agents",
        agent_policy_namespace: "prod",
        global_data_tags: &[],
    }
}

fn set(policy: &mut PackagePolicy, input: usize, stream: Option<usize>, name: &str, value: Value) {
    let input = &mut policy.inputs[input];
    let vars = match stream {
        Some(stream) => &mut input.streams[stream].vars,
        None => &mut input.vars,
    };
    vars.entry(name.to_owned()).or_insert_with(PolicyVar::default).value = value;
}

#[test]
fn defaults_are_rendered() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    policy.revision = 3;
    let compiled = compile(&package, &policy, &context()).unwrap();
    insta::assert_snapshot!(pretty(&compiled.inputs));
    insta::assert_snapshot!(pretty(&compiled.permissions));
}

#[test]
fn values_go_where_they_belong() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    policy.namespace = Some("own".to_owned());
    let tags = [DataTag { name: "team".to_owned(), value: json!("web") }];
    set(&mut policy, 0, Some(0), "paths", json!(["/a b/*.log", "/c's"]));
    set(&mut policy, 0, Some(0), "port", json!("8080"));
    set(&mut policy, 0, Some(0), "tags", json!(["forwarded"]));
    set(&mut policy, 0, Some(0), "preserve_original_event", json!(true));
    let processors = "# those of ours\n- add_fields:\n    fields: {a: 1}\n- drop_event: ~\n";
    set(&mut policy, 0, Some(0), "processors", json!(processors));
    set(&mut policy, 1, None, "password", json!({"isSecretRef": true, "id": "s-1"}));
    policy.overrides = Some(json!({"inputs": {"acme/metrics-acme-pp-1": {"more": {"x": 1}}}}));
    let context = Context { global_data_tags: &tags, ..context() };
    let compiled = compile(&package, &policy, &context).unwrap();
    insta::assert_snapshot!(pretty(&compiled.inputs));
}

#[test]
fn an_input_package_says_where_its_data_goes() {
    let package = package("probe");
    let mut policy = PackagePolicy::defaults(&package, "pp-2", "probe-1");
    set(&mut policy, 0, Some(0), "url", json!("https://example.org"));
    set(&mut policy, 0, Some(0), "data_stream.dataset", json!("shop"));
    set(&mut policy, 0, Some(0), "headers", json!("Accept: text/plain\nX-Id: '1'"));
    let compiled = compile(&package, &policy, &context()).unwrap();
    insta::assert_snapshot!(pretty(&compiled.inputs));
    insta::assert_snapshot!(pretty(&compiled.permissions));
}
