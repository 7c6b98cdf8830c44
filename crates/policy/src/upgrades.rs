//! Which agents of a policy are upgraded by themselves, so that each version that it requires has its share.
//!
//! An agent *holds a place* of a version when it runs it, is on its way there, or has been asked to go there and
//! failed. One that failed keeps its place and is asked again, later each time: a version that no agent can run
//! must not march through all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::documents::{Agent, AgentState, AutoUpgrade, RequiredVersion};
use crate::status::Status;
use crate::timestamp::Timestamp;
use crate::version::Version;

/// How long it takes until an agent that failed is asked again: after the first time, the second … the last one
/// for ever.
const DELAYS: [Duration; 7] = [
    Duration::from_secs(30 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(8 * 3600),
    Duration::from_secs(16 * 3600),
    Duration::from_secs(24 * 3600),
];
/// The most attempts that are kept of an agent.
pub const MOST_ATTEMPTS: usize = DELAYS.len();
/// An upgrade of which nothing was heard for so long has got lost: another may begin.
pub const LOST: Duration = Duration::from_secs(2 * 3600);

/// A version and its share of the agents, in percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// As the policy has it: what agents are told.
    pub text: String,
    /// The same, to be compared.
    pub version: Version,
    /// Of a hundred.
    pub percentage: f64,
}

/// What counts of an agent.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The agent.
    pub id: Arc<str>,
    /// What it runs.
    version: Version,
    /// Where it is going, as it says.
    going: Option<Version>,
    /// What it was asked for last, by itself.
    asked: Option<Asked>,
    /// Whether it can be asked now.
    is_free: bool,
}

#[derive(Clone, Debug)]
struct Asked {
    version: Version,
    last: Timestamp,
    times: usize,
}

/// The versions that a policy requires, the newest first. What is no version, or later than a server of version
/// `own` can serve, is left out.
#[must_use]
pub fn shares(required: &[RequiredVersion], own: Version) -> Vec<Share> {
    let read = |required: &RequiredVersion| {
        let version = Version::parse(&required.version)?;
        let is_served = !version.is_later_release_than(own);
        is_served.then(|| Share { text: required.version.clone(), version, percentage: required.percentage })
    };
    let mut shares: Vec<Share> = required.iter().filter_map(read).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.version));
    shares
}

impl Candidate {
    /// What counts of an agent now; `None`: it is not there to be upgraded, and not counted either.
    #[must_use]
    pub fn of(
        id: &Arc<str>,
        agent: &Agent,
        state: &AgentState,
        status: Status,
        now: Timestamp,
    ) -> Option<Candidate> {
        if !agent.active || !status.is_listed() {
            return None;
        }
        let version = Version::parse(&agent.agent.version)?;
        let details = state.upgrade_details.as_ref().filter(|details| details.state != "UPG_FAILED");
        let is_going = details.is_some()
            || (agent.upgrade_started_at > state.upgraded_at
                && agent.upgrade_started_at.is_some_and(|at| at.until(now) < LOST));
        let is_there = matches!(status, Status::Online | Status::Degraded | Status::Error);
        let asked = agent.auto_upgrade.as_ref().and_then(|auto| {
            let last = *auto.attempts.first()?;
            Some(Asked { version: Version::parse(&auto.version)?, last, times: auto.attempts.len() })
        });
        Some(Candidate {
            id: Arc::clone(id),
            version,
            going: details.and_then(|details| Version::parse(&details.target_version)),
            asked,
            is_free: is_there && !is_going && agent.agent.upgradeable,
        })
    }

    /// Whether it was asked for this version and has not got there.
    fn has_failed(&self, share: &Share) -> Option<&Asked> {
        self.asked.as_ref().filter(|asked| asked.version == share.version && self.version < share.version)
    }

    fn holds(&self, share: &Share) -> bool {
        self.version == share.version || self.going == Some(share.version) || self.has_failed(share).is_some()
    }
}

