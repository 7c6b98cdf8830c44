//! Looking through all agents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Agents;
use super::entry::{Snapshot, is_silent};
use super::known::{AssignedPolicy, NOTHING};
use crate::documents::{Agent, AgentState};
use crate::query::{About, AgentQuery};
use crate::status::{STATUSES, Status};
use crate::timestamp::Timestamp;
use crate::version::Version;

/// What statuses depend on beside what agents are and report.
pub trait Presence {
    /// The moment at which they are asked for.
    fn now(&self) -> Timestamp;
    /// After so long without a word an agent of this policy is inactive. Zero: never.
    fn inactivity_timeout(&self, policy_id: &str) -> Duration;
    /// Whether this agent's check-in is held here.
    fn is_held(&self, agent_id: &str) -> bool;
    /// The agents whose check-ins are held here.
    fn held(&self) -> Vec<Arc<str>>;
}

/// An agent that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its id.
    pub id: &'a Arc<str>,
    /// What was decided about it.
    pub agent: &'a Arc<Agent>,
    /// What it reports.
    pub state: &'a AgentState,
    /// How it is.
    pub status: Status,
    /// The number of its policy: the same one for all agents of that.
    pub policy: u32,
}

/// Which agents are meant.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Those that it is about.
    pub query: &'a AgentQuery,
    /// Also those that lists leave out unless they are asked for them.
    pub with_inactive: bool,
    /// Only those that could be upgraded to this version.
    pub upgradeable_to: Option<Version>,
    /// Only those of these policies.
    pub policies: Option<&'a BTreeSet<String>>,
}

impl<'a> Filter<'a> {
    /// All that a query is about.
    #[must_use]
    pub fn new(query: &'a AgentQuery) -> Filter<'a> {
        Filter { query, with_inactive: true, upgradeable_to: None, policies: None }
    }
}

/// How many agents are how, in the order of [`Status::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; STATUSES]);

impl Counts {
    /// How many are so.
    #[must_use]
    pub fn of(&self, status: Status) -> u64 {
        self.0.get(status as usize).copied().unwrap_or(0)
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each status with how many are so.
    pub fn iter(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.0)
    }

    pub(super) fn add(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(status as usize) {
            *count += 1;
        }
    }

    fn remove(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(status as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

/// What is known of policies by their numbers, looked up once.
struct Policies<'a, P> {
    presence: &'a P,
    only: Option<&'a BTreeSet<String>>,
    /// The inactivity timeout; `None`: its agents are not meant.
    by_number: Vec<Option<Duration>>,
}

impl<'a, P: Presence> Policies<'a, P> {
    fn new(presence: &'a P, only: Option<&'a BTreeSet<String>>) -> Policies<'a, P> {
        Policies { presence, only, by_number: Vec::new() }
    }

    /// Looks up those that are new.
    fn meet(&mut self, assigned: &[AssignedPolicy]) {
        for policy in assigned.get(self.by_number.len()..).unwrap_or_default() {
            let is_meant = self.only.is_none_or(|only| only.contains(&*policy.id));
            self.by_number.push(is_meant.then(|| self.presence.inactivity_timeout(&policy.id)));
        }
    }

    fn timeout(&self, number: u32) -> Option<Duration> {
        *self.by_number.get(usize::try_from(number).ok()?)?
    }
}

impl Status {
    /// Whether lists show agents that are so without being asked for them.
    #[must_use]
    pub fn is_listed(self) -> bool {
        !matches!(self, Status::Unenrolling | Status::Unenrolled | Status::Inactive | Status::Uninstalled)
    }
}

impl Seen<'_> {
    /// Whether a query is about it.
    #[must_use]
    pub fn is_chosen_by(&self, query: &AgentQuery) -> bool {
        query.chooses(&About { id: self.id, agent: self.agent, state: self.state, status: self.status })
    }
}

impl Agents {
    /// Calls `each` with every agent that is meant. Between some of them others may change: an agent that is
    /// there all the while is met once. `each` must not ask [`Agents`] for anything.
    pub fn choose<P: Presence>(&self, filter: &Filter<'_>, presence: &P, mut each: impl FnMut(&Seen<'_>)) {
        let mut versions = Upgradeable::new(filter.upgradeable_to);
        self.scan(filter.policies, presence, |seen| {
            if (filter.with_inactive || seen.status.is_listed())
                && versions.allow(seen)
                && seen.is_chosen_by(filter.query)
            {
                each(seen);
            }
        });
    }

