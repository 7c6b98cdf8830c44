//! What packages bring beside their data streams.

use fleet_test_engine::{Client, Elastic, Engine};
use serde_json::{Value, json};

use crate::archives::{files, zip};
use crate::keys::login;
use crate::manager::Manager;
use crate::stand_in::StandIn;
use crate::{eventually, in_engine, server_with};

const PACKAGES: &str = "/api/fleet/epm/packages";

/// A version of a package with everything, and a transform of a version of its own.
async fn upload(manager: &Manager, name: &str, version: &str, transform: &str) {
    let more = [
        ("ingest_pipeline/clean.yml", "processors: []".to_owned()),
        (
            "component_template/NAME-parts.json",
            r#"{"template": {"settings": {"number_of_replicas": 0}}}"#.to_owned(),
        ),
        (
            "index_template/NAME-archive.json",
            r#"{"index_patterns": ["NAME-archive-*"], "composed_of": ["NAME-parts"]}"#.to_owned(),
        ),
        (
            "ilm_policy/NAME-short.json",
            r#"{"policy": {"phases": {"delete": {"min_age": "7d", "actions": {"delete": {}}}}}}"#.to_owned(),
        ),
        (
            "transform/latest/transform.yml",
            format!(
                "source: {{index: ['logs-NAME.access-*']}}\ndest: {{index: NAME_latest-1}}\n\
             latest: {{unique_key: [host.name], sort: '@timestamp'}}\n_meta: {{fleet_transform_version: {transform}}}\n"
            ),
        ),
        ("transform/latest/fields/f.yml", "[{name: host.name, type: keyword}]".to_owned()),
    ];
    let mut all = files(name, version, "");
    // Templates of data streams have tests of their own, and need more than some engines of tests have.
    all.retain(|(path, _)| !path.contains("/data_stream/"));
    all.extend(more.into_iter().map(|(path, content)| {
        let path = format!("{name}-{version}/elasticsearch/{}", path.replace("NAME", name));
        (path, content.replace("NAME", name).into_bytes())
    }));
    let answer = manager.fetch("POST", PACKAGES, zip(&all)).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
}

async fn is_there(client: &Client, path: &str) -> bool {
    client.get(path).await.unwrap().status == 200
}

/// Waits until this version is there, and answers what is told of it.
async fn installed(manager: &Manager, name: &str, version: &str) -> Value {
    eventually(version, async || {
        let told = in_engine(manager, name, "installed").await;
        if told["version"] == version { Ok(told) } else { Err(told) }
    })
    .await
}

async fn gone(client: &Client, path: &str) {
    eventually(path, async || {
        let found = client.get(path).await.unwrap();
        if found.status == 404 { Ok(()) } else { Err(found.body) }
    })
    .await;
}

/// What every engine has comes, changes and goes with the package.
async fn comes_and_goes(client: &Client, manager: &Manager, name: &str) -> Value {
    upload(manager, name, "1.0.0", "0.1.0").await;
    let told = installed(manager, name, "1.0.0").await;
    let templates =
        [format!("/_component_template/{name}-parts"), format!("/_index_template/{name}-archive")];
    for path in templates.iter().chain([&format!("/_ingest/pipeline/{name}-1.0.0-clean")]) {
        assert!(is_there(client, path).await, "{path}: {told}");
    }
    // What is put there is what counts.
    let line = json!({"n": 1});
    client.post(&format!("/{name}-archive-a/_doc?refresh=true"), &line).await.unwrap().success().unwrap();
    let settings = client.get(&format!("/{name}-archive-a/_settings")).await.unwrap().success().unwrap();
    assert_eq!(settings[format!("{name}-archive-a")]["settings"]["index"]["number_of_replicas"], "0");

    upload(manager, name, "1.1.0", "0.1.0").await;
    installed(manager, name, "1.1.0").await;
    assert!(is_there(client, &format!("/_ingest/pipeline/{name}-1.1.0-clean")).await);
    gone(client, &format!("/_ingest/pipeline/{name}-1.0.0-clean")).await;

    let (status, answer) = manager.ask("DELETE", &format!("{PACKAGES}/{name}"), None).await;
    assert_eq!(status, 200, "{answer}");
    for path in templates.iter().rev().chain([&format!("/_ingest/pipeline/{name}-1.1.0-clean")]) {
        gone(client, path).await;
    }
    told
}