/// The agents that are to be asked now, by the index of their version in `shares`. At most `most` of them.
#[must_use]
pub fn plan(
    shares: &[Share],
    agents: &[Candidate],
    now: Timestamp,
    most: usize,
) -> Vec<(usize, Vec<Arc<str>>)> {
    let wanted = wanted(shares, agents.len());
    let mut places: Vec<Option<usize>> =
        agents.iter().map(|agent| shares.iter().position(|share| agent.holds(share))).collect();
    release(shares, agents, &wanted, &mut places);
    let (mut asked, mut left) = (Vec::new(), most);
    for (index, share) in shares.iter().enumerate() {
        let held = places.iter().filter(|place| **place == Some(index)).count();
        let mut chosen: Vec<usize> = Vec::new();
        for (number, agent) in agents.iter().enumerate() {
            if places[number] == Some(index)
                && agent.is_free
                && agent.has_failed(share).is_some_and(|asked| is_due(asked, now))
            {
                chosen.push(number);
            }
        }
        let is_eligible = |number: &usize| {
            places[*number].is_none() && agents[*number].is_free && agents[*number].version < share.version
        };
        let mut eligible: Vec<usize> = (0..agents.len()).filter(is_eligible).collect();
        // The oldest first; among them always the same.
        eligible
            .sort_by(|a, b| (agents[*a].version, &agents[*a].id).cmp(&(agents[*b].version, &agents[*b].id)));
        chosen.extend(eligible.into_iter().take(wanted[index].saturating_sub(held)));
        chosen.truncate(left);
        left -= chosen.len();
        chosen.iter().for_each(|number| places[*number] = Some(index));
        if !chosen.is_empty() {
            asked.push((index, chosen.into_iter().map(|number| Arc::clone(&agents[number].id)).collect()));
        }
    }
    asked
}

/// How many agents are to have each version. Rounded so that shares of a hundred percent leave nobody out.
fn wanted(shares: &[Share], agents: usize) -> Vec<usize> {
    let mut percentage = 0.0;
    let mut before = 0;
    let mut wanted = Vec::with_capacity(shares.len());
    for share in shares {
        percentage += share.percentage;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of a number of agents, which is far below 2^52"
        )]
        let up_to = ((agents as f64) * percentage / 100.0).round().max(0.0) as usize;
        wanted.push(up_to.min(agents).saturating_sub(before));
        before = up_to.min(agents).max(before);
    }
    wanted
}

/// Gives the places up that are too many: who runs a version of which there are enough may go to a newer one.
fn release(shares: &[Share], agents: &[Candidate], wanted: &[usize], places: &mut [Option<usize>]) {
    for (index, share) in shares.iter().enumerate() {
        let held = places.iter().filter(|place| **place == Some(index)).count();
        let mut over = held.saturating_sub(wanted[index]);
        for (agent, place) in agents.iter().zip(places.iter_mut()) {
            if over == 0 {
                break;
            }
            if *place == Some(index) && agent.version == share.version && agent.is_free {
                *place = None;
                over -= 1;
            }
        }
    }
}

fn is_due(asked: &Asked, now: Timestamp) -> bool {
    let delay = DELAYS[(asked.times - 1).min(DELAYS.len() - 1)];
    asked.last.until(now) >= delay
}

/// Notes that an agent is asked to go to a version.
pub fn note(agent: &mut Agent, version: &str, now: Timestamp) {
    let before = agent.auto_upgrade.take().filter(|auto| &*auto.version == version);
    let mut attempts = vec![now];
    attempts.extend(before.into_iter().flat_map(|auto| auto.attempts));
    attempts.truncate(MOST_ATTEMPTS);
    agent.auto_upgrade = Some(Box::new(AutoUpgrade { version: version.into(), attempts }));
    agent.upgrade_started_at = Some(now);
}

#[cfg(test)]
mod tests;
