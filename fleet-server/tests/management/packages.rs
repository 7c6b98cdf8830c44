//! Packages of integrations: the routes below `/api/fleet/epm`.

mod archives;
mod bulk;
mod hostile;
mod life;
mod own;
mod registry;

use serde_json::Value;

use crate::client::{Answer, Client};

const EPM: &str = "/api/fleet/epm";
const PACKAGES: &str = "/api/fleet/epm/packages";
const ZIP: &str = "application/zip";
const GZIP: &str = "application/gzip";

impl Client {
    async fn upload(&self, media: &str, archive: Vec<u8>) -> Answer {
        self.send("POST", PACKAGES, media, archive).await
    }

    /// A package of the list.
    async fn listed(&self, name: &str) -> Option<Value> {
        let listed = self.get(&format!("{PACKAGES}?prerelease=true")).await.ok();
        listed["items"].as_array().expect("items").iter().find(|item| item["name"] == name).cloned()
    }

    async fn package(&self, key: &str) -> Value {
        self.get(&format!("{PACKAGES}/{key}")).await.ok()["item"].take()
    }

    /// An integration of a package, in a policy of its own.
    async fn integrate(&self, id: &str, package: &str, version: &str) -> Answer {
        let policy = serde_json::json!({"id": id, "name": id, "namespace": "default"});
        self.post("/api/fleet/agent_policies", &policy).await.ok();
        let integration = serde_json::json!({
            "id": id, "name": id, "policy_ids": [id], "package": {"name": package, "version": version},
        });
        self.post("/api/fleet/package_policies", &integration).await
    }
}
