use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::supervisor::Platform;
use crate::unit::UnitKind;

fn specs(extra: &str) -> (TempDir, Specs) {
    let folder = tempfile::tempdir().expect("a directory");
    let spec = format!(
        "version: 2\ninputs:\n  - name: real\n    aliases: [alias]\n    platforms: [linux/amd64]\n    \
         outputs: [elasticsearch]\n    command: {{}}\n{extra}"
    );
    fs::write(folder.path().join("x.spec.yml"), spec).expect("a spec file");
    fs::write(folder.path().join("x"), "").expect("a program");
    let (specs, problems) = load(folder.path());
    assert!(problems.is_empty(), "{problems:?}");
    (folder, specs)
}

fn load(folder: &Path) -> (Specs, Vec<crate::supervisor::SpecError>) {
    Specs::load(folder, Platform::new("linux", "amd64"))
}

fn wanted(inputs: &Value) -> Wanted {
    let outputs = json!({
        "default": {"type": "elasticsearch"},
        "other": {"type": "elasticsearch", "log_level": "error"},
        "off": {"type": "elasticsearch", "enabled": false},
        "kafka": {"type": "kafka"},
    });
    Wanted {
        inputs: inputs.as_array().cloned().expect("a list"),
        outputs: outputs.as_object().cloned().expect("a map"),
        ..Wanted::default()
    }
}

fn keys(component: &Component) -> Vec<String> {
    component.units.iter().map(|unit| unit.key.to_string()).collect()
}

#[test]
fn inputs_of_a_type_and_output_are_one_component() {
    let (_folder, specs) = specs("");
    let components = specs.components(&wanted(&json!([
        {"id": "a", "type": "real"},
        {"id": "b", "type": "alias", "log_level": "debug"},
        {"type": "real", "use_output": "other"},
        {"id": "c", "type": "real", "enabled": false},
        {"id": "d", "type": "real", "use_output": "off"},
    ])));
    let ids: Vec<&str> = components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["real-default", "real-other"]);
    assert_eq!(keys(&components[0]), ["input real-default-a", "input real-default-b", "output real-default"]);
    assert_eq!(keys(&components[1]), ["input real-other-real", "output real-other"]);
    assert_eq!(components[0].units[1].level, LogLevel::Debug);
    assert_eq!(components[1].units[1].level, LogLevel::Error);
    assert!(components.iter().all(|component| component.program.is_ok()));
    let config = components[0].units[1].config.as_ref().expect("a configuration");
    assert_eq!(config.r#type, "real");
}

#[test]
fn isolated_inputs_have_components_of_their_own() {
    let (_folder, specs) = specs("    isolate_units: true\n");
    let components = specs.components(&wanted(&json!([
        {"id": "a", "type": "real"}, {"id": "b", "type": "real"}
    ])));
    let ids: Vec<&str> = components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["real-default-a", "real-default-b"]);
    assert_eq!(keys(&components[0]), ["input real-default-a-unit", "output real-default-a"]);
    let components =
        specs.components(&wanted(&json!([{"id": "a", "type": "real"}, {"id": "a", "type": "real"}])));
    assert!(components[0].program.is_ok());
    assert!(components[1].program.as_ref().is_err_and(|problem| problem.contains("two inputs of the id a")));
}

#[test]
fn a_program_is_called_as_its_spec_file_says() {
    let (_folder, specs) = specs(
        "  - name: named\n    platforms: [linux/amd64]\n    outputs: [elasticsearch]\n    command: {name: other}\n",
    );
    let components =
        specs.components(&wanted(&json!([{"id": "a", "type": "named"}, {"id": "b", "type": "real"}])));
    let names =
        components.iter().filter_map(|component| Some(component.program.as_ref().ok()?.name.as_str()));
    assert_eq!(names.collect::<Vec<_>>(), ["other", "x"]);
}

#[test]
fn what_cannot_be_run_says_why() {
    let (_folder, specs) = specs(
        "  - name: elsewhere\n    platforms: [windows/amd64]\n    outputs: [elasticsearch]\n    command: {}\n  - name: \
         prevented\n    platforms: [linux/amd64]\n    outputs: [elasticsearch]\n    command: {}\n    runtime: {preventions: \
         [{condition: \"${runtime.os} == 'linux'\", message: 'not on Linux'}]}\n",
    );
    for (input, told) in [
        (json!({"id": "a", "type": "unknown"}), "not supported"),
        (json!({"id": "a", "type": "elsewhere"}), "not supported on this platform (linux/amd64)"),
        (json!({"id": "a", "type": "prevented"}), "not on Linux"),
        (json!({"id": "a", "type": "real", "use_output": "kafka"}), "output not supported"),
        (json!({"id": "a", "type": "real", "use_output": "nowhere"}), "nowhere"),
    ] {
        let components = specs.components(&wanted(&json!([input, {"id": "b", "type": "real"}])));
        let problem = components.iter().find_map(|component| component.program.as_ref().err());
        assert!(problem.is_some_and(|problem| problem.contains(told)), "{told}: {problem:?}");
        assert!(components.iter().any(|it| it.id == "real-default" && it.program.is_ok()), "{told}");
    }
}

#[test]
fn a_service_is_one_whatever_its_outputs() {
    let (_folder, specs) = specs(
        "  - name: served\n    platforms: [linux/amd64]\n    outputs: [elasticsearch]\n    service: {cport: 7}\n",
    );
    let components = specs.components(&wanted(&json!([
        {"id": "a", "type": "served"},
        {"id": "b", "type": "served", "use_output": "other"},
        {"id": "a", "type": "served", "use_output": "other"},
        {"id": "c", "type": "real"},
        {"id": "d", "type": "real", "use_output": "other"},
    ])));
    let components = one_of_each(components);
    let ids: Vec<&str> = components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["real-default", "real-other", "served"]);
    let service = &components[2];
    assert!(
        service
            .program
            .as_ref()
            .is_ok_and(|program| matches!(&program.run, Run::Service(it) if it.cport == 7))
    );
    let refused =
        |unit: &Unit| unit.config.as_ref().is_err_and(|problem| problem.contains("one output, default"));
    let units: Vec<(String, bool)> =
        service.units.iter().map(|unit| (unit.key.to_string(), refused(unit))).collect();
    let units: Vec<(&str, bool)> =
        units.iter().map(|(key, is_refused)| (key.as_str(), *is_refused)).collect();
    assert_eq!(
        units,
        [
            ("input served-a", false),
            ("output served", false),
            ("input served-b", true),
            ("input served-a (2)", true),
        ]
    );
}

#[test]
fn two_inputs_of_one_id_are_told_apart() {
    let (_folder, specs) = specs("");
    let components =
        specs.components(&wanted(&json!([{"id": "a", "type": "real"}, {"id": "a", "type": "real"}])));
    let units = &components[0].units;
    assert!(units[0].config.is_ok());
    assert!(units[1].config.as_ref().is_err_and(|problem| problem.contains("two inputs of the id a")));
    assert_eq!(units[2].key.kind, UnitKind::Output);
}

#[test]
fn what_is_no_input_is_left_out() {
    let (_folder, specs) = specs("");
    let components = specs.components(&wanted(&json!([null, 3, "x", {}, {"type": 7}])));
    assert!(components.iter().all(|component| component.program.is_err()));
}