fn notes(told: &Value) -> Vec<&str> {
    told["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_opensearch_gets_what_it_can_take_and_the_rest_is_told() {
    let engine = Engine::start().await.unwrap();
    let (_server, manager) = server_with(engine.url(), "", &[]).await;
    let told = comes_and_goes(&engine, &manager, "shop").await;
    let notes = notes(&told);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with(
            "ilm_policy shop-short is not installed: this OpenSearch has no Index State Management"
        ),
        "{notes:?}"
    );
    assert!(
        notes[1].starts_with("transform latest is not installed: OpenSearch has another kind"),
        "{notes:?}"
    );
}

/// A version of a package whose data stream has a policy of its indices' lives.
async fn upload_with_policy(manager: &Manager, version: &str, age: &str) {
    let mut all = files("shop", version, "");
    let of_stream = format!("shop-{version}/data_stream/access");
    let manifest = all.iter_mut().find(|(path, _)| *path == format!("{of_stream}/manifest.yml")).unwrap();
    manifest.1.extend(b"ilm_policy: logs-shop.access-short\n");
    let policy = json!({"policy": {"phases": {
        "hot": {"actions": {"rollover": {"max_age": "1d"}, "unfollow": {}}},
        "delete": {"min_age": age, "actions": {"delete": {}}},
    }}});
    all.push((format!("{of_stream}/elasticsearch/ilm/short.json"), policy.to_string().into_bytes()));
    let answer = manager.fetch("POST", PACKAGES, zip(&all)).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
}

#[tokio::test]
async fn an_opensearch_with_state_management_gets_policies_of_its_kind() {
    let engine = Engine::start().await.unwrap();
    let stand_in = StandIn::before(&engine).await;
    let (_server, manager) = server_with(&stand_in.url(), "", &[]).await;
    upload_with_policy(&manager, "1.0.0", "7d").await;
    let told = installed(&manager, "shop", "1.0.0").await;
    assert_eq!(
        notes(&told),
        [
            "ilm_policy logs-shop.access-short: hot.unfollow is left out: OpenSearch's Index State Management has nothing like it"
        ]
    );
    let path = "/_plugins/_ism/policies/logs-shop.access-short";
    let policy = stand_in.get(path).unwrap()["policy"].clone();
    assert_eq!(policy["ism_template"][0]["index_patterns"][0], "logs-shop.access-*");
    assert_eq!(policy["states"][0]["transitions"][0]["conditions"]["min_rollover_age"], "7d");
    assert!(is_there(&engine, "/_index_template/logs-shop.access").await, "{told}");
    // What is there already has it too, and goes over to what is changed.
    let added = stand_in.get("/_plugins/_ism/add/.ds-logs-shop.access-*").unwrap();
    assert_eq!(added, json!({"policy_id": "logs-shop.access-short"}));
    upload_with_policy(&manager, "1.1.0", "14d").await;
    installed(&manager, "shop", "1.1.0").await;
    let policy = stand_in.get(path).unwrap();
    assert_eq!(policy["policy"]["states"][0]["transitions"][0]["conditions"]["min_rollover_age"], "14d");
    assert_eq!(policy["_seq_no"], 1);
    assert!(stand_in.get("/_plugins/_ism/change_policy/.ds-logs-shop.access-*").is_some());

    let (status, answer) = manager.ask("DELETE", &format!("{PACKAGES}/shop"), None).await;
    assert_eq!(status, 200, "{answer}");
    eventually("the policy is gone", async || stand_in.get(path).map_or(Ok(()), Err)).await;
}

