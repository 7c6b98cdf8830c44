//! Arguments, configuration, and exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Runs fleetd with nothing of our own environment.
fn fleetd(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn outcome(code: i32, out: &str, err: &str) -> (Option<i32>, String, String) {
    (Some(code), out.to_owned(), err.to_owned())
}

/// A configuration file of this text.
fn file(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.conf");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

#[test]
fn version_and_help_are_told() {
    let version = format!("fleetd version {}\n", env!("CARGO_PKG_VERSION"));
    for argument in ["version", "-version", "--version"] {
        assert_eq!(fleetd(&[argument], &[]), outcome(0, &version, ""), "{argument}");
    }
    for argument in ["-h", "-help", "--help"] {
        let (code, out, err) = fleetd(&[argument], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{argument}");
        assert!(out.starts_with("Usage: fleetd [--config PATH]"), "{out}");
    }
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let not_us = "fleetd takes no arguments. Did you mean to invoke fleetctl instead?\n";
    for (arguments, code, text) in [
        (&["list-units"][..], 1, not_us),
        (&["--check-config", "start"], 1, not_us),
        (&[""], 1, not_us),
        (&["--nope"], 2, "flag provided but not defined: --nope\n"),
        (&["-config"], 2, "flag needs an argument: -config\n"),
        (&["--config=/x", "--check-config", "--verbose"], 2, "flag provided but not defined: --verbose\n"),
    ] {
        assert_eq!(fleetd(arguments, &[]), outcome(code, "", text), "{arguments:?}");
    }
}

#[test]
fn a_good_configuration_is_called_so() {
    let (_directory, path) = file("verbosity = 1\netcd_servers = [\"http://a:2379\", \"http://b:2379\"]\n");
    let fine = outcome(0, "the configuration is fine\n", "");
    assert_eq!(fleetd(&["--check-config", "--config", &path], &[]), fine);
    assert_eq!(fleetd(&["-check-config", &format!("-config={path}")], &[("FLEET_AGENT_TTL", "1m")]), fine);
}

#[test]
fn what_has_no_effect_is_told_and_is_no_mistake() {
    let (_directory, path) = file("verify_units = true\nagent_tll = 30s\n");
    let (code, out, err) = fleetd(&["--check-config", "--config", &path], &[]);
    assert_eq!((code, out.as_str()), (Some(0), "the configuration is fine\n"));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines.iter().all(|line| line.starts_with("warning: ")), "{err}");
    assert!(err.contains("verify_units") && err.contains("agent_tll") && err.contains("agent_ttl"), "{err}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let (_directory, path) = file("verbosity = abc\nagent_ttl = 30\nno line\n");
    let environment = [("FLEET_TOKEN_LIMIT", "0")];
    let (code, out, err) = fleetd(&["--check-config", "--config", &path], &environment);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for part in ["verbosity", "abc", "agent_ttl", "30", "FLEET_TOKEN_LIMIT", path.as_str()] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(err.lines().count(), 4, "{err}");
    // To run with it says the same, and does not run.
    let (code, out, log) = fleetd(&["--config", &path], &environment);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for line in err.lines() {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let text = "Unable to use config file /nope: ";
    let (code, _, err) = fleetd(&["--check-config", "--config", "/nope"], &[]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with(text) && err.ends_with("check the path given by --config\n"), "{err}");
    let (code, _, err) = fleetd(&["--config=/nope"], &[]);
    assert_eq!(code, Some(1));
    assert!(err.contains(text), "{err}");
    // A directory cannot be read either.
    assert_eq!(fleetd(&["--check-config", "--config", "/"], &[]).0, Some(1));
    // Bytes that are no text are a mistake as well.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.conf");
    std::fs::write(&path, b"verbosity=\xff\n").unwrap();
    assert_eq!(fleetd(&["--check-config", "--config", path.to_str().unwrap()], &[]).0, Some(1));
}

#[test]
fn without_systemd_it_says_so_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let nobody = format!("unix:path={}", path("nobody"));
    let (code, out, err) = fleetd(
        &[],
        &[
            ("FLEET_UNITS_DIRECTORY", &path("run/units")),
            ("FLEET_SYSTEMD_USER", "true"),
            ("FLEET_STORE", "embedded"),
            ("FLEET_STORE_PATH", &path("store")),
            ("DBUS_SESSION_BUS_ADDRESS", &nobody),
            ("XDG_RUNTIME_DIR", &path("run")),
        ],
    );
    assert_eq!((code, out.as_str()), (Some(1), ""));
    for part in ["systemd cannot be used", "systemd is out of reach", &path("nobody")] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!Path::new(&path("store")).exists(), "nothing else was begun");
}
