//! The program itself: `check-config`, the version, and what is refused.

use std::path::Path;
use std::process::{Command, Output};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fleet-server"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("GOMEMLIMIT", "1GiB")
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error, as they are compared.
fn shown(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit code {}\n--- stdout\n{out}--- stderr\n{err}", output.status.code().unwrap())
}

#[test]
fn every_mistake_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
output:
  elasticsearch:
    hosts: ['${ELASTICSEARCH_HOSTS:https://localhost:9200}']
    service_token: '${ELASTICSEARCH_SERVICE_TOKEN}'
    password: hidden
  logstash.hosts: [a]
inputs:
  - type: fleet-server
    server:
      port: 70000
      timeouts: {read: '5', write: 5d, idle: -1}
      limits.max_agent: 100
      ssl:
        certificate: /none/cert.pem
        supported_protocols: [TLSv1.0]
      pdkdf2.iterations: 10
cache: {ttl_action: 5m}
logging: {level: loud, files.keepfiles: 5000}
http.enable: true
";
    std::fs::write(directory.path().join("fleet-server.yml"), text).unwrap();
    let output = run(directory.path(), &["check-config", "-E", "management.port=x", "-E", "inptus.0.type=x"]);
    insta::assert_snapshot!("mistakes", shown(&output));
    assert!(!shown(&output).contains("hidden"));
    // The same is what a start tells, and it does not start.
    let started = run(directory.path(), &["-E", "management.port=x", "-E", "inptus.0.type=x"]);
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.rsplit_once("12 mistakes").unwrap().0, String::from_utf8_lossy(&started.stderr));
}

#[test]
fn a_good_configuration_is_summed_up() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["check-config"]);
    insta::assert_snapshot!("defaults", shown(&output));
    let text = "store: etcd\nstore.etcd.endpoints: [https://a:2379, https://b:2379]\ncolour: red\nhttp.enabled: true\n\
                inputs:\n- server: {host: '::', port: 443, ssl.enabled: false, limits.max_agents: 5000}\n";
    std::fs::write(directory.path().join("other.yml"), text).unwrap();
    let output = run(directory.path(), &["check-config", "--config", "other.yml", "--E", "data_dir=/data"]);
    insta::assert_snapshot!("etcd", shown(&output));
}

#[test]
fn what_is_refused_has_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("no_file", vec!["-c", "none.yml"]),
        ("agent_mode", vec!["--agent-mode"]),
        ("unknown_flag", vec!["--nope"]),
        ("stray", vec!["serve"]),
    ] {
        let output = run(directory.path(), &arguments);
        insta::assert_snapshot!(name, shown(&output));
    }
}

#[test]
fn flags_may_stand_on_both_sides_of_the_verb() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.yml", "b.yml"] {
        std::fs::write(directory.path().join(name), format!("store.path: /{name}")).unwrap();
    }
    let before = ["-c", "a.yml", "-E", "management.port=7", "-E", "data_dir=/x", "check-config"];
    let behind = ["--E=data_dir=/y", "-E", "http.enabled", "-c=b.yml"];
    let output = run(directory.path(), &[before.as_slice(), behind.as_slice()].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in ["127.0.0.1:7,", "localhost:5066", "/y\n", "/b.yml"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn version_and_help() {
    let directory = tempfile::tempdir().unwrap();
    for flag in ["-v", "--version"] {
        let output = run(directory.path(), &[flag]);
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = format!(
            "fleet-server version 9.6.0 [fleet {}] (FIPS-distribution: false)\n",
            fleet_server::VERSION
        );
        assert_eq!(line, expected);
    }
    insta::assert_snapshot!("help", shown(&run(directory.path(), &["--help"])));
}
