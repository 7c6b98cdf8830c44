//! Requests: who asks, what is tried again, how refusals are told.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::User;
use crate::api::{Api, refused};
use crate::http::{Answer, Server};

fn busy(status: u16, seconds: u64) -> Answer {
    Answer { headers: vec![("Retry-After", seconds.to_string())], ..refused(status, "busy") }
}

fn some_policies(count: usize) -> Api {
    let api = Api::default();
    for number in 0..count {
        api.add("agent_policies", json!({"id": format!("p{number:04}"), "name": format!("Policy {number}")}));
    }
    api
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let server = some_policies(1).serve().await;
    let run = User::of(&server).with("FLEET_API_KEY", "aWQ6a2V5").run(&["policy", "list"]).await;
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let user = User::of(&server);
    let password = user.file("password", "secret\n");
    let run = user.run(&["policy", "--user", "me", "list", "--password-file", &password]).await;
    assert_eq!(run.code, 0, "{run}");
    let requests = server.requests();
    assert_eq!(requests[0].header("authorization"), Some("ApiKey aWQ6a2V5"));
    assert_eq!(requests[1].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    for request in &requests {
        assert!(request.header("kbn-xsrf").is_some());
        assert_eq!(request.header("elastic-api-version"), Some("2023-10-31"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_when_it_says() {
    let api = some_policies(1);
    api.next([busy(429, 3), busy(503, 4)]);
    let server = api.serve().await;
    let start = Instant::now();
    let run = User::of(&server).run(&["policy", "show", "p0000", "-o", "id"]).await;
    assert_eq!((run.out.as_str(), run.code), ("p0000\n", 0), "{run}");
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_busy_is_given_up() {
    let api = some_policies(1);
    api.next((0..20).map(|_| busy(429, 86_400)));
    let server = api.serve().await;
    let start = Instant::now();
    let run = User::of(&server).run(&["policy", "list"]).await;
    assert_eq!((run.err.as_str(), run.code), ("busy\n", 1));
    assert_eq!(server.requests().len(), 5);
    assert!(start.elapsed() <= Duration::from_secs(4 * 30));
}

/// Unavailable may mean that the work was done: doing it twice would be worse than telling.
#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_is_not_done_again() {
    let api = some_policies(1);
    api.next([busy(503, 1)]);
    let server = api.serve().await;
    let run = User::of(&server).run(&["policy", "create", "New"]).await;
    assert_eq!((run.err.as_str(), run.code), ("busy\n", 1));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn refusals_name_the_field_and_the_fix() {
    let api = some_policies(1);
    let server = api.serve().await;
    let user = User::of(&server);
    api.next([refused(400, "[request body.namespace]: only lower-case letters: use default")]);
    let run = user.run(&["policy", "create", "New"]).await;
    assert_eq!((run.err.as_str(), run.code), ("namespace: only lower-case letters: use default\n", 1));
    api.next([refused(401, "unauthorized")]);
    let run = user.run(&["policy", "list"]).await;
    assert!(run.err.contains("unauthorized\n") && run.err.contains("fleetctl login URL"), "{run}");
    api.next([Answer::new(200, "<html>")]);
    let run = user.run(&["policy", "list"]).await;
    assert!(run.err.contains("is this the management API of a fleet-server?"), "{run}");
    api.next([Answer::json(200, &json!({"rows": []}))]);
    let run = user.run(&["policy", "list"]).await;
    assert!(run.err.contains("the answer has no items"), "{run}");
    api.next([Answer::new(0, "")]);
    let run = user.run(&["policy", "list"]).await;
    assert!(run.err.contains("the server closed the connection"), "{run}");
}

#[tokio::test]
async fn lists_are_followed_to_their_end_or_the_limit() {
    for api in [some_policies(450), some_policies(450).with_cursor()] {
        let server = api.serve().await;
        let user = User::of(&server);
        let run = user.run(&["policy", "list", "-o", "id"]).await;
        assert_eq!((run.out.lines().count(), run.err.as_str()), (450, ""));
        assert_eq!(server.requests().len(), 5, "pages have 100 here at most: {:?}", server.log());
        let run = user.run(&["policy", "list", "-o", "id", "--limit", "250"]).await;
        assert_eq!(run.out.lines().count(), 250);
        assert_eq!(run.err, "250 of 450 are shown: --limit N gives more, --limit 0 all\n");
        let run = user.run(&["policy", "list", "--limit", "450", "-o", "json"]).await;
        assert_eq!((run.err.as_str(), run.code), ("", 0));
        let items: Vec<serde_json::Value> = serde_json::from_str(&run.out).unwrap();
        assert_eq!(items.len(), 450);
    }
}

#[tokio::test]
async fn the_pages_of_actions_count_from_zero() {
    let api = Api::default();
    for number in 0..150 {
        api.add("agents/action_status", json!({"actionId": format!("act-{number:03}")}));
    }
    let server = api.serve().await;
    let run = User::of(&server).run(&["action", "list", "-o", "id"]).await;
    assert_eq!(run.out.lines().count(), 150, "{:?}", server.log());
    assert!(run.out.starts_with("act-000\n"), "{run}");
}

/// Some lists have no pages: whoever asks for the second gets the first again.
#[tokio::test]
async fn a_list_without_pages_is_read_once() {
    let items: Vec<_> = (0..200).map(|number| json!({"id": number.to_string()})).collect();
    let answer = Answer::json(200, &json!({"items": items}));
    let server = Server::start(move |_| answer.clone()).await;
    let run = User::of(&server).run(&["service-token", "list", "-o", "id"]).await;
    assert_eq!((run.out.lines().count(), run.code), (200, 0), "{:?}", server.log());
}

#[tokio::test]
async fn names_are_found_where_only_one_has_them() {
    let api = some_policies(300);
    api.add("agent_policies", json!({"id": "a", "name": "Twin"}));
    api.add("agent_policies", json!({"id": "b", "name": "Twin"}));
    let server = api.serve().await;
    let user = User::of(&server);
    let run = user.run(&["policy", "show", "Policy 299", "-o", "id"]).await;
    assert_eq!((run.out.as_str(), run.code), ("p0299\n", 0), "{run}");
    let run = user.run(&["policy", "show", "Twin"]).await;
    assert_eq!(
        (run.err.as_str(), run.code),
        ("2 agent policy objects have the name \"Twin\": give the id: a, b\n", 1)
    );
    let run = user.run(&["policy", "show", ".."]).await;
    assert!(run.err.contains("no agent policy has the id or name \"..\""), "{run}");
    assert!(server.log().iter().all(|line| !line.contains("agent_policies/..")), "{:?}", server.log());
}

#[tokio::test]
async fn a_space_or_proxy_may_stand_before_the_path() {
    let server = Server::start(|request| {
        let path = request.path.strip_prefix("/proxied/s/team").unwrap_or_default();
        if path == "/api/fleet/outputs" {
            Answer::json(200, &json!({"items": [], "total": 0}))
        } else {
            refused(404, "Not Found")
        }
    })
    .await;
    let url = format!("{}/proxied/s/team/", server.url);
    let run = User::new().run(&["output", "list", "--server", &url]).await;
    assert_eq!((run.err.as_str(), run.code), ("", 0));
}
