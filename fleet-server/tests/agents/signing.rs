//! The key that signs for agents is changed under them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::agent::{Agent, Answer, Way};
use crate::manager::Manager;
use crate::server::Server;
use crate::stores::Store;

const SERVICE: &str = "/api/fleet/message_signing_service";
const ROTATE: &str = "/api/fleet/message_signing_service/rotate_key_pair?acknowledge=true";
/// The keeper looks every fifteen seconds, and may have to be replaced first.
const RETIRED_MAX: Duration = Duration::from_secs(60);

/// Whether `signed` is by the key, as `signature` or `previous_signature`.
fn is_by(key: &str, signed: &Value, signature: &str) -> bool {
    let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap_or_default()).unwrap();
    let spki = STANDARD.decode(key).unwrap();
    // The point is at the end of a SubjectPublicKeyInfo.
    let point = &spki[spki.len() - 65..];
    let data = bytes(&signed["data"]);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&data, &bytes(&signed[signature])).is_ok()
}

fn policy_of(answer: &Answer) -> &Value {
    let actions = answer.body["actions"].as_array().unwrap();
    let change = actions.iter().find(|action| action["type"] == "POLICY_CHANGE");
    &change.unwrap_or_else(|| panic!("no policy: {}", answer.body))["data"]["policy"]
}

/// What signs the action with this id, in an answer.
fn signed<'a>(answer: &'a Answer, id: &str) -> &'a Value {
    let actions = answer.body["actions"].as_array().unwrap();
    let action = actions.iter().find(|action| action["id"] == id);
    &action.unwrap_or_else(|| panic!("no {id}: {}", answer.body))["signed"]
}

async fn upgrade(manager: &Manager, agent: &Agent) -> String {
    let body = json!({"agents": [agent.id], "version": "9.6.0", "force": true});
    let asked = manager.post("/api/fleet/agents/bulk_upgrade", &body).await;
    asked["actionId"].as_str().unwrap_or_else(|| panic!("no action: {asked}")).to_owned()
}

