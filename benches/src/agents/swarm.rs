//! Many simulated agents, and their enrolment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::agent::{Agent, Shared};
use super::body;
use super::link::{Link, Target};
use super::tally::Tally;
use crate::error::BenchError;
use crate::wait::{Look, until};

/// So many agents connect at a time.
const HANDSHAKES: usize = 64;

/// Agents that live.
pub(super) struct Swarm {
    tasks: JoinSet<()>,
    count: usize,
    tally: Arc<Tally>,
}

impl Swarm {
    /// Lets `agents` live.
    pub(super) fn start(
        target: &Target,
        agents: &[Arc<Agent>],
        tally: &Arc<Tally>,
        has_two_connections: bool,
    ) -> Swarm {
        let shared = Arc::new(Shared {
            target: target.clone(),
            tally: Arc::clone(tally),
            handshakes: Semaphore::new(HANDSHAKES),
            has_two_connections,
        });
        let mut tasks = JoinSet::new();
        for agent in agents {
            tasks.spawn(Arc::clone(agent).live(Arc::clone(&shared)));
        }
        Swarm { tasks, count: agents.len(), tally: Arc::clone(tally) }
    }

    /// Waits until every agent's check-in is held: all have waited for so long that none is being answered.
    pub(super) async fn held(&self, bound: Duration) -> Result<(), BenchError> {
        let mut since: Option<Instant> = None;
        until("every agent's check-in is held", bound, Duration::from_millis(20), async || {
            let waiting = self.tally.waiting();
            if waiting < self.count {
                since = None;
                return Ok(Look::NotYet(format!(
                    "{waiting} of {} wait; {:?}",
                    self.count,
                    self.tally.all_unexpected()
                )));
            }
            match since.get_or_insert_with(Instant::now).elapsed() {
                still if still >= Duration::from_secs(2) => Ok(Look::Found(())),
                _ => Ok(Look::NotYet("all wait".to_owned())),
            }
        })
        .await
    }

    /// Ends them all, as when a cable is cut.
    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// How an enrolment went.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) agents: Vec<Arc<Agent>>,
    pub(super) took: Duration,
    /// Answers of 429.
    pub(super) refused: usize,
}

/// How agents are enrolled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enrolling<'a> {
    /// The enrolment key.
    pub(super) key: &'a str,
    /// The numbers of the agents.
    pub(super) first: usize,
    pub(super) count: usize,
    /// So many at a time.
    pub(super) at_a_time: usize,
    /// Each over a connection of its own, as with agents that start.
    pub(super) is_connecting: bool,
}

#[derive(Deserialize)]
struct Enrolled {
    item: Item,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    access_api_key: String,
}

/// Enrols agents, as fast as the server answers.
pub(super) async fn enrol(target: &Target, how: Enrolling<'_>) -> Result<Enrolment, BenchError> {
    let began = Instant::now();
    let (next, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..how.at_a_time {
        let (next, refused) = (Arc::clone(&next), Arc::clone(&refused));
        let (target, key) = (target.clone(), how.key.to_owned());
        workers.spawn(async move {
            let (mut agents, mut link) = (Vec::new(), None);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= how.count {
                    return Ok(agents);
                }
                let number = how.first + number;
                agents.push(Arc::new(one(&target, &mut link, number, &key, &refused).await?));
                if how.is_connecting {
                    link = None;
                }
            }
        });
    }
    let mut agents = Vec::with_capacity(how.count);
    while let Some(done) = workers.join_next().await {
        let enrolled: Result<Vec<Arc<Agent>>, BenchError> =
            done.map_err(|error| BenchError::Wrong(format!("a worker ended: {error}")))?;
        agents.append(&mut enrolled?);
    }
    let took = began.elapsed();
    agents.sort_by_key(|agent| agent.number);
    Ok(Enrolment { agents, took, refused: refused.load(Ordering::Relaxed) })
}

async fn one(
    target: &Target,
    link: &mut Option<Link>,
    number: usize,
    key: &str,
    refused: &AtomicUsize,
) -> Result<Agent, BenchError> {
    let url = "/api/fleet/agents/enroll";
    let fault =
        |source: io::Error| BenchError::Http { method: "POST", url: url.to_owned(), source: source.into() };
    let body = body::enroll(number);
    let mut message = body::head("POST", url, key, number as u64, body.len(), false);
    message += &body;
    loop {
        let mut open = match link.take() {
            Some(open) => open,
            None => target.connect(number).await.map_err(fault)?,
        };
        open.send(message.as_bytes()).await.map_err(fault)?;
        let answer = open.answer().await.map_err(fault)?;
        if !answer.is_last {
            *link = Some(open);
        }
        match answer.status {
            200 => {
                let enrolled: Enrolled = serde_json::from_slice(&answer.body)
                    .map_err(|source| BenchError::Answer { url: url.to_owned(), source })?;
                return Ok(Agent::new(number, enrolled.item.id, enrolled.item.access_api_key));
            }
            429 => {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            status => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                return Err(BenchError::Refused { method: "POST", url: url.to_owned(), status, body });
            }
        }
    }
}
