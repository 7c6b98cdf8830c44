//! Folders of files: applied, checked, pruned, exported.

use std::path::Path;

use serde_json::json;

use crate::User;
use crate::api::{Api, refused};
use crate::http::Server;

fn api() -> Api {
    let api = Api::default();
    for path in [
        "agent_policies",
        "package_policies",
        "outputs",
        "fleet_server_hosts",
        "proxies",
        "agent_download_sources",
    ] {
        api.add(
            path,
            json!({"id": format!("{path}-default"), "name": "Default", "revision": 1, "updated_by": "fleet"}),
        );
    }
    api
}

const FILES: [(&str, &str); 3] = [
    (
        "policies/web.yaml",
        "kind: AgentPolicy\nid: web\nspec:\n  name: Web servers\n  namespace: default\n---\nkind: PackagePolicy\nid: \
         nginx\nspec:\n  name: nginx\n  policy_ids: [web]\n  package: {name: nginx, version: 1.0.0}\n",
    ),
    (
        "es.yaml",
        "kind: Output\nid: es\nspec:\n  name: Data\n  type: elasticsearch\n  hosts: [https://es:9200]\n",
    ),
    (
        "proxy.json",
        "{\"kind\": \"Proxy\", \"id\": \"out\", \"spec\": {\"name\": \"Out\", \"url\": \"http://p:3128\"}}",
    ),
];

/// A user with a folder of files.
fn user_of(server: &Server) -> (User, String) {
    let user = User::of(server);
    let folder = user.home.path().join("fleet");
    std::fs::create_dir_all(folder.join("policies")).unwrap();
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let folder = folder.display().to_string();
    (user, folder)
}

fn read(folder: &str, name: &str) -> String {
    std::fs::read_to_string(Path::new(folder).join(name)).unwrap()
}

#[tokio::test]
async fn what_is_planned_is_done_and_nothing_is_left_to_do() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    let run = user.run(&["apply", "-f", &folder, "--dry-run"]).await;
    insta::assert_snapshot!(run.to_string().replace(&folder, "DIR"), @r"
    + Proxy/out  (DIR/proxy.json:1)
    + Output/es  (DIR/es.yaml:1)
    + AgentPolicy/web  (DIR/policies/web.yaml:1)
    + PackagePolicy/nginx  (DIR/policies/web.yaml:7)
    4 to create, 0 to change, 0 to delete, 0 unchanged
    exit 0
    ");
    assert_eq!(user.run(&["apply", "-f", &folder, "--check"]).await.code, 2);
    let run = user.run(&["apply", "-f", &folder]).await;
    assert!(run.code == 1 && run.err.contains("say so with --yes"), "{run}");
    assert!(server.log().iter().all(|line| line.starts_with("GET")), "{:?}", server.log());
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert!(run.code == 0 && run.out.ends_with("Applied 4 steps\n"), "{run}");
    assert_eq!(api.object("agent_policies", "web").unwrap()["name"], "Web servers");
    let writes = |line: &&String| !line.starts_with("GET");
    let log = server.log();
    assert_eq!(
        log.iter().filter(writes).collect::<Vec<_>>(),
        ["POST proxies", "POST outputs", "POST agent_policies", "POST package_policies?format=simplified"]
    );
    for words in [&["apply", "-f", &folder, "--yes"][..], &["apply", "-f", &folder, "--check"]] {
        let run = user.run(words).await;
        assert_eq!((run.out.as_str(), run.code), ("No changes: 4 objects as the files say\n", 0), "{run}");
    }
    assert_eq!(server.log().iter().filter(writes).count(), 4);
}

#[tokio::test]
async fn drift_is_seen_and_put_right() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    user.run(&["apply", "-f", &folder, "--yes"]).await;
    api.change("outputs", "es", |output| {
        output["hosts"] = json!(["https://other:9200"]);
        output["preset"] = "latency".into();
        output["revision"] = 2.into();
    });
    let run = user.run(&["apply", "-f", &folder, "--check"]).await;
    insta::assert_snapshot!(run.to_string().replace(&folder, "DIR"), @r#"
    ~ Output/es  (DIR/es.yaml:1)
        ~ /hosts: ["https://other:9200"] -> ["https://es:9200"]
    0 to create, 1 to change, 0 to delete, 3 unchanged
    exit 2
    "#);
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert_eq!(run.code, 0, "{run}");
    let output = api.object("outputs", "es").unwrap();
    assert_eq!((&output["hosts"], &output["preset"]), (&json!(["https://es:9200"]), &json!("latency")));
    assert_eq!(user.run(&["apply", "-f", &folder, "--check"]).await.code, 0);
}

