use serde_json::{Value, json};

use super::{POLICIES, SESSION, SOME_PASSWORD, USERS, policy, somebody};
use crate::client::{Answer, Client};
use crate::server::{PASSWORD, Server};

async fn sign_in(server: &Server, name: &str, password: &str) -> Answer {
    Client::anonymous(server).post(SESSION, &json!({"username": name, "password": password})).await
}

/// A browser that is signed in, and the token against forged requests.
async fn browser(server: &Server, name: &str, password: &str) -> (Client, String) {
    let answer = sign_in(server, name, password).await;
    let cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    let token = answer.ok()["item"]["csrf_token"].as_str().expect("a token").to_owned();
    (Client::anonymous(server).with("cookie", format!("theme=dark; {cookie}")), token)
}

#[tokio::test]
async fn somebody_signs_in_works_and_signs_out() {
    let server = Server::start(&[]);
    let answer = sign_in(&server, "admin", PASSWORD).await;
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.starts_with("fleet_session="), "{cookie}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // There is no TLS on this connection.
    assert!(!cookie.contains("Secure"), "{cookie}");
    let item = answer.ok()["item"].take();
    assert_eq!((&item["username"], &item["roles"]), (&json!("admin"), &json!(["admin"])));
    assert_eq!(item["grants"], json!([]));
    assert!(item["expires_at"].is_string());

    let (browser, token) = browser(&server, "admin", PASSWORD).await;
    let shown = browser.get(SESSION).await.ok();
    assert_eq!(shown["item"]["csrf_token"], token);
    let body = json!({"name": "web", "namespace": "default"});
    let refused = browser.post(POLICIES, &body).await.refusal(403);
    assert!(refused.contains("x-csrf-token"), "{refused}");
    browser.with("x-csrf-token", "x").post(POLICIES, &body).await.refusal(403);
    let page = browser.with("x-csrf-token", token);
    page.with("sec-fetch-site", "cross-site").post(POLICIES, &body).await.refusal(403);
    page.with("sec-fetch-site", "same-origin").post(POLICIES, &body).await.ok();

    browser.delete(SESSION).await.refusal(403);
    let gone = page.delete(SESSION).await;
    assert!(gone.header("set-cookie").contains("fleet_session=; Path=/; Max-Age=0"));
    gone.ok();
    let over = browser.get(POLICIES).await;
    assert_eq!(over.header("www-authenticate"), "", "a browser would ask for a password over the page");
    over.refusal(401);
}

#[tokio::test]
async fn a_session_outlives_the_server_and_ends_with_a_change_of_its_user() {
    let server = Server::start(&[]);
    somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    let (_, token) = browser(&server, "ann", SOME_PASSWORD).await;
    let (before, _) = browser(&server, "ann", SOME_PASSWORD).await;
    let server = server.restart();
    before.get(POLICIES).await.ok();
    let admin = Client::admin(&server);
    admin.put(&format!("{USERS}/ann"), &json!({"full_name": "Ann"})).await.ok();
    before.get(POLICIES).await.ok();
    admin.put(&format!("{USERS}/ann"), &json!({"roles": ["editor"]})).await.ok();
    before.get(POLICIES).await.refusal(401);
    let (after, other) = browser(&server, "ann", SOME_PASSWORD).await;
    assert_ne!(token, other);
    policy(&after.with("x-csrf-token", other), "web").await;
    admin.put(&format!("{USERS}/ann"), &json!({"enabled": false})).await.ok();
    after.get(POLICIES).await.refusal(401);
    sign_in(&server, "ann", SOME_PASSWORD).await.refusal(401);
}

#[tokio::test]
async fn who_signs_in_with_each_request_has_no_session() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let shown = admin.get(SESSION).await.ok();
    assert_eq!((&shown["item"]["username"], &shown["item"]["csrf_token"]), (&json!("admin"), &Value::Null));
    admin.delete(SESSION).await.refusal(400);
    let nobody = Client::anonymous(&server).get(SESSION).await;
    assert!(nobody.header("www-authenticate").starts_with("Basic"));
    nobody.refusal(401);
    let forged = format!("fleet_session={}", "0".repeat(43));
    Client::anonymous(&server).with("cookie", forged).get(SESSION).await.refusal(401);
    Client::anonymous(&server).with("authorization", "Bearer x").get(SESSION).await.refusal(401);
}

