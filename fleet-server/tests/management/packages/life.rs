//! The life of a package: sent, installed, used, upgraded, removed.

use serde_json::{Value, json};

use super::archives::{files, package, package_for, tar_gz};
use super::{GZIP, PACKAGES, ZIP};
use crate::client::Client;
use crate::server::{PASSWORD, Server};

#[tokio::test]
async fn an_archive_that_is_sent_is_installed() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let sent = admin.upload(ZIP, package("acme", "1.2.0")).await.ok();
    assert_eq!(
        sent,
        json!({"items": [], "_meta": {"install_source": "upload", "name": "acme", "version": "1.2.0"}})
    );
    let listed = admin.listed("acme").await.expect("it is listed");
    assert_eq!((&listed["status"], &listed["version"]), (&json!("installed"), &json!("1.2.0")));
    assert_eq!(listed["installationInfo"]["version"], "1.2.0");
    assert_eq!(
        listed["data_streams"],
        json!([{"type": "logs", "dataset": "acme.access", "title": "Access"}])
    );
    let plain = admin.get(&format!("{PACKAGES}?excludeInstallStatus=true")).await.ok();
    let plain = plain["items"].as_array().expect("items").iter().find(|item| item["name"] == "acme");
    assert!(plain.expect("it is listed").get("status").is_none());

    let item = admin.package("acme/1.2.0").await;
    assert_eq!(item["status"], "installed");
    assert_eq!(item["savedObject"]["attributes"]["install_source"], "upload");
    assert_eq!(item["installationInfo"]["install_status"], "installed");
    assert_eq!(item["assets"]["kibana"]["dashboard"][0]["file"], "one.json");
    assert_eq!(item["assets"]["elasticsearch"]["ingest_pipeline"][0]["dataset"], "access");
    assert_eq!(item["policy_templates"][0]["inputs"][0]["type"], "filestream");
    assert_eq!(item["data_streams"][0]["package"], "acme");
    let old = admin.get(&format!("{PACKAGES}/acme-1.2.0?full=true&ignoreUnverified=true")).await.ok();
    assert_eq!(old["item"], old["response"]);
    // How far it is in an engine may have become known in between.
    let without_engines = |mut item: Value| {
        item.as_object_mut().expect("an object").remove("engines");
        item
    };
    assert_eq!(without_engines(old["item"].clone()), without_engines(item));
    let none = admin.get(&format!("{PACKAGES}/acme/9.9.9")).await;
    assert_eq!(none.refusal(404), "Package acme-9.9.9 not found");

    let svg = admin.get(&format!("{PACKAGES}/acme/1.2.0/img/logo.svg")).await;
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert_eq!(svg.header("x-content-type-options"), "nosniff");
    assert!(svg.header("content-security-policy").contains("sandbox"), "{svg:?}");
    let readme = admin.get(&format!("{PACKAGES}/acme/1.2.0/docs/README.md")).await;
    assert_eq!(
        (readme.text.as_str(), readme.header("content-type")),
        ("# Read me\n", "text/markdown; charset=utf-8")
    );
    for path in ["img/none.svg", "../manifest.yml", "%2e%2e/%2e%2e/etc/passwd", "docs", "docs%2fREADME.md%00"]
    {
        assert_eq!(admin.get(&format!("{PACKAGES}/acme/1.2.0/{path}")).await.status, 404, "{path}");
    }
    // As a tar, and once more: what is sent replaces what was.
    admin.upload(GZIP, tar_gz(&files("acme", "1.2.0", ""))).await.ok();
    let server = server.restart();
    let admin = Client::admin(&server);
    assert_eq!(admin.package("acme").await["installationInfo"]["version"], "1.2.0");
    let installed = admin.get(&format!("{PACKAGES}/installed?nameQuery=ACM&perPage=1")).await.ok();
    assert_eq!((&installed["total"], &installed["searchAfter"]), (&json!(1), &json!(["acme"])));
    assert_eq!(
        installed["items"][0]["dataStreams"],
        json!([{"name": "logs-acme.access-*", "title": "Access"}])
    );
    let next = admin.get(&format!("{PACKAGES}/installed?searchAfter=acme")).await.ok();
    assert_eq!(next["items"], json!([]));
}

#[tokio::test]
async fn what_integrations_are_of_stays() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    admin.upload(ZIP, package("acme", "1.0.0")).await.ok();
    let integration = admin.integrate("web", "acme", "1.0.0").await;
    assert!(integration.status.is_success(), "{}", integration.text);
    let refusal = admin.delete(&format!("{PACKAGES}/acme/1.0.0")).await.refusal(400);
    assert!(refusal.contains("integrations are of it (web)"), "{refusal}");

    for version in ["2.0.0", "3.0.0"] {
        admin.upload(ZIP, package("acme", version)).await.ok();
    }
    // The one that is used, the one before, and the installed one.
    for (version, status) in [("1.0.0", 200), ("2.0.0", 200), ("3.0.0", 200)] {
        assert_eq!(admin.get(&format!("{PACKAGES}/acme/{version}")).await.status, status, "{version}");
    }
    let back = admin.post(&format!("{PACKAGES}/acme/rollback"), &json!({})).await.ok();
    assert_eq!(back, json!({"success": true, "version": "2.0.0"}));
    assert_eq!(admin.listed("acme").await.expect("listed")["version"], "2.0.0");
    // Its archive is needed, and as a version it is not installed: what the Terraform provider takes for "it is gone".
    assert_eq!(admin.delete(&format!("{PACKAGES}/acme/1.0.0")).await.refusal(400), "acme is not installed");
    assert_eq!(admin.get(&format!("{PACKAGES}/acme/1.0.0")).await.status, 200);
    admin.delete(&format!("{PACKAGES}/acme/3.0.0")).await.ok();
    assert_eq!(admin.get(&format!("{PACKAGES}/acme/3.0.0")).await.status, 404);

    // By force: the version that is used stays all the same, or agents would lose what they run.
    admin.delete(&format!("{PACKAGES}/acme/2.0.0?force=true")).await.ok();
    let left = admin.package("acme/1.0.0").await;
    assert_eq!(left["status"], "not_installed");
    assert_eq!(admin.get(&format!("{PACKAGES}/acme/2.0.0")).await.status, 404);
    let full = admin.get("/api/fleet/agent_policies/web/full").await.ok();
    assert_eq!(full["item"]["inputs"][0]["streams"][0]["data_stream"]["dataset"], "acme.access", "{full}");

    admin.delete("/api/fleet/package_policies/web").await.ok();
    admin.post(&format!("{PACKAGES}/acme/1.0.0"), &json!({})).await.ok();
    admin.delete(&format!("{PACKAGES}/acme/1.0.0")).await.ok();
    assert_eq!(admin.get(&format!("{PACKAGES}/acme/1.0.0")).await.status, 404);
    assert_eq!(admin.listed("acme").await, None);
    // What the Terraform provider takes for "it is gone".
    assert_eq!(admin.delete(&format!("{PACKAGES}/acme/1.0.0")).await.refusal(400), "acme is not installed");
}

