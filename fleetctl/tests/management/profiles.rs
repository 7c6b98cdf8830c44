//! Signing in, and servers that have a name.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::User;
use crate::api::{Api, refused};
use crate::http::{Answer, Server};

/// A server that `admin` can sign in at with the password `right`.
async fn server() -> Server {
    let api = Api::default();
    api.add("outputs", json!({"id": "o1", "name": "Own"}));
    api.hook(|_, request| {
        if request.path == "/api/status" {
            return None;
        }
        let known = ["Basic YWRtaW46cmlnaHQ=", "ApiKey b3duOmtleQ=="];
        if !request.header("authorization").is_some_and(|given| known.contains(&given)) {
            return Some(refused(401, "unauthorized"));
        }
        let answer = match request.path.trim_start_matches("/api/fleet/") {
            "agents/setup" => json!({"isReady": true}),
            "api_keys" => json!({"item": {"id": "own"}, "api_key": "b3duOmtleQ=="}),
            _ => return None,
        };
        Some(Answer::json(200, &answer))
    });
    api.serve().await
}

#[tokio::test]
async fn who_has_signed_in_need_not_say_it_again() {
    let server = server().await;
    let user = User::new();
    let wrong = user.file("wrong", "wrong\n");
    let run = user.run(&["login", &server.url, "--password-file", &wrong]).await;
    assert!(run.code == 1 && run.err.starts_with("unauthorized"), "{run}");
    let file = user.home.path().join(".config/fleet/profiles.yaml");
    assert!(!file.exists(), "nothing is kept that is wrong");
    let right = user.file("right", "right\n");
    let run = user.run(&["login", &server.url, "--password-file", &right]).await;
    assert_eq!(
        run.out,
        format!("Signed in at {} (version 9.6.0): profile 127.0.0.1 in {}\n", server.url, file.display())
    );
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let run = user.run(&["output", "list", "-o", "id"]).await;
    assert_eq!((run.out.as_str(), run.code), ("o1\n", 0), "{run}");
    // The password is for that server alone.
    let run = user.run(&["output", "list", "--server", &server.url]).await;
    assert_eq!(run.code, 1, "{run}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = user.run(&["output", "list"]).await;
    assert!(run.code == 1 && run.err.contains(&format!("chmod 600 {}", file.display())), "{run}");
}

#[tokio::test]
async fn a_key_can_be_kept_instead_of_the_password() {
    let server = server().await;
    let user = User::new().with("FLEET_PASSWORD", "right");
    let run = user.run(&["login", &server.url, "--name", "lab", "--create-api-key"]).await;
    assert_eq!(run.code, 0, "{run}");
    let text = std::fs::read_to_string(user.home.path().join(".config/fleet/profiles.yaml")).unwrap();
    assert!(text.contains("api_key: \"b3duOmtleQ==\"") || text.contains("api_key: b3duOmtleQ=="), "{text}");
    assert!(!text.contains("right"), "{text}");
    let key = server.requests().into_iter().find(|request| request.path.ends_with("/api_keys")).unwrap();
    assert_eq!(key.json(), json!({"name": "fleetctl of admin"}));
}

#[tokio::test]
async fn profiles_are_added_used_and_removed() {
    let server = server().await;
    let user = User::new();
    let key = user.file("key", "b3duOmtleQ==\n");
    let password = user.file("password", "right");
    for words in [
        &["profile", "add", "other", "--url", "http://127.0.0.1:9"][..],
        &["profile", "add", "own", "--url", &server.url, "--api-key-file", &key],
        &["profile", "add", "person", "--url", &server.url, "--user", "admin", "--password-file", &password],
        &["profile", "use", "own"],
    ] {
        let run = user.run(words).await;
        assert_eq!((run.err.as_str(), run.code), ("", 0), "{words:?}");
    }
    let list = user.run(&["profile", "list"]).await.out;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["NAME", "SERVER", "SIGNS", "IN", "AS"],
            vec!["other", "http://127.0.0.1:9", "-"],
            vec!["*", "own", &server.url, "API", "key"],
            vec!["person", &server.url, "admin"],
        ]
    );
    for words in [&["output", "list"][..], &["output", "list", "--profile", "person"]] {
        assert_eq!(user.run(words).await.code, 0, "{words:?}");
    }
    assert!(user.run(&["output", "list", "--profile", "other"]).await.err.contains("connection refused"));
    assert_eq!(user.run(&["profile", "remove", "own"]).await.code, 0);
    let run = user.run(&["output", "list"]).await;
    assert!(run.code == 1 && run.err.contains("no server is named"), "{run}");
    let run = user.run(&["profile", "use", "own"]).await;
    assert!(run.code == 1 && run.err.contains("there is no profile \"own\""), "{run}");
    assert_eq!(user.run(&["profile", "add", "a b", "--url", "http://x"]).await.code, 2);
}

#[tokio::test]
async fn nouns_have_help_without_a_server() {
    let user = User::new();
    for noun in [
        "agent",
        "policy",
        "integration",
        "package",
        "output",
        "host",
        "proxy",
        "download-source",
        "enroll-key",
        "service-token",
        "action",
        "user",
        "api-key",
        "audit",
        "profile",
    ] {
        let run = user.run(&[noun]).await;
        assert_eq!((run.err.as_str(), run.code), ("", 0), "{noun}");
        assert_eq!(run, user.run(&["help", noun]).await, "{noun}");
        let run = user.run(&["help", noun, "list"]).await;
        assert_eq!((run.err.as_str(), run.code), ("", 0), "{noun}");
        assert!(
            !run.out.contains("--etcd") && !run.out.contains("--ssh"),
            "options of units are left out: {}",
            run.out
        );
        assert_eq!(run, user.run(&[noun, "list", "--help"]).await, "{noun}");
    }
    assert_eq!(user.run(&["agent", "reassign", "--help"]).await.code, 0, "even if words are missing");
    assert_eq!(user.run(&["agent", "bogus"]).await.code, 2);
}
