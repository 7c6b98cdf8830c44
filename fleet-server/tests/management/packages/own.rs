//! Our own packages, and packages that are made here.

use serde_json::{Value, json};

use super::{EPM, PACKAGES};
use crate::client::Client;
use crate::server::Server;

#[tokio::test]
async fn a_fresh_server_has_our_own_packages() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let listed = admin.get(PACKAGES).await.ok();
    let items = listed["items"].as_array().expect("items");
    for name in ["custom", "elastic_agent", "filestream", "fleet_server", "journald", "otlp", "system"] {
        let item = items.iter().find(|item| item["name"] == name).expect(name);
        assert_eq!(
            (&item["status"], &item["origin"]),
            (&json!("not_installed"), &json!("bundled")),
            "{item}"
        );
        assert!(item.get("installationInfo").is_none(), "{item}");
        // Clients read an object with a licence there, or nothing.
        assert!(item.get("source").is_none(), "{item}");
    }
    let of_category = admin.get(&format!("{PACKAGES}?category=os_system")).await.ok();
    let names: Vec<&Value> =
        of_category["items"].as_array().expect("items").iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["journald", "system"]);

    let system = admin.package("system").await;
    assert_eq!((&system["status"], &system["version"]), (&json!("not_installed"), &system["latestVersion"]));
    assert!(system["data_streams"].as_array().is_some_and(|streams| streams.len() > 5), "{system}");
    let version = system["version"].as_str().expect("a version");
    let inputs = admin.get(&format!("{EPM}/templates/system/{version}/inputs")).await.ok();
    assert!(inputs["inputs"].as_array().is_some_and(|inputs| !inputs.is_empty()), "{inputs}");
    for format in ["yaml", "yml"] {
        let yaml = admin.get(&format!("{EPM}/templates/system/{version}/inputs?format={format}")).await;
        assert!(yaml.header("content-type").starts_with("text/yaml"), "{yaml:?}");
        assert!(yaml.text.starts_with("inputs:\n"), "{}", yaml.text);
    }
    let wrong = admin.get(&format!("{EPM}/templates/system/{version}/inputs?format=toml")).await;
    assert!(wrong.refusal(400).starts_with("[request query.format]"));
    let none = admin.get(&format!("{EPM}/templates/none/1.0.0/inputs")).await;
    assert_eq!(none.refusal(404), "Package none-1.0.0 not found");

    assert!(admin.integrate("web", "system", version).await.status.is_success());
    let stats = admin.get(&format!("{PACKAGES}/system/stats")).await.ok();
    assert_eq!(stats["response"], json!({"agent_policy_count": 1, "package_policy_count": 1}));
    let counted = admin.get(&format!("{PACKAGES}?withPackagePoliciesCount=true")).await.ok();
    let counted = counted["items"].as_array().expect("items").iter().find(|item| item["name"] == "system");
    assert_eq!(counted.expect("the package")["packagePoliciesInfo"]["count"], 1);

    let installed = admin.post(&format!("{PACKAGES}/system"), &json!({})).await.ok();
    assert_eq!(installed["_meta"]["install_source"], "bundled");
    let categories = admin.get(&format!("{EPM}/categories")).await.ok();
    let one = categories["items"].as_array().expect("items").iter().find(|one| one["id"] == "os_system");
    assert_eq!(one, Some(&json!({"id": "os_system", "title": "Os System", "count": 2})));
    // It stays what it is, whatever the next version of the program brings.
    let server = server.restart();
    let admin = Client::admin(&server);
    assert_eq!(admin.package("system").await["installationInfo"]["install_source"], "bundled");
}

