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
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.expect("HTTP");
        tokio::spawn(connection);
        let token = STANDARD.encode(format!("admin:{}", self.password));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Basic {token}"))
            .header("kbn-xsrf", "true")
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.expect("a whole body").to_bytes())
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
        let overrides = json!({"agent": {"mark": mark}});
        let body = json!({"name": id, "namespace": "default", "overrides": overrides});
        let (status, saved) = self.ask("PUT", &format!("/api/fleet/agent_policies/{id}"), Some(&body)).await;
        assert_eq!(status, StatusCode::OK, "{saved}");
        saved["item"]["revision"].as_u64().expect("a revision")
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
