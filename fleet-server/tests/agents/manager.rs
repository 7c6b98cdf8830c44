//! Somebody who manages, over HTTP.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::server::{PASSWORD, Server};

/// The longest time for something to come true.
const COME_TRUE_MAX: Duration = Duration::from_secs(20);

/// Somebody with the administrator's password.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    port: u16,
    password: String,
}

impl Manager {
    pub(crate) fn of(server: &Server) -> Manager {
        Manager { port: server.management_port(), password: PASSWORD.to_owned() }
    }

    pub(crate) fn with_password(self, password: &str) -> Manager {
        Manager { password: password.to_owned(), ..self }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let answer = self.fetch(method, path, body.map(ToString::to_string).unwrap_or_default()).await;
        (answer.status(), serde_json::from_slice(answer.body()).unwrap_or(Value::Null))
    }

    /// Sends any body; the body of the answer is what came.
    pub(crate) async fn fetch(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        self.try_fetch(method, path, body).await.expect("an answer")
    }

    /// The same. `None`: the server is not there, or went away before it had answered.
    pub(crate) async fn try_fetch(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Option<Response<Bytes>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.ok()?;
        tokio::spawn(connection);
        let token = STANDARD.encode(format!("admin:{}", self.password));
        let body = body.into();
        // As archives begin.
        let kind = if body.starts_with(b"PK") { "application/zip" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Basic {token}"))
            .header("kbn-xsrf", "true")
            .header("content-type", kind)
            .body(Full::new(body))
            .expect("a request");
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "POST {path}: {answer}");
        answer
    }

    /// A new policy. Returns its id and an enrolment key for it.
    pub(crate) async fn make_policy(&self, name: &str) -> (String, String) {
        let made =
            self.post("/api/fleet/agent_policies", &json!({"name": name, "namespace": "default"})).await;
        let id = made["item"]["id"].as_str().expect("an id").to_owned();
        let keys = self.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{id}")).await;
        (id, keys["items"][0]["api_key"].as_str().expect("a key").to_owned())
    }

    /// Saves another revision of a policy, with this mark in it.
    pub(crate) async fn save_policy(&self, id: &str, mark: &str) -> u64 {
        self.try_save_policy(id, mark).await.expect("a saved policy")
    }

    /// The same. `None`: nobody said that it is saved.
    pub(crate) async fn try_save_policy(&self, id: &str, mark: &str) -> Option<u64> {
        let overrides = json!({"agent": {"mark": mark}});
        let body = json!({"name": id, "namespace": "default", "overrides": overrides});
        let path = format!("/api/fleet/agent_policies/{id}");
        let answer = self.try_fetch("PUT", &path, body.to_string()).await?;
        let saved: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        match answer.status() {
            StatusCode::OK => Some(saved["item"]["revision"].as_u64().expect("a revision")),
            StatusCode::SERVICE_UNAVAILABLE => None,
            status => panic!("PUT {path}: {status} {saved}"),
        }
    }

    /// Asks these agents for their diagnostics. Returns the action's id; `None`: nobody said that they are asked.
    pub(crate) async fn try_ask_agents(&self, ids: &[String]) -> Option<String> {
        let path = "/api/fleet/agents/bulk_request_diagnostics";
        let answer = self.try_fetch("POST", path, json!({"agents": ids}).to_string()).await?;
        let made: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        match answer.status() {
            StatusCode::OK => Some(made["actionId"].as_str().expect("an id").to_owned()),
            // It may not have heard yet of an agent that enrolled at another server.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND => None,
            status => panic!("POST {path}: {status} {made}"),
        }
    }

    pub(crate) async fn agent(&self, id: &str) -> Value {
        self.get(&format!("/api/fleet/agents/{id}")).await["item"].take()
    }

    /// Waits until an agent is as it should be.
    pub(crate) async fn await_agent(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let agent = self.agent(id).await;
            if is(&agent) {
                return agent;
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "the agent is not {what}: {agent}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn action(&self, id: &str, kind: &str, data: Value) -> String {
        let body = json!({"action": {"type": kind, "data": data}});
        let made = self.post(&format!("/api/fleet/agents/{id}/actions"), &body).await;
        made["item"]["id"].as_str().expect("an id").to_owned()
    }
}
