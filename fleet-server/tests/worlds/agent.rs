//! Agents that do what real ones do, and watch that they are treated well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::servers::Server;

/// An agent gives up on an answer after this long.
const PATIENCE: Duration = Duration::from_secs(600);

/// What went on between an agent and the servers.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    pub(crate) id: Option<String>,
    pub(crate) running: u64,
    /// Actions that it was handed.
    pub(crate) handed: BTreeSet<String>,
    /// Actions whose acknowledgement was accepted.
    pub(crate) acked: BTreeSet<String>,
    /// What must never happen.
    pub(crate) wrongs: Vec<String>,
    /// How the last requests went.
    pub(crate) answers: BTreeMap<u16, u64>,
}

/// An agent's life. Clones share it.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) diary: Arc<Mutex<Diary>>,
    servers: Arc<Vec<Server>>,
    enrolment_key: Arc<str>,
    /// The share of answers that get lost on their way to it.
    pub(crate) loss: Arc<Mutex<f64>>,
}

impl Agent {
    pub(crate) fn new(name: String, servers: Arc<Vec<Server>>, enrolment_key: Arc<str>) -> Agent {
        Agent { name, diary: Arc::default(), servers, enrolment_key, loss: Arc::default() }
    }

    /// Lives for ever.
    pub(crate) async fn live(self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let (id, key) = self.enrol(&mut random).await;
        let mut token = String::new();
        let mut unacked: Vec<(String, bool)> = Vec::new();
        loop {
            self.acknowledge(&mut random, &id, &key, &mut unacked).await;
            let running = self.diary.lock().unwrap().running;
            let mut body = json!({
                "status": "online",
                "message": "Running",
                "ack_token": token,
                "local_metadata": {"host": {"hostname": self.name}},
                "components": [],
            });
            if running > 0 {
                body["agent_policy_id"] = "web".into();
                body["policy_revision_idx"] = running.into();
            }
            let path = format!("/api/fleet/agents/{id}/checkin");
            if let Some(answer) = self.ask(&mut random, &path, &key, &body).await {
                if let Some(next) = answer["ack_token"].as_str().filter(|next| !next.is_empty()) {
                    next.clone_into(&mut token);
                }
                for action in answer["actions"].as_array().into_iter().flatten() {
                    self.take(action, &mut unacked);
                }
                sleep(Duration::from_millis(random.random_range(1000..1500))).await;
            } else {
                sleep(Duration::from_millis(random.random_range(2000..20_000))).await;
            }
        }
    }

    async fn enrol(&self, random: &mut StdRng) -> (String, String) {
        loop {
            let body = json!({
                "type": "PERMANENT",
                "metadata": {"local": {"host": {"hostname": self.name}}, "user_provided": null, "tags": []},
            });
            let answer = self.ask(random, "/api/fleet/agents/enroll", &self.enrolment_key, &body).await;
            if let Some(answer) = answer {
                let text = |field: &str| answer["item"][field].as_str().unwrap().to_owned();
                self.diary.lock().unwrap().id = Some(text("id"));
                return (text("id"), text("access_api_key"));
            }
            sleep(Duration::from_millis(random.random_range(1000..5000))).await;
        }
    }

    fn take(&self, action: &Value, unacked: &mut Vec<(String, bool)>) {
        let id = action["id"].as_str().unwrap().to_owned();
        let mut diary = self.diary.lock().unwrap();
        if action["type"] == "POLICY_CHANGE" {
            let revision = action["data"]["policy"]["revision"].as_u64().unwrap();
            if revision < diary.running {
                let running = diary.running;
                diary.wrongs.push(format!("handed revision {revision} while running {running}"));
            }
            diary.running = revision;
            unacked.push((id, true));
            return;
        }
        if diary.acked.contains(&id) {
            diary.wrongs.push(format!("handed {id} again after its acknowledgement"));
        }
        diary.handed.insert(id.clone());
        unacked.push((id, false));
    }

    async fn acknowledge(&self, random: &mut StdRng, id: &str, key: &str, unacked: &mut Vec<(String, bool)>) {
        while let Some((action, is_policy)) = unacked.first().cloned() {
            let body = json!({"events": [{
                "type": "ACTION_RESULT",
                "subtype": "ACKNOWLEDGED",
                "action_id": action,
                "agent_id": id,
                "message": "done",
                "timestamp": "2026-11-22T05:00:00Z",
            }]});
            let path = format!("/api/fleet/agents/{id}/acks");
            if self.ask(random, &path, key, &body).await.is_none() {
                return;
            }
            if !is_policy {
                self.diary.lock().unwrap().acked.insert(action);
            }
            unacked.remove(0);
        }
    }

    /// A request to some server. `None`: no answer, or one that says to come again.
    async fn ask(&self, random: &mut StdRng, path: &str, key: &str, body: &Value) -> Option<Value> {
        let server = &self.servers[random.random_range(0..self.servers.len())];
        let answer = timeout(PATIENCE, server.send(Method::POST, path, key, body)).await.ok()??;
        if random.random_bool(*self.loss.lock().unwrap()) {
            return None;
        }
        let (status, body) = answer;
        let mut diary = self.diary.lock().unwrap();
        *diary.answers.entry(status.as_u16()).or_default() += 1;
        match status {
            StatusCode::OK => Some(body),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => None,
            _ => {
                diary.wrongs.push(format!("{path} was answered {status}: {body}"));
                None
            }
        }
    }
}
