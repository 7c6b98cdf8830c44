//! Enrolment keys and service tokens.

use serde_json::{Value, json};

use super::crowd::Crowd;
use crate::people::somebody;

const KEYS: &str = "/api/fleet/enrollment_api_keys";

#[tokio::test]
async fn keys_are_listed_made_revoked_and_removed() {
    let crowd = Crowd::new().await;
    let (other, _) = crowd.manager.make_policy("db").await;
    let body = json!({"policy_id": crowd.policy, "name": "more", "expiration": "24h", "max_uses": 2});
    let made = crowd.manager.post(KEYS, &body).await;
    assert_eq!(
        (&made["action"], &made["item"]["active"], &made["item"]["max_uses"]),
        (&json!("created"), &json!(true), &json!(2))
    );
    let id = made["item"]["id"].as_str().unwrap();
    for (query, total) in [
        (format!("kuery=policy_id:%22{}%22", crowd.policy), 2),
        (format!("kuery=policy_id:{other}&perPage=1"), 1),
        ("kuery=active:true%20and%20name:more*".to_owned(), 1),
        (format!("kuery=fleet-enrollment-api-keys.policy_id:{other}"), 1),
        ("kuery=policy_id:nobody".to_owned(), 0),
    ] {
        let listed = crowd.manager.get(&format!("{KEYS}?{query}")).await;
        assert_eq!(listed["total"], total, "{query}: {listed}");
        assert_eq!(listed["items"], listed["list"]);
    }
    let page = crowd.manager.get(&format!("{KEYS}?page=2&perPage=1")).await;
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["page"], &page["perPage"]),
        (1, &json!(2), &json!(1))
    );
    crowd.refused("GET", &format!("{KEYS}?kuery=policy_id:"), &Value::Null, 400).await;

    let one = format!("{KEYS}/{id}");
    assert_eq!(crowd.manager.ask("DELETE", &one, None).await.1, json!({"action": "deleted"}));
    assert_eq!(crowd.manager.get(&one).await["item"]["active"], false);
    assert_eq!(crowd.manager.ask("DELETE", &format!("{one}?forceDelete=true"), None).await.0, 200);
    crowd.refused("GET", &one, &Value::Null, 404).await;
    for (body, told) in [
        (json!({"policy_id": "nobody"}), "[request body.policy_id]: Agent policy \"nobody\" not found"),
        (json!({"policy_id": crowd.policy, "expiration": "soon"}), "[request body.expiration]"),
        (json!({"policy_id": crowd.policy, "max_uses": 0}), "[request body.max_uses]"),
        (json!({"policy_id": crowd.policy, "name": "x".repeat(300)}), "[request body.name]"),
        (json!({"name": "x"}), "[request body"),
    ] {
        let message = crowd.refused("POST", KEYS, &body, 400).await;
        assert!(message.starts_with(told), "{message}");
    }
}

#[tokio::test]
async fn a_grant_gives_the_keys_of_its_policy() {
    let crowd = Crowd::new().await;
    let (other, _) = crowd.manager.make_policy("db").await;
    let foreign = crowd.manager.get(&format!("{KEYS}?kuery=policy_id:{other}")).await;
    let foreign = format!("{KEYS}/{}", foreign["items"][0]["id"].as_str().unwrap());
    let grants = json!([{"policy_id": crowd.policy, "role": "editor"}]);
    let ann = somebody(&crowd.server, "ann", json!([]), grants).await;
    assert_eq!(ann.get(KEYS).await.ok()["total"], 1);
    ann.get(&foreign).await.refusal(404);
    ann.delete(&foreign).await.refusal(404);
    ann.post(KEYS, &json!({"policy_id": other})).await.refusal(403);
    ann.post(KEYS, &json!({"policy_id": crowd.policy})).await.ok();
}

#[tokio::test]
async fn service_tokens_are_shown_once() {
    let crowd = Crowd::new().await;
    let path = "/api/fleet/service_tokens";
    for body in [json!({}), json!({"remote": true}), json!({"name": "site"})] {
        let made = crowd.manager.post(path, &body).await;
        assert!(made["value"].as_str().unwrap().len() > 40 && made["name"].is_string(), "{made}");
        let listed = crowd.manager.get(path).await;
        assert!(!listed.to_string().contains(made["value"].as_str().unwrap()));
        let one = format!("{path}/{}", made["id"].as_str().unwrap());
        assert_eq!(crowd.manager.ask("DELETE", &one, None).await.0, 200);
    }
    let listed = crowd.manager.get(path).await;
    assert_eq!(listed["total"], 3);
    assert!(listed["items"].as_array().unwrap().iter().all(|token| token["revoked"] == true));
    let message = crowd.refused("POST", path, &json!({"remote": "yes"}), 400).await;
    assert!(message.starts_with("[request body.remote]"), "{message}");
}
