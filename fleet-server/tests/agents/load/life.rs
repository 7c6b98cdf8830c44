//! The life of one agent under load, and what it writes down of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::agent::{Agent, Answer, Way, enrolment, request};

/// An answer that takes longer never comes; the longest of a check-in that is held.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long in milliseconds an agent rests after an answer, a fortieth of what real ones do.
const REST: std::ops::Range<u64> = 20..60;
/// The same after no answer, or one that says to come again.
const LONGER_REST: std::ops::Range<u64> = 100..300;

/// What went on between an agent and the servers.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    pub(crate) id: Option<String>,
    /// The revision that it runs, and has acknowledged.
    pub(crate) running: u64,
    /// Actions that it was handed.
    pub(crate) handed: BTreeSet<String>,
    /// Actions whose acknowledgement was answered with 200.
    pub(crate) acked: BTreeSet<String>,
    /// Answers by their status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Requests that were not answered.
    pub(crate) unanswered: u64,
    /// What must never happen.
    pub(crate) wrongs: Vec<String>,
}

/// A connection that is made again when it ends.
struct Line {
    way: Way,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Line {
    fn new(way: &Way) -> Line {
        Line { way: way.clone(), sender: None }
    }

    /// `None`: no answer.
    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let answer = timeout(PATIENCE, self.try_ask(request)).await.ok().flatten();
        let answer = answer.map(Answer::read);
        if answer.as_ref().is_none_or(|answer| answer.headers.contains_key("connection")) {
            self.sender = None;
        }
        answer
    }

    async fn try_ask(&mut self, request: Request<Full<Bytes>>) -> Option<Response<Bytes>> {
        let is_open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.sender = Some(self.way.try_connect().await?);
        }
        let (head, body) = self.sender.as_mut()?.send_request(request).await.ok()?.into_parts();
        Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
    }
}

/// An agent that lives. As the real one it has two connections: check-ins go over one, acknowledgements over
/// the other, which may well lead to another server.
pub(crate) struct Life {
    name: String,
    enrolment_key: Arc<str>,
    diary: Arc<Mutex<Diary>>,
    random: StdRng,
    /// It forgets its token whenever it loses its connection: only what the servers know then keeps it from being
    /// handed again what it has done.
    is_forgetful: bool,
    checkins: Line,
    acks: Line,
}

impl Life {
    pub(crate) fn new(
        name: String,
        way: &Way,
        enrolment_key: Arc<str>,
        diary: Arc<Mutex<Diary>>,
        seed: u64,
    ) -> Life {
        Life {
            name,
            enrolment_key,
            diary,
            random: StdRng::seed_from_u64(seed),
            is_forgetful: seed.is_multiple_of(2),
            checkins: Line::new(way),
            acks: Line::new(way),
        }
    }

    /// Lives for ever.
    pub(crate) async fn live(mut self) {
        let mut agent = self.enrol().await;
        loop {
            let body = agent.checkin_body();
            let request = request("POST", &agent.path("checkin"), &agent.key, &body);
            let answer = self.checkins.ask(request).await;
            let Some(answer) = self.judged("checkin", answer) else {
                if self.is_forgetful && self.checkins.sender.is_none() {
                    agent.token.clear();
                }
                self.rest(LONGER_REST).await;
                continue;
            };
            if !answer.token().is_empty() {
                answer.token().clone_into(&mut agent.token);
            }
            for action in answer.body["actions"].as_array().into_iter().flatten() {
                self.take(&mut agent, action).await;
            }
            self.rest(REST).await;
        }
    }

    /// Enrols, however often it takes: all of it is one attempt.
    async fn enrol(&mut self) -> Agent {
        let mut body = enrolment(&self.name);
        body["enrollment_id"] = self.name.as_str().into();
        loop {
            let request = request("POST", "/api/fleet/agents/enroll", &self.enrolment_key, &body);
            let answer = self.checkins.ask(request).await;
            if let Some(answer) = self.judged("enroll", answer) {
                let agent = Agent::of(&answer, &self.name);
                self.diary().id = Some(agent.id.clone());
                return agent;
            }
            self.rest(LONGER_REST).await;
        }
    }

    /// Does what it is asked to do, and says so until somebody has heard it.
    async fn take(&mut self, agent: &mut Agent, action: &Value) {
        let id = action["id"].as_str().expect("an id");
        let revision = action["data"]["policy"]["revision"].as_u64();
        self.note_handed(id, revision);
        loop {
            let body = agent.ack_body(id, None);
            let request = request("POST", &agent.path("acks"), &agent.key, &body);
            let answer = self.acks.ask(request).await;
            if self.judged("acks", answer).is_some() {
                break;
            }
            self.rest(LONGER_REST).await;
        }
        match revision {
            Some(revision) => {
                let policy = action["data"]["policy"]["id"].as_str().expect("an id");
                agent.running = Some((policy.to_owned(), revision));
                self.diary().running = revision;
            }
            None => drop(self.diary().acked.insert(id.to_owned())),
        }
    }

    fn note_handed(&self, id: &str, revision: Option<u64>) {
        let mut diary = self.diary();
        let running = diary.running;
        if revision.is_some_and(|revision| revision < running) {
            diary.wrongs.push(format!("was handed {id} while it ran revision {running}"));
        }
        if diary.acked.contains(id) {
            diary.wrongs.push(format!("was handed {id} again after its acknowledgement was answered"));
        }
        if revision.is_none() {
            diary.handed.insert(id.to_owned());
        }
    }

    /// The answer, if it is a good one. What is neither that nor says to come again must never be.
    fn judged(&self, route: &str, answer: Option<Answer>) -> Option<Answer> {
        let mut diary = self.diary();
        let Some(answer) = answer else {
            diary.unanswered += 1;
            return None;
        };
        *diary.answers.entry(answer.status.as_u16()).or_default() += 1;
        match answer.status {
            StatusCode::OK => Some(answer),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => None,
            status => {
                diary.wrongs.push(format!("{route} was answered {status}: {}", answer.body));
                None
            }
        }
    }

    async fn rest(&mut self, length: std::ops::Range<u64>) {
        let length = self.random.random_range(length);
        sleep(Duration::from_millis(length)).await;
    }

    fn diary(&self) -> MutexGuard<'_, Diary> {
        self.diary.lock().expect("the diary")
    }
}