/// A name that no other test on the same engine has.
fn unique() -> String {
    let pid = std::process::id();
    format!("shop{pid}_{:?}", std::thread::current().id())
        .to_lowercase()
        .replace(|c: char| !c.is_alphanumeric(), "")
}

#[tokio::test]
async fn an_elasticsearch_without_transforms_gets_the_rest() {
    let Some(elastic) = Elastic::from_env() else { return };
    if is_there(&elastic, "/_transform?size=1").await {
        // It has them: the next test is about such.
        return;
    }
    let (_server, manager) = server_with(elastic.url(), &login(&elastic), &[]).await;
    let told = comes_and_goes(&elastic, &manager, &unique()).await;
    assert!(notes(&told)[1].contains("this engine has no transforms"), "{told}");
}

#[tokio::test]
async fn transforms_and_policies_of_indices_lives_come_run_change_and_go() {
    let Some(elastic) = Elastic::from_env() else { return };
    let stand_in = StandIn::before(&elastic).await;
    let (_server, manager) = server_with(&stand_in.url(), &login(&elastic), &[]).await;
    let name = unique();
    upload(&manager, &name, "1.0.0", "0.1.0").await;
    let told = installed(&manager, &name, "1.0.0").await;
    assert_eq!(told.get("notes"), None, "{told}");
    let first = format!("/_transform/logs-{name}.latest-default-0.1.0");
    let policy = format!("/_ilm/policy/{name}-short");
    assert_eq!(stand_in.get(&first).unwrap()["state"], "started");
    assert!(stand_in.get(&policy).is_some());
    assert!(is_there(&elastic, &format!("/_index_template/logs-{name}.latest-template")).await);

    // What people stop stays so, and what does the same goes on, in the next version too.
    stand_in.stop(&first);
    upload(&manager, &name, "1.1.0", "0.1.0").await;
    installed(&manager, &name, "1.1.0").await;
    assert_eq!(stand_in.get(&first).unwrap()["state"], "stopped");

    // Another version of the transform takes the place of the one before.
    upload(&manager, &name, "1.2.0", "0.2.0").await;
    installed(&manager, &name, "1.2.0").await;
    let second = format!("/_transform/logs-{name}.latest-default-0.2.0");
    assert_eq!(stand_in.get(&second).unwrap()["state"], "started");
    assert_eq!(stand_in.get(&first), None);

    let (status, answer) = manager.ask("DELETE", &format!("{PACKAGES}/{name}"), None).await;
    assert_eq!(status, 200, "{answer}");
    eventually("all of it is gone", async || {
        let left = (stand_in.get(&second), stand_in.get(&policy));
        if left == (None, None) { Ok(()) } else { Err(json!([left.0, left.1])) }
    })
    .await;
    gone(&elastic, &format!("/_index_template/logs-{name}.latest-template")).await;
}

#[tokio::test]
async fn a_login_without_the_rights_gets_the_rest_and_is_told_which() {
    let Some(elastic) = Elastic::from_env() else { return };
    let stand_in = StandIn::before(&elastic).await;
    let name = unique();
    let role = json!({"cluster": ["monitor", "manage_index_templates", "manage_ingest_pipelines", "manage_own_api_key"]});
    elastic.put(&format!("/_security/role/{name}"), &role).await.unwrap().success().unwrap();
    let user = json!({"password": "changeme", "roles": [name]});
    elastic.put(&format!("/_security/user/{name}"), &user).await.unwrap().success().unwrap();
    let yaml = format!("username: {name}\npassword: changeme\n");
    let (_server, manager) = server_with(&stand_in.url(), &yaml, &[]).await;
    upload(&manager, &name, "1.0.0", "0.1.0").await;
    let told = installed(&manager, &name, "1.0.0").await;
    let notes = notes(&told);
    assert!(notes[0].contains("lacks the cluster privilege manage_ilm: give it a role"), "{notes:?}");
    assert!(notes[1].contains("lacks the cluster privilege manage_transform: give it a role"), "{notes:?}");
    assert!(is_there(&elastic, &format!("/_index_template/{name}-archive")).await);
}
