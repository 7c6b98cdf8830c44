//! A simulated agent: checks in, applies what it is handed, acknowledges, and comes back.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::body::{self, Action, Said};
use super::link::{Answer, Link, Target};
use super::tally::{Of, Tally};

/// The next check-in comes so long after an answer, as with the real agent.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(1000)..Duration::from_millis(1500);
/// After a failure. The real one stays away for a minute; a benchmark that fails should end sooner.
const AGAIN: Duration = Duration::from_secs(2);
/// One answer of so many is unpacked and read whole.
const THOROUGH: usize = 64;
/// So many actions that were acknowledged are remembered, to notice one that comes again.
const REMEMBERED: usize = 8;

/// An agent that is enrolled.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) key: String,
    memory: Mutex<Memory>,
}

/// What an agent keeps while it is not connected.
#[derive(Debug, Clone, Default)]
struct Memory {
    policy: Option<(Box<str>, u64)>,
    ack_token: String,
    acked: Vec<String>,
}

/// What all agents share.
pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) tally: Arc<Tally>,
    /// So many connect at a time.
    pub(super) handshakes: Semaphore,
    /// Acknowledgements go over a connection of their own.
    pub(super) has_two_connections: bool,
}

impl Agent {
    pub(super) fn new(number: usize, id: String, key: String) -> Agent {
        Agent { number, id, key, memory: Mutex::default() }
    }

    /// The policy that it runs, and its revision.
    pub(super) fn policy(&self) -> Option<(Box<str>, u64)> {
        self.memory().policy
    }

