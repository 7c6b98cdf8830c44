//! People: sign-in, users, API keys, the audit trail.

mod api_keys;
mod audit;
mod oidc;
mod servers;
mod session;
mod users;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

pub(crate) const USERS: &str = "/api/fleet/users";
pub(crate) const KEYS: &str = "/api/fleet/api_keys";
pub(crate) const SESSION: &str = "/api/fleet/session";
pub(crate) const AUDIT: &str = "/api/fleet/audit";
pub(crate) const POLICIES: &str = "/api/fleet/agent_policies";

/// The password of everybody but the administrator.
pub(crate) const SOME_PASSWORD: &str = "somebody's own";

/// Makes a user, and is them.
pub(crate) async fn somebody(server: &Server, name: &str, roles: Value, grants: Value) -> Client {
    let body = json!({"username": name, "password": SOME_PASSWORD, "roles": roles, "grants": grants});
    Client::admin(server).post(USERS, &body).await.ok();
    Client::by_password(server, name, SOME_PASSWORD)
}

/// Makes a policy; answers its id.
pub(crate) async fn policy(client: &Client, name: &str) -> String {
    let made = client.post(POLICIES, &json!({"name": name, "namespace": "default"})).await.ok();
    made["item"]["id"].as_str().expect("an id").to_owned()
}
