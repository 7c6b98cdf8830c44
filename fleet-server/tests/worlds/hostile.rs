//! Bodies that no agent sends: each is answered, none is a fault of the server, and nobody else notices.

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::world::World;

/// How many bodies each route is sent.
const BODIES: u64 = 400;

/// A body in which anything may stand anywhere.
fn body(random: &mut StdRng, depth: u32) -> Value {
    const KEYS: [&str; 24] = [
        "type",
        "id",
        "metadata",
        "local",
        "tags",
        "user_provided",
        "status",
        "message",
        "ack_token",
        "local_metadata",
        "components",
        "poll_timeout",
        "upgrade_details",
        "agent_policy_id",
        "policy_revision_idx",
        "upgrade",
        "events",
        "action_id",
        "agent_id",
        "error",
        "payload",
        "reason",
        "timestamp",
        "enrollment_id",
    ];
    const TEXTS: [&str; 14] = [
        "",
        "PERMANENT",
        "online",
        "DEGRADED",
        "policy:web:1",
        "policy:web:99999999999999999999",
        "5m",
        "-1h",
        "\u{0}\u{1F600}",
        "uninstall",
        "2026-01-01T00:00:00Z",
        "9999-99-99T99:99:99Z",
        "../../x",
        "web",
    ];
    match random.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => random.random_bool(0.5).into(),
        2 => [json!(0), json!(-1), json!(u64::MAX), json!(1e308), json!(i64::MIN)]
            .choose(random)
            .cloned()
            .unwrap_or_default(),
        3 | 4 => TEXTS.choose(random).copied().unwrap_or_default().into(),
        5 => (0..random.random_range(0..4)).map(|_| body(random, depth - 1)).collect(),
        _ => {
            let members = (0..random.random_range(0..8)).map(|_| {
                let key = KEYS.choose(random).copied().unwrap_or_default();
                (key.to_owned(), body(random, depth - 1))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[test]
fn no_body_is_a_fault_of_the_server() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::begin(1).await;
        let (id, key) = world.enrol().await;
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..BODIES {
            for last in ["enroll", "checkin", "acks", "audit/unenroll"] {
                let is_enrolment = last == "enroll";
                let path = if is_enrolment {
                    "/api/fleet/agents/enroll".to_owned()
                } else {
                    format!("/api/fleet/agents/{id}/{last}")
                };
                let used = if is_enrolment { world.enrolment_key() } else { &key };
                let sent = body(&mut random, 4);
                let (status, answer) = world.send(Method::POST, &path, used, &sent).await;
                let is_expected = status == StatusCode::OK || status.is_client_error();
                assert!(
                    is_expected && status != StatusCode::UNAUTHORIZED,
                    "{path} {sent}: {status} {answer}"
                );
            }
        }
        let good =
            json!({"status": "online", "message": "", "agent_policy_id": "web", "policy_revision_idx": 0});
        let path = format!("/api/fleet/agents/{id}/checkin");
        let (status, answer) = world.send(Method::POST, &path, &key, &good).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["actions"][0]["type"], "POLICY_CHANGE");
    });
}