    /// Runs this policy from now on, as it says.
    pub(super) fn pretend(&self, policy: Option<&(Box<str>, u64)>) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).policy = policy.cloned();
    }

    fn memory(&self) -> Memory {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request of a check-in.
    pub(super) fn checkin(&self, status: &str, message: &str) -> Vec<u8> {
        let Memory { policy, ack_token, .. } = self.memory();
        let policy = policy.as_ref().map(|(policy, revision)| (&**policy, *revision));
        let said = Said { status, message, ack_token: &ack_token, policy };
        let body = body::gzip(body::checkin(self.number, &self.id, said).as_bytes());
        let path = format!("/api/fleet/agents/{}/checkin", self.id);
        let mut message =
            body::head("POST", &path, &self.key, self.number as u64, body.len(), true).into_bytes();
        message.extend_from_slice(&body);
        message
    }

    fn acks(&self, actions: &[Action]) -> Vec<u8> {
        let body = body::acks(&self.id, actions.iter().map(|action| action.id.as_str()));
        let path = format!("/api/fleet/agents/{}/acks", self.id);
        let mut message =
            body::head("POST", &path, &self.key, self.number as u64, body.len(), false).into_bytes();
        message.extend_from_slice(body.as_bytes());
        message
    }

    /// Lives until it is aborted.
    pub(super) async fn live(self: Arc<Agent>, shared: Arc<Shared>) {
        let mut links = Links { first: None, second: None };
        loop {
            match self.round(&shared, &mut links).await {
                Ok(()) => {
                    let pause = rand::rng().random_range(PAUSE);
                    sleep(pause).await;
                }
                Err(error) => {
                    shared.tally.unexpected(&format!("a connection broke: {error}"));
                    links = Links { first: None, second: None };
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn round(&self, shared: &Shared, links: &mut Links) -> io::Result<()> {
        let message = {
            let has_policy = self.memory().policy.is_some();
            let starting = ("starting", "Waiting for initial configuration and composable variables");
            let (status, message) = if has_policy { ("online", "Running") } else { starting };
            self.checkin(status, message)
        };
        let answer = {
            let link = links.first(self, shared).await?;
            link.send(&message).await?;
            drop(message);
            let _waiting = shared.tally.wait();
            link.answer().await?
        };
        let came = Instant::now();
        if answer.is_last {
            links.first = None;
        }
        if answer.status != 200 {
            shared.tally.unexpected(&refusal("a check-in", &answer));
            return Ok(());
        }
        let is_thorough = rand::rng().random_range(0..THOROUGH) == 0;
        let handed = match body::handed(&answer, is_thorough) {
            Ok(handed) => handed,
            Err(error) => {
                shared.tally.unexpected(&format!("an answer that cannot be read: {error}"));
                return Ok(());
            }
        };
        self.note(shared, &handed.actions, came);
        if !handed.actions.is_empty() {
            self.acknowledge(shared, links, &handed.actions).await?;
        }
        self.apply(&handed.ack_token, &handed.actions);
        Ok(())
    }

    /// What came, and whether it came before.
    fn note(&self, shared: &Shared, actions: &[Action], came: Instant) {
        let memory = self.memory();
        shared.tally.note(|seen| {
            seen.checkins += 1;
            for action in actions {
                match action.policy() {
                    Some((_, revision)) => seen.policies.push((revision, came)),
                    None => seen.actions.push(came),
                }
            }
        });
        for action in actions {
            if memory.acked.contains(&action.id) {
                shared.tally.unexpected("an action came again after its acknowledgement");
            }
            if let (Some((policy, revision)), Some((running, known))) = (action.policy(), &memory.policy)
                && *policy == **running
                && revision < *known
            {
                shared.tally.unexpected("an older revision of a policy came");
            }
        }
    }

    async fn acknowledge(&self, shared: &Shared, links: &mut Links, actions: &[Action]) -> io::Result<()> {
        let message = self.acks(actions);
        let began = Instant::now();
        let ended = loop {
            let answer = if shared.has_two_connections {
                links.over_second(self, shared, &message).await?
            } else {
                let link = links.first(self, shared).await?;
                link.send(&message).await?;
                link.answer().await?
            };
            match answer.status {
                200 => break Instant::now(),
                _ => shared.tally.unexpected(&refusal("an acknowledgement", &answer)),
            }
            sleep(AGAIN).await;
        };
        let is_policy = actions.iter().any(|action| action.policy().is_some());
        let of = if is_policy { Of::Policy } else { Of::Action };
        shared.tally.note(|seen| seen.acks.push((of, ended, ended - began)));
        Ok(())
    }

    fn apply(&self, ack_token: &str, actions: &[Action]) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !ack_token.is_empty() {
            ack_token.clone_into(&mut memory.ack_token);
        }
        for action in actions {
            if let Some((policy, revision)) = action.policy() {
                memory.policy = Some((policy.into(), revision));
            }
            if memory.acked.len() == REMEMBERED {
                memory.acked.remove(0);
            }
            memory.acked.push(action.id.clone());
        }
    }
}

fn refusal(what: &str, answer: &Answer) -> String {
    format!("{what} was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body))
}

/// The connections of an agent.
struct Links {
    first: Option<Link>,
    second: Option<Link>,
}

impl Links {
    async fn first(&mut self, agent: &Agent, shared: &Shared) -> io::Result<&mut Link> {
        let link = match self.first.take() {
            Some(link) => link,
            None => connect(agent, shared).await?,
        };
        Ok(self.first.insert(link))
    }

    /// The server closes what is not used for a while: that is seen only now.
    async fn over_second(&mut self, agent: &Agent, shared: &Shared, message: &[u8]) -> io::Result<Answer> {
        if let Some(mut link) = self.second.take()
            && link.send(message).await.is_ok()
            && let Ok(answer) = link.answer().await
        {
            self.second = (!answer.is_last).then_some(link);
            return Ok(answer);
        }
        let mut link = connect(agent, shared).await?;
        link.send(message).await?;
        let answer = link.answer().await?;
        self.second = (!answer.is_last).then_some(link);
        Ok(answer)
    }
}

async fn connect(agent: &Agent, shared: &Shared) -> io::Result<Link> {
    let _turn = shared.handshakes.acquire().await.map_err(io::Error::other)?;
    shared.target.connect(agent.number).await
}