async fn await_retired(manager: &Manager) {
    let began = Instant::now();
    loop {
        let shown = manager.get(SERVICE).await["item"].clone();
        if shown["previous"].is_null() {
            return;
        }
        assert!(began.elapsed() < RETIRED_MAX, "{shown}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn each_agent_gets_what_the_key_that_it_knows_has_signed() {
    for store in Store::both() {
        let server = store.start_server();
        // On etcd the key is changed at another server than the agents speak to.
        let beside = matches!(store, Store::Etcd(_)).then(|| server.start_beside());
        let (way, manager) = (Way::to(&server), Manager::of(beside.as_ref().unwrap_or(&server)));
        let (policy, key) = manager.make_policy("web").await;
        let mut agents = Vec::new();
        for name in ["quick", "slow"] {
            let mut agent = Agent::enrol(&way, &key, name).await;
            let answer = agent.checkin(&way).await;
            agent.apply(&way, &answer).await;
            agents.push(agent);
        }
        let [mut quick, mut slow] = agents.try_into().ok().unwrap();
        let first = manager.get(SERVICE).await["item"]["public_key"].as_str().unwrap().to_owned();
        let early = upgrade(&manager, &quick).await;

        let changed = manager.post(ROTATE, &Value::Null).await["item"].clone();
        let second = changed["public_key"].as_str().unwrap().to_owned();
        assert_ne!(first, second);
        assert_eq!(changed["previous"]["public_key"], first.as_str());

        // The policy says which key is the new one, and is signed by both.
        let mut answer = quick.checkin(&way).await;
        assert!(is_by(&first, signed(&answer, &early), "signature"), "{}", answer.body);
        while !answer.actions().iter().any(|id| id.starts_with("policy:")) {
            // As if the answer had been lost.
            quick.token = String::new();
            answer = quick.checkin(&way).await;
        }
        let told = policy_of(&answer);
        assert_eq!(told["agent"]["protection"]["signing_key"], second.as_str());
        assert!(is_by(&second, &told["signed"], "signature"), "{told}");
        assert!(is_by(&first, &told["signed"], "previous_signature"), "{told}");
        quick.running = Some((policy.clone(), 2));
        quick.token = String::new();
        // It has the new key now, and is handed out what was signed with the one before.
        let answer = quick.checkin(&way).await;
        assert!(is_by(&second, signed(&answer, &early), "signature"), "{}", answer.body);

        // The other one has not heard of the new key.
        let late = upgrade(&manager, &slow).await;
        slow.running = Some((policy.clone(), 1));
        let answer = slow.checkin(&way).await;
        assert!(is_by(&first, signed(&answer, &late), "signature"), "{}", answer.body);

        // Until it has, the key before stays, and there is no third one.
        let left = manager.get(SERVICE).await["item"]["previous"].clone();
        assert_eq!((&left["agents_left"], &left["policies_left"]), (&json!(1), &json!(0)), "{left}");
        let (status, refused) = manager.ask("POST", ROTATE, None).await;
        assert_eq!(status, 409, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains("force=true"), "{refused}");
        slow.running = Some((policy.clone(), 2));
        let held = tokio::spawn({
            let (mut agent, way) = (slow.clone(), way.clone());
            async move { agent.checkin(&way).await }
        });
        await_retired(&manager).await;
        let revision = manager.save_policy(&policy, "after").await;
        let answer = held.await.unwrap();
        let told = policy_of(&answer);
        assert_eq!((&told["revision"], told["signed"].get("previous_signature")), (&json!(revision), None));
        assert!(is_by(&second, &told["signed"], "signature"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_while_the_key_is_changed_ships_the_rest_later() {
    let mut server = Server::start(&[]);
    let manager = Manager::of(&server);
    let mut policies = Vec::new();
    for name in ["a", "b", "c", "d"] {
        policies.push(manager.make_policy(name).await.0);
    }
    let asking = tokio::spawn(async move { manager.try_fetch("POST", ROTATE, "").await.is_some() });
    // Whenever that is: the key is changed, or it is not.
    sleep(Duration::from_millis(15)).await;
    server.kill();
    let _ = asking.await;
    server = server.restart();
    let manager = Manager::of(&server);
    if manager.get(SERVICE).await["item"]["rotations"] == 0 {
        manager.post(ROTATE, &Value::Null).await;
    }
    await_shipped(&manager, &policies).await;
}

async fn await_shipped(manager: &Manager, policies: &[String]) {
    let began = Instant::now();
    loop {
        let key = manager.get(SERVICE).await["item"]["public_key"].clone();
        let mut left = Vec::new();
        for policy in policies {
            let full = manager.get(&format!("/api/fleet/agent_policies/{policy}/full")).await;
            if full["item"]["agent"]["protection"]["signing_key"] != key {
                left.push(policy);
            }
        }
        if left.is_empty() {
            return;
        }
        // It is looked for them every half a minute, and what is seen twice is mended.
        assert!(began.elapsed() < Duration::from_secs(120), "{left:?} have another key than {key}");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn who_does_not_say_so_changes_no_key() {
    let server = Server::start(&[]);
    let manager = Manager::of(&server);
    let before = manager.get(SERVICE).await;
    let (status, refused) = manager.ask("POST", &format!("{SERVICE}/rotate_key_pair"), None).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("acknowledge=true"), "{refused}");
    assert_eq!(manager.get(SERVICE).await, before);
    manager.post(ROTATE, &Value::Null).await;
    let trail = manager.get("/api/fleet/audit?kind=signing-key").await;
    let entry = &trail["items"][0];
    assert_eq!(entry["before"]["public_key"], before["item"]["public_key"], "{trail}");
    assert_eq!(entry["after"]["previous"], before["item"]["public_key"], "{trail}");
}