#[tokio::test]
async fn conditions_count_unless_somebody_says_otherwise() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    // Who sends a file has chosen it.
    admin.upload(ZIP, package_for("acme", "1.0.0", "^8.0.0")).await.ok();
    let path = format!("{PACKAGES}/acme/1.0.0");
    let refusal = admin.post(&path, &json!({})).await.refusal(400);
    assert!(refusal.contains("needs a server of version ^8.0.0, and this is 9.6.0"), "{refusal}");
    assert!(refusal.contains("ignore_constraints"), "{refusal}");
    let info = admin.package("acme").await["installationInfo"].clone();
    assert_eq!(info["install_status"], "installed", "what is installed stays so");
    let failed = &info["latest_install_failed_attempts"][0];
    assert_eq!(failed["target_version"], "1.0.0");
    assert!(failed["error"]["message"].as_str().is_some_and(|text| text.contains("^8.0.0")), "{failed}");
    admin.post(&path, &json!({"ignore_constraints": true})).await.ok();
    let info = admin.package("acme").await["installationInfo"].clone();
    assert!(info.get("latest_install_failed_attempts").is_none(), "{info}");

    admin.upload(ZIP, package("acme", "2.0.0")).await.ok();
    let refusal = admin.post(&path, &json!({"ignore_constraints": true})).await.refusal(400);
    assert!(refusal.contains("2.0.0 is installed; send \"force\": true"), "{refusal}");
    admin.post(&path, &json!({"ignore_constraints": true, "force": true})).await.ok();
    assert_eq!(admin.package("acme").await["installationInfo"]["version"], "1.0.0");
    assert_eq!(admin.post(&format!("{PACKAGES}/acme/7.0.0"), &json!({})).await.status, 404);
    assert_eq!(
        admin.post(&format!("{PACKAGES}/none"), &json!({})).await.refusal(404),
        "Package none not found"
    );
}

#[tokio::test]
async fn settings_and_rights() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let path = format!("{PACKAGES}/system/1.0.0");
    let keep = json!({"keepPoliciesUpToDate": true});
    assert_eq!(admin.put(&path, &keep).await.refusal(400), "system is not installed");
    admin.post(&path, &json!({})).await.ok();
    assert_eq!(admin.put(&path, &keep).await.ok()["item"]["keepPoliciesUpToDate"], true);
    let refusal = admin.put(&path, &json!({"keepPolicies": true})).await.refusal(400);
    assert!(refusal.starts_with("[request body.keepPolicies]"), "{refusal}");
    let refusal = admin.put(&path, &json!({"keepPoliciesUpToDate": "yes"})).await.refusal(400);
    assert!(refusal.starts_with("[request body.keepPoliciesUpToDate]"), "{refusal}");

    let user = json!({"username": "eve", "password": PASSWORD, "roles": ["viewer"]});
    admin.post("/api/fleet/users", &user).await.ok();
    let eve = Client::by_password(&server, "eve", PASSWORD);
    eve.get(PACKAGES).await.ok();
    assert_eq!(eve.post(&path, &json!({})).await.status, 403);
    assert_eq!(eve.upload(ZIP, package("acme", "1.0.0")).await.status, 403);
    assert_eq!(Client::anonymous(&server).get(PACKAGES).await.status, 401);
}

#[tokio::test]
async fn integrations_go_with_their_package_if_it_is_set_to() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    admin.upload(ZIP, package("acme", "1.0.0")).await.ok();
    assert!(admin.integrate("web", "acme", "1.0.0").await.status.is_success());
    let version = async || {
        let integration = admin.get("/api/fleet/package_policies/web").await.ok();
        integration["item"]["package"]["version"].as_str().expect("a version").to_owned()
    };
    admin.upload(ZIP, package("acme", "1.1.0")).await.ok();
    assert_eq!(version().await, "1.0.0", "nobody has asked for it");
    let body = json!({"packages": [{"name": "acme"}], "upgrade_package_policies": true});
    let done = admin.post(&format!("{PACKAGES}/_bulk"), &body).await.ok();
    assert_eq!(done["items"][0]["version"], "1.1.0", "{done}");
    assert_eq!(version().await, "1.1.0");
    admin.put(&format!("{PACKAGES}/acme/1.1.0"), &json!({"keepPoliciesUpToDate": true})).await.ok();
    admin.upload(ZIP, package("acme", "1.2.0")).await.ok();
    assert_eq!(version().await, "1.2.0");
}
