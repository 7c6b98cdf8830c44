//! What is told when the cluster cannot be reached or refuses: the words that scripts know.

use crate::server::Server;
use crate::{fleetctl, fleetctl_with};

async fn told(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    fleetctl_with(&words, &[]).await.to_string()
}

#[tokio::test]
async fn unreachable_endpoints() {
    insta::assert_snapshot!(told("--endpoint unix:///no-such-file/fleet.sock list-machines").await, @r#"
    err| Error retrieving list of active machines from fleet API (Get "http://domain-sock/fleet/v1/machines?alt=json": dial unix /no-such-file/fleet.sock: connect: no such file or directory)
    err| Possible issues:
    err|   etcd is unhealthy and/or lost quorum
    err|   connection cannot be established to any etcd servers
    err| There is no socket /no-such-file/fleet.sock: is fleetd running on this machine? From another one, use --tunnel HOST or --endpoint URL
    exit 1
    "#);
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1 list-units").await, @r#"
    err| Error retrieving list of units from repository: Get "http://127.0.0.1:1/fleet/v1/state?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1 list-unit-files").await, @r#"
    err| Error retrieving list of units from repository: Get "http://127.0.0.1:1/fleet/v1/units?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1 start hello@1.service").await, @r#"
    err| Error creating units: error retrieving Unit(hello@1.service) from Registry: Get "http://127.0.0.1:1/fleet/v1/units/hello%401.service?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1 cat hello").await, @r#"
    err| Error retrieving Unit hello.service: Get "http://127.0.0.1:1/fleet/v1/units/hello.service?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1/base/ stop hello").await, @r#"
    err| Get "http://127.0.0.1:1/base/fleet/v1/units/hello.service?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
}

#[tokio::test]
async fn senseless_settings() {
    for (words, text) in [
        ("--driver foo list-units", "unrecognized driver \"foo\""),
        ("--endpoint foo list-units", "URL scheme undefined"),
        (
            "--endpoint unix://var/run/fleet.sock list-units",
            "unable to connect to host \"var\" with scheme \"unix\"",
        ),
        (
            "--tunnel 127.0.0.1:1 list-units",
            "failed initializing SSH client: SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running, or that there is an unencrypted key in ~/.ssh (id_ed25519, id_ecdsa, id_rsa)",
        ),
        (
            "--request-timeout 0 list-units",
            "--request-timeout must be a number of seconds greater than 0, not 0",
        ),
        (
            "--endpoint https://a --ca-file /no-such-file list-units",
            "cannot read --ca-file /no-such-file: I/O error: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(told(words).await, format!("err| Unable to initialize client: {text}\nexit 1"), "{words}");
    }
}

#[tokio::test]
async fn only_the_first_endpoint_is_used() {
    insta::assert_snapshot!(told("--endpoint http://127.0.0.1:1,http://b:2 list-units").await, @r#"
    err| WARN multiple endpoints provided but only the first (http://127.0.0.1:1) is used
    err| Error retrieving list of units from repository: Get "http://127.0.0.1:1/fleet/v1/state?alt=json": dial tcp 127.0.0.1:1: connect: connection refused
    exit 1
    "#);
}

#[tokio::test]
async fn answers_that_refuse() {
    for (code, body, text) in [
        (
            503,
            r#"{"error":{"code":503,"message":"fleet server unable to communicate with etcd"}}"#,
            "googleapi: Error 503: fleet server unable to communicate with etcd",
        ),
        (
            500,
            r#"{"error":{"code":500,"message":""}}"#,
            r#"googleapi: got HTTP response code 500 with body: {"error":{"code":500,"message":""}}"#,
        ),
        (502, "<html>", "googleapi: got HTTP response code 502 with body: <html>"),
        (200, "{", "Get \"URL/fleet/v1/state?alt=json\": the answer cannot be read: unexpected EOF"),
        (0, "", "Get \"URL/fleet/v1/state?alt=json\": the server closed the connection"),
    ] {
        let body = body.to_owned();
        let server = Server::tcp(move |_| (code, body.clone())).await;
        let run = fleetctl(&["--endpoint", &server.endpoint, "list-units"]).await;
        let text = text.replace("URL", &server.endpoint);
        assert_eq!(run.err, format!("Error retrieving list of units from repository: {text}\n"));
        assert_eq!(run.code, 1);
    }
}

#[tokio::test]
async fn usage_errors() {
    insta::assert_snapshot!(told("list").await, @r#"
    err| Error: unknown command "list" for "fleetctl"
    err| 
    err| Did you mean this?
    err| 	list-machines
    err| 	list-unit-files
    err| 	list-units
    err| 
    err| Run 'fleetctl --help' for usage.
    exit 2
    "#);
    for (words, text) in [
        ("bogus", "unknown command \"bogus\" for \"fleetctl\""),
        ("list-units --bogus", "unknown flag: --bogus"),
        ("list-units -x", "unknown shorthand flag: -x"),
        ("list-units --endpoint", "flag needs an argument: --endpoint"),
        (
            "--request-timeout abc list-units",
            "invalid argument \"abc\" for --request-timeout: invalid float literal",
        ),
        ("list-units --full=maybe", "invalid argument \"maybe\" for --full: expected true or false"),
        ("list-units -o xml", "invalid argument \"xml\" for --output: expected one of json, yaml"),
    ] {
        assert_eq!(
            told(words).await,
            format!("err| Error: {text}\nerr| Run 'fleetctl --help' for usage.\nexit 2"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn nothing_to_do_is_no_error() {
    for command in ["submit", "load", "start", "stop", "unload", "destroy", "restart"] {
        assert_eq!(told(command).await, "err| No units given\nexit 0", "{command}");
    }
}

#[tokio::test]
async fn deprecated_things_say_so() {
    insta::assert_snapshot!(told("verify hello.service").await, @"
    err| WARNING: The signed/verified units feature is DEPRECATED and cannot be used.
    exit 2
    ");
}
