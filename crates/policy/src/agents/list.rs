//! Lists of agents, in pages, in an order.
//!
//! Nothing is kept in any order: a page is chosen anew from light keys of all agents that are meant, which takes
//! time in proportion to their number and not to the page's. What a page ends with is a [`Position`], from which
//! the next one goes on whatever has changed between.

use std::cmp::Ordering;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::Snapshot;
use super::scan::{Counts, Filter, Presence, Seen};
use super::{Agents, facets::Facets};
use crate::documents::Agent;
use crate::status::Status;
use crate::timestamp::Timestamp;
use crate::version::Version;

/// What agents are listed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortField {
    /// When they enrolled.
    #[default]
    EnrolledAt,
    /// When they were last heard of.
    LastCheckin,
    /// The names of their machines.
    Hostname,
    /// How they are.
    Status,
    /// Their versions.
    Version,
    /// The ids of their policies.
    Policy,
    /// The revisions that they run.
    PolicyRevision,
    /// When they were asked to become another version.
    UpgradeStartedAt,
    /// When they last became another version.
    UpgradedAt,
    /// When they left.
    UnenrolledAt,
    /// Their ids.
    Id,
}

/// The names of orders.
const SORT_FIELDS: [(&str, SortField); 17] = [
    ("enrolled_at", SortField::EnrolledAt),
    ("last_checkin", SortField::LastCheckin),
    ("local_metadata.host.hostname", SortField::Hostname),
    ("local_metadata.host.hostname.keyword", SortField::Hostname),
    ("hostname", SortField::Hostname),
    ("status", SortField::Status),
    ("agent.version", SortField::Version),
    ("local_metadata.elastic.agent.version", SortField::Version),
    ("version", SortField::Version),
    ("policy_id", SortField::Policy),
    ("policy_revision", SortField::PolicyRevision),
    ("policy_revision_idx", SortField::PolicyRevision),
    ("upgrade_started_at", SortField::UpgradeStartedAt),
    ("upgraded_at", SortField::UpgradedAt),
    ("unenrolled_at", SortField::UnenrolledAt),
    ("id", SortField::Id),
    ("agent.id", SortField::Id),
];

/// Agents cannot be listed by this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("agents cannot be sorted by {0:?}: one of {names}", names = SORT_FIELDS.map(|(name, _)| name).join(", "))]
pub struct UnknownSortField(String);

impl FromStr for SortField {
    type Err = UnknownSortField;

    fn from_str(text: &str) -> Result<SortField, UnknownSortField> {
        let short = text.strip_prefix("fleet-agents.").unwrap_or(text);
        let found = SORT_FIELDS.iter().find(|(name, _)| *name == short);
        found.map(|(_, field)| *field).ok_or_else(|| UnknownSortField(text.chars().take(128).collect()))
    }
}

/// In which order agents are listed. Those that are alike in it are in the order of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: SortField,
    /// The greatest first.
    pub is_descending: bool,
}

/// Where a page ended: behind the agent with this value and this id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub SortValue, pub String);

/// What an agent is listed by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// A number: milliseconds since 1970, a revision, a place among the statuses.
    Number(u64),
    /// A text.
    Text(String),
}

/// Which page is asked for.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// In which order.
    pub order: Order,
    /// Only what comes behind this.
    pub after: Option<Position>,
    /// So many are passed over.
    pub skip: usize,
    /// So many are asked for.
    pub take: usize,
}

/// A page of agents.
#[derive(Clone, Debug)]
pub struct AgentsPage {
    /// The agents.
    pub items: Vec<(Snapshot, Status)>,
    /// How many there are on all pages.
    pub total: usize,
    /// How all that the query is about are, listed or not.
    pub counts: Counts,
    /// Where the next page begins. `None`: there are no more.
    pub next: Option<Position>,
}

/// An agent that may be on the page.
struct Candidate {
    /// The beginning of what it is listed by, so that most comparisons need not look further. Reversed for a
    /// descending order.
    key: u128,
    id: Arc<str>,
    agent: Arc<Agent>,
}

impl Order {
    fn text<'a>(self, id: &'a str, agent: &'a Agent) -> Option<&'a str> {
        match self.by {
            SortField::Hostname => Some(&agent.host.hostname),
            SortField::Policy => Some(&agent.policy_id),
            SortField::Version => Some(&agent.agent.version),
            SortField::Id => Some(id),
            _ => None,
        }
    }

    fn number(self, seen: &Seen<'_>) -> u64 {
        let moment = |at: Option<Timestamp>| at.map_or(0, |at| at.unix().unsigned_abs() * 1000);
        match self.by {
            SortField::EnrolledAt => moment(Some(seen.agent.enrolled_at)),
            SortField::LastCheckin => moment(seen.state.last_checkin),
            SortField::Status => seen.status as u64,
            SortField::PolicyRevision => seen.state.policy_revision_idx,
            SortField::UpgradeStartedAt => moment(seen.agent.upgrade_started_at),
            SortField::UpgradedAt => moment(seen.state.upgraded_at),
            SortField::UnenrolledAt => moment(seen.agent.unenrolled_at),
            _ => 0,
        }
    }

