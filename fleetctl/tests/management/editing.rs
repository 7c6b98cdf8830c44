//! Changing objects, and others who change them at the same time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::User;
use crate::api::{Api, refused};

fn api() -> Api {
    let api = Api::default();
    api.add(
        "agent_policies",
        json!({"id": "web", "name": "Web", "namespace": "default", "description": "old", "revision": 7,
            "agents": 3, "updated_by": "ada", "updated_at": "2026-11-22T08:00:00Z"}),
    );
    api
}

/// What lies in the user's home besides what the test put there.
fn texts(user: &User) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(user.home.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && entry.file_name().unwrap().to_string_lossy().starts_with("fleetctl-policy-") {
            found.extend(std::fs::read_dir(entry).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn fields_are_set_without_an_editor() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    let run =
        user.run(&["policy", "edit", "Web", "--set", "name=Web servers", "--set", "description="]).await;
    assert_eq!((run.out.as_str(), run.code), ("Changed agent policy web (Web servers)\n", 0), "{run}");
    let saved = server.requests().pop().unwrap().json();
    assert_eq!(
        saved,
        json!({"name": "Web servers", "namespace": "default", "description": null, "revision": 7}),
        "the fields as they shall be, and the revision that they are a change of"
    );
    let run = user.run(&["policy", "edit", "web", "--set", "name=Web servers"]).await;
    assert_eq!((run.out.as_str(), run.code), ("No change of agent policy web (Web servers)\n", 0));
    let file = user.file("web.yaml", "id: web\nname: From a file\nnamespace: default\nagents: 9\n");
    let run = user.run(&["policy", "edit", "web", "-f", &file]).await;
    assert_eq!(run.out, "Changed agent policy web (From a file)\n");
    assert_eq!(api.object("agent_policies", "web").unwrap()["agents"], 3);
}

#[tokio::test]
async fn an_editor_gets_the_fields_as_yaml() {
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server).with("EDITOR", "sed -i -e 's/name: Web/name: Edited/' -e '/^description/d'");
    let run = user.run(&["policy", "edit", "web"]).await;
    assert_eq!((run.out.as_str(), run.code), ("Changed agent policy web (Edited)\n", 0), "{run}");
    let policy = api.object("agent_policies", "web").unwrap();
    assert!(policy.get("description").is_none(), "a field that is taken away is reset: {policy}");
    assert_eq!(texts(&user), Vec::<PathBuf>::new(), "nothing is left over");

    let seen = user.home.path().join("seen");
    let user = user.with("EDITOR", &format!("cp -p -t {} ", seen.parent().unwrap().display()));
    let run = user.run(&["policy", "edit", "web"]).await;
    assert_eq!(run.out, "No change of agent policy web (Edited)\n");
    let copy = user.home.path().join("edit.yaml");
    insta::assert_snapshot!(text(&copy), @r"
    # agent policy web (Edited)
    # Lines with # at their beginning are not read. A field that is taken away is reset.
    name: Edited
    namespace: default
    ");
    assert_eq!(std::fs::metadata(copy).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_text_that_cannot_be_saved_is_kept() {
    let api = api();
    let server = api.serve().await;
    for (editor, words) in [
        ("sed -i 's/name: Web/name: [/'", "this is not YAML"),
        ("false", "The editor false ended with exit status: 1"),
    ] {
        let user = User::of(&server).with("EDITOR", editor);
        let run = user.run(&["policy", "edit", "web"]).await;
        assert!(run.code == 1 && run.err.contains(words), "{run}");
        let kept = texts(&user);
        assert!(kept.len() == 1 && run.err.contains(&kept[0].display().to_string()), "{run}");
    }
    api.hook(|_, request| {
        (request.method == "PUT").then(|| refused(400, "[request body.name]: it is taken"))
    });
    let user = User::of(&server).with("EDITOR", "sed -i 's/name: Web/name: Taken/'");
    let run = user.run(&["policy", "edit", "web"]).await;
    assert!(run.err.contains("name: it is taken\nYour text is kept in "), "{run}");
    assert!(text(&texts(&user)[0]).contains("name: Taken"));
    // A name that another object has is a conflict, but with nobody who edits.
    api.hook(|_, request| {
        (request.method == "PUT").then(|| refused(409, "[request body.name]: it is taken"))
    });
    let run = User::of(&server).run(&["policy", "edit", "web", "--set", "name=Taken"]).await;
    assert_eq!((run.err.as_str(), run.code), ("name: it is taken\n", 1));
    api.hook(|_, _| None);
    let user = User::of(&server).with("EDITOR", "truncate -s 0");
    assert_eq!(user.run(&["policy", "edit", "web"]).await.out, "No change of agent policy web (Web)\n");
}

/// What a second editor is told: nothing is lost on either side.
fn assert_both_are_kept(user: &User, api: &Api, run: &crate::Run) {
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.err.contains("Nothing was saved: agent policy web (Theirs) was changed by grace meanwhile"),
        "{run}"
    );
    assert!(run.err.contains("~ /name: \"Theirs\" -> \"Mine\""), "{run}");
    let kept = texts(user);
    let names: Vec<_> = kept.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(names.ends_with(&["mine.yaml", "theirs.yaml"]), "{names:?}");
    let [.., mine, theirs] = kept.as_slice() else { panic!("{kept:?}") };
    assert!(text(mine).contains("name: Mine") && text(theirs).contains("name: Theirs"));
    assert!(run.err.contains(&format!("fleetctl policy edit web --file {}", mine.display())), "{run}");
    assert_eq!(api.object("agent_policies", "web").unwrap()["name"], "Theirs");
}

fn save_theirs(api: &Api) {
    api.change("agent_policies", "web", |policy| {
        policy["name"] = "Theirs".into();
        policy["updated_by"] = "grace".into();
        policy["revision"] = 8.into();
    });
}

#[tokio::test]
async fn who_is_second_loses_nothing() {
    // It is seen when the text comes back from the editor.
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server).with("EDITOR", "sed -i 's/name: Web/name: Mine/'");
    let mut reads = 0;
    api.hook(move |api, request| {
        if request.method == "GET" && request.path.ends_with("/web") {
            reads += 1;
            if reads == 2 {
                save_theirs(api);
            }
        }
        None
    });
    let run = user.run(&["policy", "edit", "web"]).await;
    assert_both_are_kept(&user, &api, &run);
    assert!(!server.log().iter().any(|line| line.starts_with("PUT")));
}

#[tokio::test]
async fn who_is_second_in_the_last_moment_loses_nothing() {
    // Only the server sees it.
    let api = api();
    let server = api.serve().await;
    let user = User::of(&server);
    api.hook(|api, request| {
        if request.method == "PUT" {
            save_theirs(api);
        }
        None
    });
    let run = user.run(&["policy", "edit", "web", "--set", "name=Mine"]).await;
    assert_both_are_kept(&user, &api, &run);
}
