//! Check-ins that each change a status, as many as the server takes.
//!
//! A check-in is held, so one after the other would measure the wait. An agent has one held check-in: a later one
//! ends the one before. Two connections of one agent that take turns therefore make check-in after check-in, each of
//! which says something new.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::agent::Agent;
use super::link::Target;
use super::usage::{Usage, Used};
use crate::error::BenchError;

/// The first check-in of an agent is held for certain after this long: two that come at the same time may be taken in
/// either order.
const HEAD_START: Duration = Duration::from_millis(1500);
/// An answer takes no longer, even with all others waiting for theirs.
const ANSWER: Duration = Duration::from_secs(10);

/// What was done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Churned {
    /// Check-ins that were answered.
    pub(super) answered: usize,
    pub(super) took: Duration,
    pub(super) used: Used,
}

/// Lets all `agents` change their status again and again for `time`; `usage` tells who used the processors.
pub(super) async fn churn(
    target: &Target,
    agents: &[Arc<Agent>],
    time: Duration,
    usage: impl Fn() -> Result<Usage, BenchError>,
) -> Result<Churned, BenchError> {
    let (answered, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for agent in agents {
        let (target, agent) = (target.clone(), Arc::clone(agent));
        let (answered, is_over) = (Arc::clone(&answered), Arc::clone(&is_over));
        tasks.spawn(async move { one(&target, &agent, &answered, &is_over).await });
    }
    // All connect first.
    tokio::time::sleep(2 * HEAD_START).await;
    let used_before = usage()?;
    let (began, before) = (Instant::now(), answered.load(Ordering::Relaxed));
    tokio::time::sleep(time).await;
    let (took, after) = (began.elapsed(), answered.load(Ordering::Relaxed));
    let used = usage()?.since(&used_before);
    is_over.store(true, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        let url = "/api/fleet/agents/{id}/checkin".to_owned();
        done.map_err(|error| BenchError::Wrong(format!("an agent ended: {error}")))?
            .map_err(|source| BenchError::Http { method: "POST", url, source: source.into() })?;
    }
    Ok(Churned { answered: after - before, took, used })
}

async fn one(target: &Target, agent: &Agent, answered: &AtomicUsize, is_over: &AtomicBool) -> io::Result<()> {
    let mut links = [target.connect(agent.number).await?, target.connect(agent.number).await?];
    let messages = [agent.checkin("online", "Running"), agent.checkin("DEGRADED", "An input has failed")];
    links[0].send(&messages[0]).await?;
    tokio::time::sleep(HEAD_START).await;
    let mut turn = 1;
    while !is_over.load(Ordering::Relaxed) {
        links[turn].send(&messages[turn]).await?;
        turn = 1 - turn;
        let answer = timeout(ANSWER, links[turn].answer()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if answer.status != 200 || answer.is_last {
            return Err(io::Error::other(format!("a check-in was answered {}", answer.status)));
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
