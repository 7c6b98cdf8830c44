use tempfile::TempDir;

use super::*;

const GOOD: &str = "
version: 2
component_files: [extra.yml]
inputs:
  - name: greeting
    aliases: [hello]
    description: Greets
    platforms: [linux/amd64]
    outputs: [elasticsearch]
    proxied_actions: [UPGRADE]
    unknown_key: is no mistake
    command:
      args: [--agent-mode]
      env: [{name: A, value: b}]
      timeouts: {checkin: 1m30s, restart: 500ms}
      log: {level_key: severity}
      restart_monitoring_period: 1m
      maximum_restarts_per_period: 2
";

/// A spec file of a service.
fn service(keys: &str) -> String {
    format!(
        "version: 2\ninputs: [{{name: s, platforms: [linux/amd64], outputs: [elasticsearch], service: {{{keys}}}}}]"
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

fn load(files: &[(&str, &str)]) -> (Specs, Vec<String>) {
    let folder = folder(files);
    let (specs, problems) = Specs::load(folder.path(), Platform::new("linux", "amd64"));
    (specs, problems.iter().map(told).collect())
}

fn told(error: &SpecError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn all_keys_are_read() {
    let (specs, problems) = load(&[("x.spec.yml", GOOD), ("x", ""), ("y", "a program without a spec")]);
    assert!(problems.is_empty(), "{problems:?}");
    let Found::Component(spec, index) = specs.find("hello") else { panic!("nothing") };
    let input = &spec.inputs[index];
    assert_eq!((spec.name.as_str(), input.name.as_str()), ("x", "greeting"));
    assert_eq!(spec.files, ["extra.yml"]);
    let command = input.command.as_ref().expect("a command");
    assert_eq!(command.timeouts.checkin.as_secs(), 90);
    assert_eq!(command.timeouts.restart.as_millis(), 500);
    assert_eq!(command.timeouts.stop.as_secs(), 30);
    assert_eq!(command.log.level_key, "severity");
    assert_eq!(command.log.message_key, "message");
    assert_eq!(command.restart_monitoring().map(|it| it.most), Some(2));
    assert!(specs.handles("greeting") && !specs.handles("other"));
}

#[test]
fn a_service_has_operations() {
    let keys = "log: {path: /var/log/s-*.log}, timeouts: {checkin: 5s}, operations: {check: {args: [verify]}, \
        uninstall: {args: [-x], env: [{name: A, value: b}], timeout: 2m, non_fatal_exit_codes: [3]}}";
    let (specs, problems) = load(&[("x.spec.yml", &service(keys)), ("x", "")]);
    assert!(problems.is_empty(), "{problems:?}");
    let Found::Component(spec, index) = specs.find("s") else { panic!("nothing") };
    let service = spec.inputs[index].service.clone().expect("a service");
    assert_eq!((service.socket(), service.cport, service.timeouts.checkin.as_secs()), (".eaci.sock", 0, 5));
    assert_eq!(service.log.path, "/var/log/s-*.log");
    assert_eq!(service.operations.get(Operation::Install), None);
    assert_eq!(
        service.operations.get(Operation::Check).map(|it| it.args.as_slice()),
        Some(&["verify".to_owned()][..])
    );
    let uninstall = service.operations.get(Operation::Uninstall).expect("an operation");
    assert_eq!((uninstall.timeout.as_secs(), uninstall.non_fatal_exit_codes.as_slice()), (120, &[3][..]));
    assert_eq!(uninstall.env[0].value, "b");
    // As it is kept for an agent after this one.
    let kept = serde_json::to_string(uninstall).expect("JSON");
    assert_eq!(serde_json::from_str::<OperationSpec>(&kept).expect("an operation"), *uninstall);
}

#[test]
fn a_broken_file_is_told_and_stops_no_other() {
    let other = GOOD.replace("greeting", "other").replace("hello", "hallo");
    for (broken, told) in [
        ("version: 3\ninputs: []", "version is 3"),
        ("inputs: [", "not valid"),
        ("[]", "not valid"),
        ("version: 2\ninputs: [{name: ''}]", "name is empty"),
        (&GOOD.replace("linux/amd64", "plan9/amd64"), "plan9/amd64"),
        (&GOOD.replace("outputs: [elasticsearch]", "outputs: []"), "outputs is empty"),
        (&GOOD.replace("1m30s", "soon"), "soon"),
        (&GOOD.replace("command:", "other:"), "command is missing"),
        (&GOOD.replace("    command:", "    service: {cport: 1}\n    command:"), "keep one"),
        (&service("cport: 1, csocket: x"), "cport and csocket"),
        (&service("cport: 1}, isolate_units: true, runtime: {"), "isolate_units"),
        (&service("log: {path: relative}"), "log.path"),
        (&service("log: {path: /a*/b}"), "log.path"),
        (&service("operations: {check: {timeout: soon}}"), "soon"),
    ] {
        let (specs, problems) = load(&[("a.spec.yml", broken), ("a", ""), ("b.spec.yml", &other), ("b", "")]);
        assert_eq!(problems.len(), 1, "{broken}: {problems:?}");
        assert!(problems[0].contains(told) && problems[0].contains("a.spec.yml"), "{broken}: {problems:?}");
        assert!(specs.handles("other"), "{broken}");
    }
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let (specs, problems) = load(&[("x.spec.yml", GOOD)]);
    assert!(problems[0].contains("not there"), "{problems:?}");
    assert!(!specs.handles("greeting"));
}

#[test]
fn a_type_is_of_one_component_on_a_platform() {
    let (specs, problems) = load(&[("a.spec.yml", GOOD), ("a", ""), ("b.spec.yml", GOOD), ("b", "")]);
    assert!(problems[0].contains("b.spec.yml") && problems[0].contains("twice"), "{problems:?}");
    let Found::Component(spec, _) = specs.find("greeting") else { panic!("nothing") };
    assert_eq!(spec.name, "a");
    // On another platform it is somebody else's.
    let elsewhere = GOOD.replace("linux/amd64", "windows/amd64");
    let (_, problems) = load(&[("a.spec.yml", GOOD), ("a", ""), ("b.spec.yml", &elsewhere), ("b", "")]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_component_may_be_for_other_platforms() {
    let elsewhere = GOOD.replace("linux/amd64", "container/amd64");
    let (specs, _) = load(&[("a.spec.yml", &elsewhere), ("a", "")]);
    assert!(matches!(specs.find("greeting"), Found::OtherPlatform));
    assert!(specs.handles("greeting"));
    let container = Platform::new("linux", "x86_64").in_container();
    let folder = folder(&[("a.spec.yml", &elsewhere), ("a", "")]);
    let (specs, _) = Specs::load(folder.path(), container);
    assert!(matches!(specs.find("greeting"), Found::Component(..)));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let (_, problems) = Specs::load(Path::new("/nonexistent/folder"), Platform::here());
    assert!(matches!(problems[..], [SpecError::Folder { .. }]));
}

#[test]
fn a_program_that_others_can_write_is_refused() {
    let folder = folder(&[("x", "")]);
    let path = folder.path().join("x");
    let with = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        refuse(&path)
    };
    assert_eq!(with(0o755), None);
    assert!(with(0o775).is_some_and(|reason| reason.contains("chmod go-w")));
    assert!(with(0o644).is_some_and(|reason| reason.contains("chmod u+x")));
    assert!(refuse(&folder.path().join("y")).is_some());
}
