//! Completion of names.

use std::process::Stdio;

use serde_json::json;

use crate::User;
use crate::api::{Api, refused};

fn api() -> Api {
    let api = Api::default();
    for (id, name) in [("web", "Web servers"), ("p-2", "webmail"), ("db", "databases")] {
        api.add("agent_policies", json!({"id": id, "name": name}));
    }
    for path in ["agents/action_status", "users"] {
        api.add(path, json!({"actionId": "act-1", "username": "ada", "id": "x"}));
    }
    api.hook(|_, request| {
        (request.path == "/api/fleet/agents").then(|| {
            crate::http::Answer::json(
                200,
                &json!({"items": [{"id": "a1", "local_metadata": {"host": {"hostname": "web-1"}}}], "total": 1}),
            )
        })
    });
    api
}

#[tokio::test]
async fn names_come_from_the_server() {
    let server = api().serve().await;
    let user = User::of(&server);
    for (words, expected) in [
        (&["policy", "show", ""][..], "databases\ndb\np-2\nweb\nwebmail\n"),
        (&["policy", "show", "web"], "web\nwebmail\n"),
        (&["--debug=false", "policy", "--request-timeout", "5", "delete", "db", "w"], "web\nwebmail\n"),
        (&["agent", "list", "--policy", "d"], "databases\ndb\n"),
        (&["agent", "list", "--status", "o"], "offline\nonline\n"),
        (&["agent", "tag", "web"], "web-1\n"),
        (&["agent", "watch", ""], "act-1\n"),
        (&["action", "cancel", "a"], "act-1\n"),
        (&["user", "edit", ""], "ada\n"),
        (&["policy", "list", ""], ""),
        (&["policy", "show", "--"], ""),
        (&["list-units", ""], ""),
        (&["policy"], ""),
        (&["nonsense", "--x", ""], ""),
    ] {
        let run = user.run(&[&["__complete", "--"], words].concat()).await;
        assert_eq!((run.out.as_str(), run.err.as_str(), run.code), (expected, "", 0), "{words:?}");
    }
    let kuery = server.requests().into_iter().find(|request| request.path.ends_with("/agents")).unwrap();
    assert_eq!(kuery.parameter("kuery"), Some("local_metadata.host.hostname:web* or id:web*"));
}

#[tokio::test]
async fn the_server_that_the_line_names_is_asked() {
    let server = api().serve().await;
    let user = User::new();
    let run = user.run(&["__complete", "--", "policy", "--server", &server.url, "show", "d"]).await;
    assert_eq!(run.out, "databases\ndb\n");
    user.run(&["profile", "add", "lab", "--url", &server.url]).await;
    assert_eq!(user.run(&["__complete", "--", "policy", "list", "--profile", ""]).await.out, "lab\n");
    assert_eq!(user.run(&["__complete", "--", "profile", "use", "l"]).await.out, "lab\n");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_not_told() {
    let api = api();
    api.next((0..9).map(|_| refused(429, "busy")));
    let server = api.serve().await;
    for user in [User::new(), User::of(&server)] {
        let run = user.run(&["__complete", "--", "policy", "show", ""]).await;
        assert_eq!((run.out.as_str(), run.err.as_str(), run.code), ("", "", 0));
    }
}

/// What bash makes of the script.
#[tokio::test]
async fn bash_completes_names_and_verbs() {
    let server = api().serve().await;
    let user = User::new();
    let script = user.file("completion.bash", &user.run(&["completion", "bash"]).await.out);
    let complete = |line: &'static str| {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source {script}; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _fleetctl_with_names fleetctl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" ")
        );
        let mut bash = tokio::process::Command::new("bash");
        let programs =
            std::path::Path::new(env!("CARGO_BIN_EXE_fleetctl")).parent().unwrap().display().to_string();
        bash.arg("-c").arg(script).env_clear().env("PATH", format!("{programs}:/usr/bin:/bin"));
        bash.env("HOME", user.home.path()).env("FLEET_SERVER_URL", &server.url).stderr(Stdio::inherit());
        async move { String::from_utf8(bash.output().await.unwrap().stdout).unwrap() }
    };
    let found = complete("fleetctl policy show web").await;
    assert_eq!(found.lines().filter(|line| line.starts_with("web")).collect::<Vec<_>>(), ["web", "webmail"]);
    assert!(complete("fleetctl policy ro").await.lines().any(|line| line == "rollback"));
    assert!(complete("fleetctl list-u").await.lines().any(|line| line == "list-units"));
}
