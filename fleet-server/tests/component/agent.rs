//! What an agent says to the server that it runs, over its port on this machine.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::host::LONGEST;

/// An agent that has enrolled.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    key: String,
    token: String,
    running: Option<(String, u64)>,
}

/// Asks once, on a connection of its own; `None`: there was none, or it broke.
async fn try_ask(port: u16, path: &str, key: &str, body: &Value) -> Option<(StatusCode, Value)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", "localhost")
        .header("authorization", format!("ApiKey {key}"))
        .header("user-agent", "Elastic Agent v9.6.0")
        .header("elastic-api-version", "2023-06-01")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some((head.status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

async fn ask(port: u16, path: &str, key: &str, body: &Value) -> Value {
    let answer = timeout(LONGEST, try_ask(port, path, key, body)).await.expect("an answer in time");
    let (status, body) = answer.expect("an answer");
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

impl Agent {
    pub(crate) async fn enrol(port: u16, enrolment_token: &str) -> Agent {
        let body = json!({
            "type": "PERMANENT",
            "metadata": {"local": metadata(), "user_provided": null, "tags": []},
        });
        let answer = ask(port, "/api/fleet/agents/enroll", enrolment_token, &body).await;
        let text = |field: &str| answer["item"][field].as_str().expect("a text").to_owned();
        Agent { id: text("id"), key: text("access_api_key"), token: String::new(), running: None }
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "status": "online", "message": "Running", "local_metadata": metadata(), "components": [],
        });
        if !self.token.is_empty() {
            body["ack_token"] = self.token.as_str().into();
        }
        if let Some((policy, revision)) = &self.running {
            body["agent_policy_id"] = policy.as_str().into();
            body["policy_revision_idx"] = (*revision).into();
        }
        body
    }

    /// Asks for the policy, and takes it.
    pub(crate) async fn take_policy(&mut self, port: u16) -> Value {
        let path = format!("/api/fleet/agents/{}/checkin", self.id);
        let answer = ask(port, &path, &self.key, &self.body()).await;
        answer["ack_token"].as_str().unwrap_or_default().clone_into(&mut self.token);
        let actions = answer["actions"].as_array().cloned().unwrap_or_default();
        let action = actions.iter().find(|action| action["type"] == "POLICY_CHANGE").expect("a policy");
        let policy = action["data"]["policy"].clone();
        let id = policy["id"].as_str().expect("an id").to_owned();
        self.running = Some((id, policy["revision"].as_u64().expect("a revision")));
        let event = json!({
            "type": "ACTION_RESULT", "subtype": "ACKNOWLEDGED", "action_id": action["id"],
            "agent_id": self.id, "message": "done", "timestamp": "2026-11-22T05:00:00.5Z",
        });
        let path = format!("/api/fleet/agents/{}/acks", self.id);
        ask(port, &path, &self.key, &json!({"events": [event]})).await;
        policy
    }

    /// A check-in that is held; what came of it.
    pub(crate) async fn hold(self, port: u16) -> Option<(StatusCode, Value)> {
        let path = format!("/api/fleet/agents/{}/checkin", self.id);
        try_ask(port, &path, &self.key, &self.body()).await
    }
}

fn metadata() -> Value {
    json!({
        "elastic": {"agent": {"id": "", "version": "9.6.0", "snapshot": false, "upgradeable": true}},
        "host": {"architecture": "x86_64", "hostname": "here", "name": "here"},
        "os": {"family": "debian", "platform": "debian", "version": "12", "name": "Debian"},
    })
}
