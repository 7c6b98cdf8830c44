//! Sign-in by an identity provider: a real one, of Node.js.

mod browser;
mod fake;
mod node;

use serde_json::json;

use super::{AUDIT, KEYS, POLICIES, SESSION, policy};
use crate::client::Client;
use crate::server::{Server, free_port};
use browser::Browser;
use node::Node;

const LOGIN: &str = "/api/fleet/oidc/login";
const CALLBACK: &str = "/api/fleet/oidc/callback";

/// A server that trusts this provider.
fn server(node: &mut Node) -> Server {
    let port = free_port();
    let redirect = format!("http://127.0.0.1:{port}{CALLBACK}");
    node.tell_redirect(&redirect);
    Server::start(&[
        format!("management.port={port}"),
        format!("management.oidc.issuer={}", node.issuer()),
        "management.oidc.client_id=fleet".to_owned(),
        "management.oidc.client_secret=\"a secret of the client\"".to_owned(),
        format!("management.oidc.redirect_uri={redirect}"),
        "management.oidc.scopes=[profile, groups]".to_owned(),
        "management.oidc.claims.name=preferred_username".to_owned(),
        "management.oidc.roles.admin=fleet-admins".to_owned(),
        "management.oidc.roles.editor=[fleet-editors, fleet-operators]".to_owned(),
        format!("management.oidc.ca={}", node.certificate().display()),
    ])
}

#[tokio::test]
async fn somebody_signs_in_by_a_real_provider() {
    let Some(mut node) = Node::start() else { return };
    let server = server(&mut node);
    let mut browser = Browser::new(&server, &node);
    let end = browser.sign_in("ann").await;
    assert_eq!((end.status.as_u16(), end.header("location")), (303, "/"), "{}", end.text);
    let page = browser.client();
    let who = page.get(SESSION).await.ok()["item"].take();
    assert_eq!((&who["username"], &who["roles"]), (&json!("oidc:ann"), &json!(["editor"])));
    let page = page.with("x-csrf-token", who["csrf_token"].as_str().expect("a token"));
    policy(&page, "web").await;
    page.get(AUDIT).await.refusal(403);
    // Nobody can ask whether this owner is still there: the key must have an end.
    let message = page.post(KEYS, &json!({"name": "k"})).await.refusal(400);
    assert!(message.starts_with("[request body.expires_at]"), "{message}");

    let entries = Client::admin(&server).get(&format!("{AUDIT}?user=oidc:ann")).await.ok();
    let kinds: Vec<&str> = entries["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect();
    assert!(kinds.contains(&"session") && kinds.contains(&"agent-policy"), "{kinds:?}");
    page.delete(SESSION).await.ok();
    page.get(POLICIES).await.refusal(401);
}

#[tokio::test]
async fn groups_decide_what_somebody_may() {
    let Some(mut node) = Node::start() else { return };
    let server = server(&mut node);
    let mut root = Browser::new(&server, &node);
    root.sign_in("root").await;
    root.client().get(AUDIT).await.ok();
    let mut guest = Browser::new(&server, &node);
    let refused = guest.sign_in("guest").await.refusal(403);
    assert!(refused.contains("oidc:guest") && refused.contains("management.oidc.roles"), "{refused}");
    guest.client().get(SESSION).await.refusal(401);
}

#[tokio::test]
async fn what_did_not_begin_in_this_browser_does_not_end_in_it() {
    let Some(mut node) = Node::start() else { return };
    let server = server(&mut node);
    // Somebody sends their own way back to somebody else.
    let mut mallory = Browser::new(&server, &node);
    let way_back = mallory.way_back("ann").await;
    Client::anonymous(&server).get(&way_back).await.refusal(400);
    let mut other = Browser::new(&server, &node);
    other.get_from_fleet(LOGIN).await;
    let refused = other.get_from_fleet(&way_back).await.refusal(400);
    assert!(refused.contains("[request query.state]"), "{refused}");
    // The code is good once.
    let used = mallory.get_from_fleet(&way_back).await;
    assert_eq!(used.status, 303, "{}", used.text);

    let mut again = Browser::new(&server, &node);
    let way_back = again.way_back("ann").await;
    let with = |name: &str, value: &str| {
        let (path, query) = way_back.split_once('?').expect("a query");
        let kept = query.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
        format!("{path}?{}&{name}={value}", kept.collect::<Vec<_>>().join("&"))
    };
    again.get_from_fleet(&with("state", "x")).await.refusal(400);
    again.get_from_fleet(&with("iss", "https://evil.example")).await.refusal(400);
    again.get_from_fleet(&with("code", "x")).await.refusal(502);
    let denied = again.get_from_fleet(&format!("{}&error=access_denied", with("code", "x"))).await;
    assert!(denied.refusal(403).contains("access_denied"));
}

#[tokio::test]
async fn without_a_provider_that_answers_nobody_is_sent_there() {
    let server = Server::start(&[]);
    assert!(Client::anonymous(&server).get(LOGIN).await.refusal(404).contains("management.oidc"));
    Client::anonymous(&server).get(CALLBACK).await.refusal(404);
    let server = Server::start(&[
        format!("management.oidc.issuer=http://127.0.0.1:{}", free_port()),
        "management.oidc.client_id=fleet".to_owned(),
        format!("management.oidc.redirect_uri=http://127.0.0.1:5601{CALLBACK}"),
        "management.oidc.roles.viewer=all".to_owned(),
    ]);
    let message = Client::anonymous(&server).get(LOGIN).await.refusal(502);
    assert!(message.contains("identity provider"), "{message}");
}
