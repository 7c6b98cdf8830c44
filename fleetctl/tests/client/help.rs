//! Help, version, completions and manual pages.

use std::process::Stdio;

use crate::{fleetctl, fleetctl_with};

const COMMANDS: [&str; 19] = [
    "cat",
    "completion",
    "destroy",
    "explain",
    "fd-forward",
    "help",
    "journal",
    "list-machines",
    "list-unit-files",
    "list-units",
    "load",
    "restart",
    "ssh",
    "start",
    "status",
    "stop",
    "submit",
    "unload",
    "version",
];

#[tokio::test]
async fn help_of_the_program() {
    let help = fleetctl(&["help"]).await;
    insta::assert_snapshot!(help);
    for words in [&["--help"][..], &["-h"], &["--h"], &[]] {
        assert_eq!(fleetctl(words).await, help, "{words:?}");
    }
    assert!(help.out.contains(env!("CARGO_PKG_VERSION")));
    for command in COMMANDS {
        assert!(help.out.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command}");
    }
}

#[tokio::test]
async fn help_of_each_command() {
    for command in COMMANDS {
        let help = fleetctl(&["help", command]).await;
        let own = help.out.split("Global options:").next().unwrap().to_owned();
        insta::assert_snapshot!(format!("help_{command}"), own);
        assert_eq!(fleetctl(&[command, "--help"]).await, help);
        assert_eq!((help.code, help.err.as_str()), (0, ""));
    }
    assert_eq!(fleetctl(&["help", "list-m"]).await, fleetctl(&["help", "list-machines"]).await);
    let unknown = fleetctl(&["help", "bogus"]).await;
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (2, "Error: unknown command \"bogus\" for \"fleetctl\"\n")
    );
}

#[tokio::test]
async fn version() {
    let version = format!("fleetctl version {}\n", env!("CARGO_PKG_VERSION"));
    for words in [
        &["version"][..],
        &["--version"],
        &["-v"],
        &["--version", "list-units"],
        &["list-units", "--version"],
    ] {
        let run = fleetctl(words).await;
        assert_eq!((run.out.as_str(), run.code), (version.as_str(), 0), "{words:?}");
    }
}

#[tokio::test]
async fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let run = fleetctl(&["completion", shell]).await;
        assert_eq!(run.code, 0);
        for command in COMMANDS {
            assert!(run.out.contains(command), "{shell} {command}");
        }
        assert!(run.out.contains("no-block"), "{shell}");
    }
}

#[tokio::test]
async fn manual_pages_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let run = fleetctl(&["man", directory.path().to_str().unwrap()]).await;
    assert_eq!(run.code, 0, "{run}");
    for command in COMMANDS {
        let page = std::fs::read_to_string(directory.path().join(format!("fleetctl-{command}.1"))).unwrap();
        assert!(page.contains(".TH"), "{command}");
    }
    assert!(std::fs::read_to_string(directory.path().join("fleetctl.1")).unwrap().contains("list\\-units"));
}

#[tokio::test]
async fn variables_are_read() {
    let run = fleetctl_with(&["list-units"], &[("FLEETCTL_ENDPOINT", "http://127.0.0.1:9")]).await;
    assert!(run.err.contains("http://127.0.0.1:9/fleet/v1/state"), "{run}");
    let run = fleetctl_with(&["list-units"], &[("FLEETCTL_SSH_TIMEOUT", "soon")]).await;
    insta::assert_snapshot!(run, @r#"
    err| Error: invalid argument "soon" for --ssh-timeout: invalid float literal (set by the variable FLEETCTL_SSH_TIMEOUT)
    err| Run 'fleetctl --help' for usage.
    exit 2
    "#);
}

/// Runs the program with its standard output there, and returns its exit code and standard error.
async fn write_help_to(out: Stdio) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    let child = command.arg("help").stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error_unless_nobody_wants_it() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let text = "Error writing to standard output: no space left on device\n".to_owned();
    assert_eq!(write_help_to(full.into()).await, (Some(1), text));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(write_help_to(writer.into()).await, (Some(0), String::new()));
}
