//! Some agents that differ from each other.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::agent::{Agent, Way, enrolment, request};
use crate::manager::Manager;
use crate::server::Server;

/// The longest time for something to come true.
const COME_TRUE_MAX: Duration = Duration::from_secs(20);

/// A server, somebody who manages it, and a policy with agents.
pub(crate) struct Crowd {
    pub(crate) server: Server,
    pub(crate) way: Way,
    pub(crate) manager: Manager,
    pub(crate) policy: String,
    pub(crate) key: String,
}

impl Crowd {
    pub(crate) async fn new() -> Crowd {
        Crowd::on(Server::start(&[])).await
    }

    pub(crate) async fn on(server: Server) -> Crowd {
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (policy, key) = manager.make_policy("web").await;
        Crowd { server, way, manager, policy, key }
    }

    /// Enrols an agent of this version with these tags.
    pub(crate) async fn enrol(&self, key: &str, hostname: &str, version: &str, tags: &[&str]) -> Agent {
        let mut body = enrolment(hostname);
        body["metadata"]["tags"] = json!(tags);
        body["metadata"]["local"]["elastic"]["agent"]["version"] = version.into();
        let answer = self.way.send(request("POST", "/api/fleet/agents/enroll", key, &body)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        Agent::of(&answer, hostname)
    }

    /// Agents of the policy: `web-0`, `web-1` …
    pub(crate) async fn enrol_many(&self, count: usize) -> Vec<Agent> {
        let mut agents = Vec::with_capacity(count);
        for number in 0..count {
            agents.push(self.enrol(&self.key, &format!("web-{number}"), "9.5.0", &["canary"]).await);
        }
        agents
    }

    /// The hosts of the agents that a list shows, in its order.
    pub(crate) async fn hosts(&self, query: &str) -> Vec<String> {
        hosts(&self.manager.get(&format!("/api/fleet/agents?{query}")).await)
    }

    /// The message of a refusal with this status.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: &Value, status: u16) -> String {
        let (got, answer) = self.manager.ask(method, path, Some(body)).await;
        assert_eq!(got.as_u16(), status, "{method} {path} {body}: {answer}");
        assert_eq!(answer["statusCode"], status);
        answer["message"].as_str().unwrap().to_owned()
    }

    /// Asks for something of an agent, which is granted.
    pub(crate) async fn post(&self, agent: &Agent, last: &str, body: &Value) -> Value {
        self.manager.post(&agent.path(last), body).await
    }

    /// How far an action is.
    pub(crate) async fn row(&self, id: &str) -> Value {
        let status = self.manager.get("/api/fleet/agents/action_status?perPage=1000").await;
        let found = status["items"].as_array().unwrap().iter().find(|row| row["actionId"] == *id).cloned();
        found.unwrap_or_else(|| panic!("no action {id}: {status}"))
    }

    /// Waits until an action is as it should be.
    pub(crate) async fn await_row(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let row = self.row(id).await;
            if is(&row) {
                return row;
            }
            assert!(began.elapsed() < COME_TRUE_MAX, "{row}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The hosts of the agents of an answer, in its order.
pub(crate) fn hosts(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    items.iter().map(|item| item["local_metadata"]["host"]["hostname"].as_str().unwrap().to_owned()).collect()
}