#[tokio::test]
async fn a_package_is_made_of_a_name_and_datasets() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let path = format!("{EPM}/custom_integrations");
    for (body, message) in [
        (json!({}), "[request body]: missing field `integrationName`"),
        (json!({"integrationName": "Shop", "datasets": []}), "[request body.integrationName]"),
        (json!({"integrationName": "../x", "datasets": []}), "[request body.integrationName]"),
        (json!({"integrationName": "shop", "datasets": []}), "[request body.datasets]"),
        (
            json!({"integrationName": "shop", "datasets": [{"name": "a b", "type": "logs"}]}),
            "[request body.datasets[0].name]",
        ),
        (
            json!({"integrationName": "shop", "datasets": [{"name": "a", "type": "lines"}]}),
            "[request body.datasets[0].type]",
        ),
        (
            json!({"integrationName": "shop", "datasets": [
                {"name": "a", "type": "logs"}, {"name": "shop.a", "type": "metrics"},
            ]}),
            "[request body.datasets[1].name]: \"a\" is there twice",
        ),
    ] {
        let refusal = admin.post(&path, &body).await.refusal(400);
        assert!(refusal.starts_with(message), "{body}: {refusal}");
    }
    let body = json!({"integrationName": "shop", "datasets": [
        {"name": "access", "type": "logs"}, {"name": "load", "type": "metrics"},
    ]});
    let made = admin.post(&path, &body).await.ok();
    assert_eq!(made["_meta"], json!({"install_source": "custom", "name": "shop", "version": "1.0.0"}));
    assert!(admin.post(&path, &body).await.refusal(409).contains("choose another name"));
    let integration = admin.integrate("web", "shop", "1.0.0").await;
    assert!(integration.status.is_success(), "{}", integration.text);
    let full = admin.get("/api/fleet/agent_policies/web/full").await.ok();
    let stream = &full["item"]["inputs"][0]["streams"][0];
    assert_eq!(stream["data_stream"]["dataset"], "shop.access", "{full}");
    assert_eq!(stream["paths"], json!(["/var/log/shop/*.log"]), "{full}");

    let text = json!({"readMeData": "# Hello\n", "categories": ["web"]});
    let changed = admin.put(&format!("{path}/shop"), &text).await.ok();
    assert_eq!(changed, json!({"id": "shop", "result": {"version": "1.0.1", "status": "installed"}}));
    assert_eq!(admin.get(&format!("{PACKAGES}/shop/1.0.1/docs/README.md")).await.text, "# Hello\n");
    assert_eq!(admin.package("shop").await["categories"], json!(["web"]));
    assert_eq!(admin.put(&format!("{path}/system"), &text).await.status, 404);
    let refusal = admin.delete(&format!("{PACKAGES}/shop")).await.refusal(400);
    assert!(refusal.contains("(web)"), "{refusal}");
}

#[tokio::test]
async fn what_nothing_is_put_into_is_told_truthfully() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    // An engine that can be reached by nobody.
    let output = json!({"name": "default", "type": "elasticsearch", "hosts": ["http://127.0.0.1:9"]});
    admin.put("/api/fleet/outputs/fleet-default-output", &output).await.ok();
    for (path, list) in [
        ("/api/fleet/data_streams".to_owned(), "data_streams"),
        (format!("{EPM}/data_streams?type=logs"), "items"),
    ] {
        let told = admin.get(&path).await.ok();
        assert_eq!(
            (&told[list], &told["not_seen"][0]["output_id"]),
            (&json!([]), &json!("fleet-default-output"))
        );
    }
    assert_eq!(admin.get(&format!("{EPM}/verification_key_id")).await.ok(), json!({"id": null}));
    let asked = json!({"assetIds": [{"id": "x", "type": "dashboard"}]});
    assert_eq!(admin.post(&format!("{EPM}/bulk_assets"), &asked).await.ok(), json!({"items": []}));
    let wrong = admin.post(&format!("{EPM}/bulk_assets"), &json!({"assetIds": [{"id": "x"}]})).await;
    assert!(wrong.refusal(400).starts_with("[request body.assetIds[0]]"));

    let assets = format!("{PACKAGES}/otlp/1.0.0/kibana_assets");
    assert_eq!(admin.post(&assets, &json!({})).await.refusal(400), "otlp is not installed");
    // The space that installs it, and another that wants it too.
    admin.post(&format!("/s/one{PACKAGES}/otlp/1.0.0"), &json!({})).await.ok();
    let info = admin.package("otlp").await["installationInfo"].clone();
    assert_eq!(info["installed_kibana_space_id"], "one");
    let done = admin.post(&assets, &json!({"space_ids": ["two"], "force": true})).await.ok();
    assert_eq!(done, json!({"success": true}));
    let info = admin.package("otlp").await["installationInfo"].clone();
    assert_eq!(info["additional_spaces_installed_kibana"], json!({"two": []}));
    admin.delete(&format!("/s/two{assets}")).await.ok();
    let info = admin.package("otlp").await["installationInfo"].clone();
    assert!(info.get("additional_spaces_installed_kibana").is_none(), "{info}");
    let transforms = json!({"transforms": [{"transformId": "t"}]});
    let told = admin.post(&format!("{PACKAGES}/otlp/1.0.0/transforms/authorize"), &transforms).await.ok();
    assert_eq!((&told[0]["transformId"], &told[0]["success"]), (&json!("t"), &json!(false)));
}