    /// The same for all agents, or those of these policies.
    fn scan<P: Presence>(
        &self,
        only: Option<&BTreeSet<String>>,
        presence: &P,
        mut each: impl FnMut(&Seen<'_>),
    ) {
        let now = presence.now();
        let mut policies = Policies::new(presence, only);
        for chunk in 0.. {
            // Writers have their turn between two chunks.
            let known = self.read();
            let Some(entries) = known.slots.chunk(chunk) else { return };
            policies.meet(known.assigned.by_number());
            for entry in entries {
                let Some(agent) = &entry.agent else { continue };
                let Some(timeout) = policies.timeout(entry.row.policy) else { continue };
                let state = entry.state.as_ref().map_or(&*NOTHING, |state| &*state.value);
                let mut status = entry.row.status(timeout, now);
                if is_silent(status) && presence.is_held(&entry.id) {
                    status = Status::of(&agent.value, state, Some(now), timeout, now);
                }
                let policy = entry.row.policy;
                each(&Seen { id: &entry.id, agent: &agent.value, state, status, policy });
            }
        }
    }

    /// How an agent is.
    pub fn status_of(&self, agent: &Snapshot, presence: &impl Presence) -> Status {
        let (now, policy_id) = (presence.now(), &agent.agent.policy_id);
        let heard_of = presence.is_held(&agent.id).then_some(now);
        Status::of(&agent.agent, &agent.state, heard_of, presence.inactivity_timeout(policy_id), now)
    }

    /// How many agents are how: all of them, or those of these policies. Reads none of their documents.
    pub fn count<P: Presence>(&self, only: Option<&BTreeSet<String>>, presence: &P) -> Counts {
        let now = presence.now();
        let mut policies = Policies::new(presence, only);
        let mut counts = Counts::default();
        for chunk in 0.. {
            let known = self.read();
            let Some(entries) = known.slots.chunk(chunk) else { break };
            policies.meet(known.assigned.by_number());
            for entry in entries.filter(|entry| entry.agent.is_some()) {
                if let Some(timeout) = policies.timeout(entry.row.policy) {
                    counts.add(entry.row.status(timeout, now));
                }
            }
        }
        let silent: u64 =
            counts.iter().filter(|(status, _)| is_silent(*status)).map(|(_, count)| count).sum();
        if silent > 0 {
            self.count_held(&mut counts, &policies);
        }
        counts
    }

    /// Those whose check-ins are held are not silent. They are fewer than all.
    fn count_held<P: Presence>(&self, counts: &mut Counts, policies: &Policies<'_, P>) {
        let now = policies.presence.now();
        let held = policies.presence.held();
        for ids in held.chunks(super::slots::CHUNK) {
            let known = self.read();
            for entry in ids.iter().filter_map(|id| known.entry(id)) {
                let Some(agent) = &entry.agent else { continue };
                let Some(timeout) = policies.timeout(entry.row.policy) else { continue };
                let status = entry.row.status(timeout, now);
                if is_silent(status) {
                    let state = entry.state.as_ref().map_or(&*NOTHING, |state| &*state.value);
                    counts.remove(status);
                    counts.add(Status::of(&agent.value, state, Some(now), timeout, now));
                }
            }
        }
    }

    /// How many agents that have not left have this policy.
    #[must_use]
    pub fn assigned_to(&self, policy_id: &str) -> u64 {
        self.read().assigned_to(policy_id)
    }

    /// How many agents that have not left have which policy. Counted as they change, not now.
    #[must_use]
    pub fn assigned(&self) -> Vec<(Arc<str>, u64)> {
        let known = self.read();
        let policies = known.assigned.by_number().iter().filter(|policy| policy.agents > 0);
        policies.map(|policy| (Arc::clone(&policy.id), policy.agents)).collect()
    }
}

/// Which agents could be upgraded to a version. Their versions are few: each is read once.
struct Upgradeable {
    target: Option<Version>,
    known: Vec<(Arc<str>, bool)>,
}

impl Upgradeable {
    /// More different versions than this are read again each time.
    const MOST: usize = 64;

    fn new(target: Option<Version>) -> Upgradeable {
        Upgradeable { target, known: Vec::new() }
    }

    fn allow(&mut self, seen: &Seen<'_>) -> bool {
        let Some(target) = self.target else { return true };
        let is_upgrading = seen.agent.upgrade_started_at > seen.state.upgraded_at;
        if !seen.agent.agent.upgradeable
            || is_upgrading
            || matches!(seen.status, Status::Unenrolled | Status::Unenrolling)
        {
            return false;
        }
        let version = &seen.agent.agent.version;
        if let Some((_, is_older)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, version)) {
            return *is_older;
        }
        let is_older = Version::parse(version).is_some_and(|version| version < target);
        if self.known.len() < Self::MOST {
            self.known.push((Arc::clone(version), is_older));
        }
        is_older
    }
}