#[tokio::test]
async fn only_what_was_created_here_is_pruned() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    // It was there before: it is not ours to delete.
    api.add("proxies", json!({"id": "out", "name": "Out", "url": "http://p:3128", "revision": 1}));
    user.run(&["apply", "-f", &folder, "--yes"]).await;
    let lock = read(&folder, "fleet.lock.yaml");
    assert!(
        lock.contains(&format!(
            "{}:\n  - Output/es\n  - AgentPolicy/web\n  - PackagePolicy/nginx\n",
            server.url
        )),
        "{lock}"
    );
    for name in ["policies/web.yaml", "proxy.json"] {
        std::fs::remove_file(Path::new(&folder).join(name)).unwrap();
    }
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert_eq!(run.out, "No changes: 1 object as the files say\n", "without --prune nothing is deleted");
    let run = user.run(&["apply", "-f", &folder, "--prune", "--yes"]).await;
    insta::assert_snapshot!(run, @r"
    - PackagePolicy/nginx
    - AgentPolicy/web
    0 to create, 0 to change, 2 to delete, 1 unchanged
    Applied 2 steps
    exit 0
    ");
    assert!(api.object("agent_policies", "web").is_none() && api.object("proxies", "out").is_some());
    assert!(!read(&folder, "fleet.lock.yaml").contains("web"));
    let run = user.run(&["apply", "-f", &format!("{folder}/es.yaml"), "--prune"]).await;
    assert!(run.code == 2 && run.err.contains("--prune needs one directory"), "{run}");
}

#[tokio::test]
async fn an_apply_that_stops_half_way_goes_on_from_there() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    api.hook(|_, request| {
        (request.method == "POST" && request.path.ends_with("/agent_policies"))
            .then(|| refused(400, "[request body.name]: it is taken"))
    });
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.err, "AgentPolicy/web: name: it is taken\nDone before: 2 of 4 steps\n");
    let lock = read(&folder, "fleet.lock.yaml");
    assert!(lock.contains("Output/es") && !lock.contains("AgentPolicy/web"), "{lock}");
    api.hook(|_, _| None);
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert!(run.code == 0 && run.out.contains("2 to create, 0 to change, 0 to delete, 2 unchanged"), "{run}");
}

/// Policies have revisions that the server compares; of outputs only we can see that they are others.
#[tokio::test]
async fn who_changes_an_object_meanwhile_is_not_overwritten() {
    for (path, id, file, text) in
        [("outputs", "es", "es.yaml", FILES[1].1), ("agent_policies", "web", "policies/web.yaml", FILES[0].1)]
    {
        let api = api();
        let server = api.serve().await;
        let (user, folder) = user_of(&server);
        user.run(&["apply", "-f", &folder, "--yes"]).await;
        std::fs::write(
            Path::new(&folder).join(file),
            text.replace("name: Data", "name: New").replace("name: Web", "name: New"),
        )
        .unwrap();
        let mut reads = 0;
        api.hook(move |api, request| {
            reads += usize::from(request.path.ends_with(&format!("{path}/{id}")));
            if reads == 2 {
                reads += 1;
                api.change(path, id, |object| {
                    object["description"] = "theirs".into();
                    object["revision"] = 9.into();
                });
            }
            None
        });
        let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
        assert!(run.code == 1 && run.err.contains("It was changed while this ran"), "{run}");
        let object = api.object(path, id).unwrap();
        assert!(
            object["description"] == "theirs" && !object["name"].as_str().unwrap().starts_with("New"),
            "{object}"
        );
    }
}

