//! Following actions and roll-outs.

use serde_json::json;
use tokio::time::Instant;

use crate::User;
use crate::api::{Api, refused};
use crate::http::Answer;

/// An action of ten agents, one more of which has done it at each look.
fn working(failed: u64, end: &'static str) -> Api {
    let api = Api::default();
    let mut done = 0;
    api.hook(move |_, request| {
        if request.path != "/api/fleet/agents/action_status" {
            return None;
        }
        done += 4;
        let is_over = done >= 10 - failed;
        let status = if is_over { end } else { "IN_PROGRESS" };
        Some(Answer::json(
            200,
            &json!({"items": [{"actionId": "act", "type": "UPGRADE", "status": status, "nbAgentsActioned": 10,
                "nbAgentsAck": done.min(10 - failed), "nbAgentsFailed": if is_over { failed } else { 0 }}]}),
        ))
    });
    api
}

#[tokio::test(start_paused = true)]
async fn an_action_is_followed_to_its_end() {
    let server = working(0, "COMPLETE").serve().await;
    insta::assert_snapshot!(User::of(&server).run(&["agent", "watch", "act"]).await, @r"
    4 of 10 agents done: IN_PROGRESS
    8 of 10 agents done: IN_PROGRESS
    10 of 10 agents done: COMPLETE
    exit 0
    ");
    let server = working(3, "FAILED").serve().await;
    let run = User::of(&server).run(&["agent", "watch", "act"]).await;
    assert!(run.out.ends_with("7 of 10 agents done, 3 failed: FAILED\n"), "{run}");
    assert_eq!(run.code, 1);
}

#[tokio::test(start_paused = true)]
async fn a_person_sees_a_bar() {
    let server = working(0, "COMPLETE").serve().await;
    let run = User::of(&server).run_at(&["agent", "watch", "act"], true).await;
    assert_eq!(run.out, "10 of 10 agents done: COMPLETE\n");
    assert!(
        run.err.contains("\r\u{1b}[K[############..................] 4 of 10 agents done: IN_PROGRESS"),
        "{run}"
    );
    assert!(run.err.ends_with("\r\u{1b}[K"), "the bar is wiped away: {run}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_a_while_is_asked_again() {
    let api = working(0, "COMPLETE");
    api.next([refused(500, "trouble"), refused(500, "trouble"), Answer::new(0, "")]);
    let server = api.serve().await;
    let run = User::of(&server).run(&["agent", "watch", "act"]).await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.err.matches("trouble").count(), 1, "told once: {run}");
    assert!(run.err.contains("closed the connection"), "{run}");
    api.next([refused(401, "unauthorized")]);
    let run = User::of(&server).run(&["agent", "watch", "act"]).await;
    assert_eq!(run.code, 1, "asking again cannot help: {run}");
}

#[tokio::test(start_paused = true)]
async fn the_time_can_run_out() {
    let api = Api::default();
    api.add(
        "agents/action_status",
        json!({"actionId": "act", "status": "IN_PROGRESS", "nbAgentsActioned": 2}),
    );
    let server = api.serve().await;
    let start = Instant::now();
    let run = User::of(&server).run(&["agent", "watch", "act", "--timeout", "61", "--interval", "10"]).await;
    assert_eq!(run.code, 124);
    assert_eq!(run.err, "The time has run out: 0 of 2 agents done: IN_PROGRESS\n");
    assert_eq!(start.elapsed().as_secs(), 61);
    let run = User::of(&server).run(&["agent", "watch", "other"]).await;
    assert_eq!((run.err.as_str(), run.code), ("there is no action other\n", 1));
}

#[tokio::test(start_paused = true)]
async fn a_roll_out_ends_when_every_agent_has_the_newest_revision() {
    let api = Api::default();
    api.add("agent_policies", json!({"id": "web", "name": "Web", "revision": 3}));
    for id in ["a", "b"] {
        api.add("agents", json!({"id": id, "policy_id": "web", "policy_revision": 2}));
    }
    let mut looks = 0;
    api.hook(move |api, request| {
        if request.path == "/api/fleet/agent_policies/web" {
            looks += 1;
            match looks {
                3 => api.change("agents", "a", |agent| agent["policy_revision"] = 3.into()),
                // Saved again while it is rolled out: the newest counts.
                4 => api.change("agent_policies", "web", |policy| policy["revision"] = 4.into()),
                5 => {
                    for id in ["a", "b"] {
                        api.change("agents", id, |agent| agent["policy_revision"] = 4.into());
                    }
                }
                _ => {}
            }
        }
        None
    });
    let server = api.serve().await;
    insta::assert_snapshot!(User::of(&server).run(&["agent", "watch", "--policy", "web"]).await, @r"
    0 of 2 agents done: revision 3
    1 of 2 agents done: revision 3
    0 of 2 agents done: revision 4
    2 of 2 agents done: revision 4
    exit 0
    ");
}