#[tokio::test]
async fn other_pages_sign_nobody_in() {
    let server = Server::start(&[]);
    let body = json!({"username": "admin", "password": PASSWORD});
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        Client::anonymous(&server).with(name, value).post(SESSION, &body).await.refusal(403);
    }
    let same = Client::anonymous(&server).with("origin", "http://localhost");
    same.post(SESSION, &body).await.ok();
}

#[tokio::test]
async fn bad_sign_ins_name_the_field() {
    let server = Server::start(&[]);
    let client = Client::anonymous(&server);
    for (body, field) in [
        (json!({}), "username"),
        (json!({"username": "admin"}), "password"),
        (json!({"username": 1, "password": "x"}), "username"),
        (json!({"username": "admin", "password": null}), "password"),
    ] {
        let message = client.post(SESSION, &body).await.refusal(400);
        assert!(message.contains(field), "{message}");
    }
    for name in ["", "a\u{0}b", &"x".repeat(5000), "nobody", "../admin"] {
        sign_in(&server, name, "wrong password").await.refusal(401);
    }
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_the_name_for_a_while() {
    let server = Server::start(&[]);
    somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    let mut wrong = 0;
    let locked = loop {
        let answer = sign_in(&server, "ann", "wrong password").await;
        if answer.status == 429 {
            break answer;
        }
        answer.refusal(401);
        wrong += 1;
        assert!(wrong < 10, "it is never locked");
    };
    assert_eq!(wrong, 5);
    assert_eq!(locked.header("retry-after"), "1");
    assert!(locked.refusal(429).contains("try again in"));
    // Each further failure doubles the wait: on until it is longer than the rest of this test takes.
    let began = tokio::time::Instant::now();
    loop {
        let answer = sign_in(&server, "ann", "wrong password").await;
        if answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 8) {
            break;
        }
        assert!(began.elapsed().as_secs() < 60, "the wait does not grow");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sign_in(&server, "ann", SOME_PASSWORD).await.refusal(429);
    Client::by_password(&server, "ann", SOME_PASSWORD).get(SESSION).await.refusal(429);
    // Others are not in its way.
    sign_in(&server, "admin", PASSWORD).await.ok();
}

#[tokio::test]
async fn behind_a_proxy_each_client_is_counted_by_its_own_address() {
    let server = Server::start(&["management.trusted_proxies=127.0.0.1".to_owned()]);
    somebody(&server, "ann", json!(["viewer"]), json!([])).await;
    let from = |address: &str| {
        let headers = format!("127.0.0.1, {address}");
        Client::anonymous(&server).with("x-forwarded-for", headers).with("x-forwarded-proto", "https")
    };
    let (mallory, ann) = (from("192.0.2.7"), from("198.51.100.1"));
    let wrong = json!({"username": "ann", "password": "wrong password"});
    let began = tokio::time::Instant::now();
    loop {
        let answer = mallory.post(SESSION, &wrong).await;
        if answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 8) {
            break;
        }
        assert!(began.elapsed().as_secs() < 60, "the wait does not grow");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let right = json!({"username": "ann", "password": SOME_PASSWORD});
    mallory.post(SESSION, &right).await.refusal(429);
    let signed_in = ann.post(SESSION, &right).await;
    assert!(signed_in.header("set-cookie").ends_with("; Secure"), "{signed_in:?}");
    let entries = Client::admin(&server).get("/api/fleet/audit?kind=session&user=ann").await.ok();
    assert_eq!(
        (&entries["items"][0]["status"], &entries["items"][0]["remote"]),
        (&json!(200), &json!("198.51.100.1"))
    );
}