#[tokio::test]
async fn a_server_that_keeps_something_else_is_told_of() {
    let api = api();
    api.hook(|_, request| {
        (request.method == "POST" && request.path.ends_with("/proxies")).then(|| {
            crate::http::Answer::json(
                200,
                &json!({"item": {"id": "out", "name": "OUT", "url": "http://p:3128"}}),
            )
        })
    });
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert!(
        run.err.contains("proxy.json:1: the server keeps this otherwise")
            && run.err.contains("\"OUT\" -> \"Out\""),
        "{run}"
    );
}

#[tokio::test]
async fn mistakes_in_files_are_told_before_anything_is_asked() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    std::fs::write(
        Path::new(&folder).join("bad.yaml"),
        "kind: Outputs\nid: x\nspec: {}\n---\nkind: Output\n",
    )
    .unwrap();
    let run = user.run(&["apply", "-f", &folder, "--yes"]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("bad.yaml:1: kind: \"Outputs\" is none")
            && run.err.contains("bad.yaml:5: id: it is missing"),
        "{run}"
    );
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn the_round_trip_is_the_same_to_the_byte() {
    let api = api();
    api.change("package_policies", "package_policies-default", |policy| {
        policy["inputs"] = json!({"system-logfile": {"enabled": true, "vars": {"password":
            {"id": "s1", "isSecretRef": true}}, "streams": {"system.auth": {"vars": {"paths": ["/var/log/auth.log*"],
            "processors": "- drop_event:\n    when: x\n"}}}}});
        policy["package"] = json!({"name": "system", "title": "System", "version": "1.2.3"});
        policy["policy_ids"] = json!(["agent_policies-default"]);
    });
    let server = api.serve().await;
    let user = User::of(&server);
    let folder = user.home.path().join("exported").display().to_string();
    let run = user.run(&["export", "-d", &folder]).await;
    assert_eq!(run.out, format!("Wrote 6 files below {folder}; 0 unchanged\n"));
    assert_eq!(run.err, "1 secret exported as a reference: no other server knows it\n");
    insta::assert_snapshot!(read(&folder, "package-policies/package_policies-default.yaml"), @r#"
    kind: PackagePolicy
    id: package_policies-default
    spec:
      inputs:
        system-logfile:
          enabled: true
          streams:
            system.auth:
              vars:
                paths:
                  - /var/log/auth.log*
                processors: |
                  - drop_event:
                      when: x
          vars:
            password:
              id: s1
              isSecretRef: true
      name: Default
      package:
        name: system
        version: "1.2.3"
      policy_ids:
        - agent_policies-default
    "#);
    let run = user.run(&["apply", "-f", &folder, "--check"]).await;
    assert_eq!((run.out.as_str(), run.code), ("No changes: 6 objects as the files say\n", 0), "{run}");
    let run = user.run(&["export", "-d", &folder]).await;
    assert_eq!(run.out, format!("Wrote 0 files below {folder}; 6 unchanged\n"));

    // Everything that is printed can be applied to an empty server, which then prints the same.
    let text = user.run(&["export"]).await.out;
    let file = user.file("all.yaml", &text);
    let other = Api::default();
    for path in [
        "agent_policies",
        "package_policies",
        "outputs",
        "fleet_server_hosts",
        "proxies",
        "agent_download_sources",
    ] {
        other.add(path, json!({"id": "x"}));
    }
    let other = other.serve().await;
    let user = User::of(&other);
    let run = user.run(&["apply", "-f", &file, "--yes"]).await;
    assert!(run.code == 0 && run.out.ends_with("Applied 6 steps\n"), "{run}");
    let again = user.run(&["export"]).await.out;
    for document in text.split("---\n") {
        assert!(again.contains(document), "{document}");
    }
    assert_eq!(user.run(&["export", "--kind", "Outputs"]).await.code, 2);
}

#[tokio::test]
async fn an_object_that_another_file_describes_is_not_exported_twice() {
    let api = api();
    let server = api.serve().await;
    let (user, folder) = user_of(&server);
    user.run(&["apply", "-f", &folder, "--yes"]).await;
    let run = user.run(&["export", "-d", &folder, "--kind", "Output"]).await;
    assert_eq!(run.out, format!("Wrote 1 file below {folder}; 0 unchanged\n"));
    assert!(run.err.contains("Output/es is described in"), "{run}");
    assert_eq!(user.run(&["apply", "-f", &folder, "--check"]).await.code, 0);
}