    fn key_of_text(self, text: &str) -> u128 {
        let key = if self.by == SortField::Version {
            Version::parse(text).map_or(0, |version| {
                u128::from(version.major) << 64 | u128::from(version.minor) << 32 | u128::from(version.patch)
            })
        } else {
            let mut first = [0; 16];
            for (to, from) in first.iter_mut().zip(text.bytes()) {
                *to = from;
            }
            u128::from_be_bytes(first)
        };
        self.directed(key)
    }

    fn directed(self, key: u128) -> u128 {
        if self.is_descending { !key } else { key }
    }

    fn key(self, seen: &Seen<'_>) -> u128 {
        match self.text(seen.id, seen.agent) {
            Some(text) => self.key_of_text(text),
            None => self.directed(self.number(seen).into()),
        }
    }

    fn compare_texts(self, a: &str, b: &str) -> Ordering {
        if self.is_descending { b.cmp(a) } else { a.cmp(b) }
    }

    fn compare(self, a: &Candidate, b: &Candidate) -> Ordering {
        a.key.cmp(&b.key).then_with(|| {
            let texts = self.text(&a.id, &a.agent).zip(self.text(&b.id, &b.agent));
            texts.map_or(Ordering::Equal, |(a, b)| self.compare_texts(a, b)).then_with(|| a.id.cmp(&b.id))
        })
    }

    /// Whether it comes behind `position`.
    fn is_after(self, candidate: &Candidate, position: &Position) -> bool {
        let (key, text) = match &position.0 {
            SortValue::Number(number) => (self.directed((*number).into()), None),
            SortValue::Text(text) => (self.key_of_text(text), Some(text)),
        };
        let order = candidate.key.cmp(&key).then_with(|| {
            let texts = self.text(&candidate.id, &candidate.agent).zip(text);
            texts.map_or(Ordering::Equal, |(a, b)| self.compare_texts(a, b))
        });
        order.then_with(|| (*candidate.id).cmp(&position.1)) == Ordering::Greater
    }

    fn position(self, candidate: &Candidate) -> Position {
        let value = match self.text(&candidate.id, &candidate.agent) {
            Some(text) => SortValue::Text(text.to_owned()),
            None => SortValue::Number(u64::try_from(self.directed(candidate.key)).unwrap_or(u64::MAX)),
        };
        Position(value, candidate.id.to_string())
    }
}

impl Agents {
    /// A page of the agents that are meant.
    pub fn page<P: Presence>(&self, filter: &Filter<'_>, request: &PageRequest, presence: &P) -> AgentsPage {
        let order = request.order;
        let (mut total, mut counts) = (0, Counts::default());
        let mut candidates = Vec::new();
        // Those that are not listed are counted nevertheless.
        let whole = Filter { with_inactive: true, ..*filter };
        self.choose(&whole, presence, |seen| {
            counts.add(seen.status);
            if !filter.with_inactive && !seen.status.is_listed() {
                return;
            }
            total += 1;
            let (id, agent) = (Arc::clone(seen.id), Arc::clone(seen.agent));
            let candidate = Candidate { key: order.key(seen), id, agent };
            if request.after.as_ref().is_none_or(|after| order.is_after(&candidate, after)) {
                candidates.push(candidate);
            }
        });
        let page = cut(&mut candidates, request, |a, b| order.compare(a, b));
        let has_more = request.skip.saturating_add(request.take) < candidates.len();
        let page = candidates.get(page).unwrap_or_default();
        let next = page.last().filter(|_| has_more).map(|last| order.position(last));
        let items = page.iter().filter_map(|candidate| self.get(&candidate.id));
        let items = items.map(|agent| {
            let status = self.status_of(&agent, presence);
            (agent, status)
        });
        AgentsPage { items: items.collect(), total, counts, next }
    }

    /// How often which values are, among the agents that are meant.
    pub fn facets<P: Presence>(&self, filter: &Filter<'_>, presence: &P) -> Facets {
        let mut facets = Facets::default();
        self.choose(filter, presence, |seen| facets.add(seen));
        facets
    }
}

/// Puts the page in its order, and returns where it is. What is before and behind it stays in no order.
fn cut<T>(
    items: &mut [T],
    request: &PageRequest,
    compare: impl Fn(&T, &T) -> Ordering,
) -> std::ops::Range<usize> {
    let (start, length) = (request.skip, items.len());
    if start >= length || request.take == 0 {
        return 0..0;
    }
    if start > 0 {
        items.select_nth_unstable_by(start, &compare);
    }
    let end = start.saturating_add(request.take).min(length);
    if end < length {
        items[start..].select_nth_unstable_by(end - start, &compare);
    }
    items[start..end].sort_unstable_by(&compare);
    start..end
}

#[cfg(test)]
mod tests;
