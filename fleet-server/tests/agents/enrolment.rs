//! Who may enrol, and as whom.

use http::StatusCode;
use serde_json::json;

use crate::agent::{Agent, Way, enrolment, request};
use crate::manager::Manager;
use crate::server::Server;

const PATH: &str = "/api/fleet/agents/enroll";

#[tokio::test]
async fn the_answer_tells_what_agents_need() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let answer = way.send(request("POST", PATH, &key, &enrolment("web-1"))).await;
    let item = &answer.body["item"];
    assert_eq!(answer.body["action"], "created");
    assert_eq!((item["type"].as_str(), item["active"].as_bool()), (Some("PERMANENT"), Some(true)));
    assert_eq!((item["policy_id"].as_str(), item["status"].as_str()), (Some(&*policy), Some("online")));
    assert_eq!(item["local_metadata"]["elastic"]["agent"]["id"], item["id"]);
    assert_eq!(item["tags"], json!(["test"]));
    assert_eq!(answer.headers["x-request-id"], "01KAN5J6P5ZVE6QXGZBRYKX3ZJ");
    assert_eq!(answer.headers["elastic-api-version"], "2023-06-01");
}

#[tokio::test]
async fn a_key_ends_by_revocation_time_and_use() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let made = json!({"policy_id": policy, "name": "twice", "max_uses": 2});
    let twice = manager.post("/api/fleet/enrollment_api_keys", &made).await;
    let twice = twice["item"]["api_key"].as_str().unwrap();
    for _ in 0..2 {
        Agent::enrol(&way, twice, "web-1").await;
    }
    let refused = way.send(request("POST", PATH, twice, &enrolment("web-1"))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.body["message"].as_str().unwrap().contains("used up"), "{}", refused.body);

    let keys = manager.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{policy}")).await;
    let id =
        keys["items"].as_array().unwrap().iter().find(|item| item["api_key"] == *key).unwrap()["id"].clone();
    let path = format!("/api/fleet/enrollment_api_keys/{}", id.as_str().unwrap());
    assert_eq!(manager.ask("DELETE", &path, None).await.0, StatusCode::OK);
    let refused = way.send(request("POST", PATH, &key, &enrolment("web-1"))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(
        refused.body["message"].as_str().unwrap().contains("inactive enrollment key"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn only_who_has_the_token_takes_the_place_of_an_active_agent() {
    let server = Server::start(&["inputs.0.server.pdkdf2.iterations=1000".to_owned()]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let (_, other_key) = manager.make_policy("other").await;
    let with = |token: &str| {
        let mut body = enrolment("web-1");
        body["id"] = "pod-7".into();
        body["replace_token"] = token.into();
        body
    };
    let first = way.send(request("POST", PATH, &key, &with("secret"))).await;
    assert_eq!((first.status, first.body["item"]["id"].as_str()), (StatusCode::OK, Some("pod-7")));
    for (key, token) in [(&key, "wrong"), (&key, ""), (&other_key, "secret")] {
        let refused = way.send(request("POST", PATH, key, &with(token))).await;
        assert_eq!(
            (refused.status, refused.body["error"].as_str()),
            (StatusCode::FORBIDDEN, Some("AgentNotReplaceable"))
        );
    }
    let second = way.send(request("POST", PATH, &key, &with("secret"))).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.body);
    // The first one's key is good no more.
    let mut old = Agent::of(&first, "web-1");
    assert_eq!(old.checkin(&way).await.status, StatusCode::UNAUTHORIZED);
    let mut new = Agent::of(&second, "web-1");
    assert_eq!(new.checkin(&way).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_attempt_that_is_repeated_makes_one_agent() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (policy, key) = manager.make_policy("web").await;
    let mut body = enrolment("web-1");
    body["enrollment_id"] = "attempt-1".into();
    for _ in 0..3 {
        assert_eq!(way.send(request("POST", PATH, &key, &body)).await.status, StatusCode::OK);
    }
    let agents = manager.get(&format!("/api/fleet/agents?kuery=policy_id:{policy}")).await;
    assert_eq!(agents["total"], 1, "{agents}");
}

#[tokio::test]
async fn a_key_of_the_configuration_enrols_into_its_policy() {
    let setting = "inputs.0.server.static_policy_tokens";
    let server = Server::start(&[
        format!("{setting}.enabled=true"),
        format!("{setting}.policy_tokens.0.token_key=abcdefghijkl"),
        format!("{setting}.policy_tokens.0.policy_id=default"),
    ]);
    let way = Way::to(&server);
    // "whatever:abcdefghijkl" and "whatever:another"
    let good = "d2hhdGV2ZXI6YWJjZGVmZ2hpamts";
    let wrong = "d2hhdGV2ZXI6YW5vdGhlcg==";
    let enrolled = way.send(request("POST", PATH, good, &enrolment("web-1"))).await;
    assert_eq!(enrolled.body["item"]["policy_id"], "default", "{}", enrolled.body);
    let refused = way.send(request("POST", PATH, wrong, &enrolment("web-1"))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}
