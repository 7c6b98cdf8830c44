//! From packages to what agents get.

mod common;

use common::{context, package, pretty, set};
use fleet_integration::policy::DataTag;
use fleet_integration::{CompileError, Context, PackagePolicy, compile};
use serde_json::json;

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

#[test]
fn what_is_off_is_left_out() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    policy.inputs[1].streams[0].enabled = false;
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert_eq!(compiled.inputs.len(), 1, "an input without streams goes");
    policy.inputs[0].enabled = false;
    assert!(compile(&package, &policy, &context()).unwrap().inputs.is_empty());
    policy.inputs[1].streams[1].enabled = true;
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert_eq!(compiled.permissions.unwrap()["indices"][0]["names"], json!(["metrics-acme.traffic.*-prod"]));
    assert_eq!(compiled.rendered[1].streams[0], None);
    assert_eq!(compiled.rendered[1].streams[1].as_ref().unwrap()["metricsets"], json!(["traffic"]));
    policy.enabled = false;
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert!(compiled.inputs.is_empty() && compiled.permissions.is_none());
}

#[test]
fn what_cannot_be_rendered_is_told() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    set(&mut policy, 0, Some(0), "paths", json!(["a: b: c"]));
    match compile(&package, &policy, &context()) {
        Err(CompileError::Rendered { file, line, text, .. }) => {
            assert_eq!((file.as_str(), line), ("data_stream/access/agent/stream/stream.yml.hbs", 2));
            assert_eq!(text, "  - a: b: c");
        }
        other => panic!("{other:?}"),
    }
    policy.inputs[0].kind = "of_tomorrow".to_owned();
    assert!(matches!(compile(&package, &policy, &context()), Err(CompileError::UnknownInput { .. })));
    policy.inputs[0].enabled = false;
    assert!(compile(&package, &policy, &context()).is_ok(), "what is off does not matter");
    policy.inputs[1].streams[0].data_stream.dataset = "acme.none".to_owned();
    assert!(matches!(compile(&package, &policy, &context()), Err(CompileError::UnknownStream { .. })));
}

#[test]
fn texts_that_begin_like_yaml_stay_texts() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    set(&mut policy, 0, Some(0), "paths", json!(["*.log", "&x", "@y", "0123"]));
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert_eq!(compiled.inputs[0]["streams"][0]["paths"], json!(["*.log", "&x", "@y", "0123"]));
}

#[test]
fn a_list_of_secrets_is_told_one_by_one() {
    let package = package("acme");
    let mut policy = PackagePolicy::defaults(&package, "pp-1", "acme-1");
    set(&mut policy, 0, Some(0), "paths", json!({"isSecretRef": true, "ids": ["a", "b"]}));
    let compiled = compile(&package, &policy, &context()).unwrap();
    let paths = &compiled.inputs[0]["streams"][0]["paths"];
    assert_eq!(*paths, json!(["$co.elastic.secret{a}", "$co.elastic.secret{b}"]));
}

#[test]
fn collectors_go_to_the_top_of_the_policy() {
    let package = package("collector");
    let policy = PackagePolicy::defaults(&package, "pp-3", "collector-1");
    let compiled = compile(&package, &policy, &context()).unwrap();
    assert!(compiled.inputs.is_empty());
    insta::assert_snapshot!(pretty(&compiled.otel));
    insta::assert_snapshot!(pretty(&compiled.permissions));
}
