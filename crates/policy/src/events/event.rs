//! An event, its kinds, its id.

use std::fmt;
use std::str::FromStr;

use fleet_store::Collection;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::status::Status;
use crate::timestamp::Timestamp;

/// [`Event`] by its id.
pub static EVENTS: Collection = Collection { name: "events", indexed: &[] };

/// Events of one millisecond that an id can count.
const PER_MILLISECOND: u16 = 1 << 12;

/// The id of an event: a UUID of version 7, whose order is the order in which events were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// The text is no event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event: send an id as it came, such as 0199a0c2-7d5e-7000-8000-0123456789ab")]
pub struct NoEventId;

impl EventId {
    /// Smaller than every id that is given from this moment on.
    #[must_use]
    pub fn before(moment: Timestamp) -> EventId {
        EventId(Builder::from_unix_timestamp_millis(millis(moment), &[0; 10]).into_uuid())
    }

    fn millis(self) -> u64 {
        u64::try_from(self.0.as_u128() >> 80).unwrap_or(u64::MAX)
    }
}

fn millis(moment: Timestamp) -> u64 {
    moment.unix().unsigned_abs().saturating_mul(1000)
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<EventId, NoEventId> {
        let uuid = Uuid::try_parse(text).map_err(|_| NoEventId)?;
        if uuid.get_version_num() == 7 { Ok(EventId(uuid)) } else { Err(NoEventId) }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Gives ids that grow, whatever the clock does.
#[derive(Debug, Default)]
pub(super) struct Ids {
    millis: u64,
    count: u16,
}

impl Ids {
    /// Ids after this one.
    pub(super) fn after(last: Option<EventId>) -> Ids {
        Ids { millis: last.map_or(0, |last| last.millis().saturating_add(1)), count: 0 }
    }

    pub(super) fn next(&mut self, now: Timestamp) -> EventId {
        if millis(now) > self.millis {
            *self = Ids { millis: millis(now), count: 0 };
        } else if self.count == PER_MILLISECOND {
            *self = Ids { millis: self.millis.saturating_add(1), count: 0 };
        }
        // Chance tells apart what two servers write that both believe to be the keeper.
        let mut rest = [0; 10];
        rest.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
        rest[..2].copy_from_slice(&self.count.to_be_bytes());
        self.count += 1;
        EventId(Builder::from_unix_timestamp_millis(self.millis, &rest).into_uuid())
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An agent is new, or took another one's place.
    AgentEnrolled,
    /// An agent left, or was made to.
    AgentUnenrolled,
    /// An agent is another way than before.
    AgentStatusChanged,
    /// An agent told that an action failed.
    ActionFailed,
    /// A revision of a policy is handed out.
    PolicyRevision,
    /// An agent cannot run a revision of its policy.
    PolicyFailed,
    /// A revision goes to no more agents, because too many had trouble with it.
    RolloutHalted,
}

impl EventKind {
    /// Every kind that there is.
    pub const ALL: [EventKind; 7] = [
        EventKind::AgentEnrolled,
        EventKind::AgentUnenrolled,
        EventKind::AgentStatusChanged,
        EventKind::ActionFailed,
        EventKind::PolicyRevision,
        EventKind::PolicyFailed,
        EventKind::RolloutHalted,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::AgentEnrolled => "agent-enrolled",
            EventKind::AgentUnenrolled => "agent-unenrolled",
            EventKind::AgentStatusChanged => "agent-status-changed",
            EventKind::ActionFailed => "action-failed",
            EventKind::PolicyRevision => "policy-revision",
            EventKind::PolicyFailed => "policy-failed",
            EventKind::RolloutHalted => "rollout-halted",
        }
    }
}

/// The text is no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of event: use {all}", all = EventKind::ALL.map(EventKind::as_str).join(", "))]
pub struct NoEventKind(String);

impl FromStr for EventKind {
    type Err = NoEventKind;

    fn from_str(text: &str) -> Result<EventKind, NoEventKind> {
        let known = EventKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| NoEventKind(text.chars().take(64).collect()))
    }
}

/// Something that happened. What does not belong to its kind is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Grows from event to event.
    #[schemars(with = "String")]
    pub id: EventId,
    /// When it was noticed.
    #[serde(rename = "@timestamp")]
    #[schemars(with = "String")]
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// To which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// On which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The policy that it is about, or that the agent should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_id: Option<String>,
    /// The revision of that policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How the agent was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Status>,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub to: Option<Status>,
    /// The action that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// What it was to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_type: Option<String>,
    /// Why the agent is as it is, why it left, why the roll-out was halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What went wrong, in the agent's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Event {
    /// Something of this kind that happened now, of which no more is known yet.
    #[must_use]
    pub fn new(id: EventId, timestamp: Timestamp, kind: EventKind) -> Event {
        Event {
            id,
            timestamp,
            kind,
            agent_id: None,
            hostname: None,
            policy_id: None,
            revision: None,
            from: None,
            to: None,
            action_id: None,
            action_type: None,
            reason: None,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does() {
        let mut ids = Ids::default();
        let noon = Timestamp::from_unix(1_800_000_000);
        let mut last = EventId::before(noon);
        for step in 0..20_000 {
            // It stands, and then goes back.
            let id = ids.next(if step < 10_000 { noon } else { Timestamp::from_unix(7) });
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        let mut other = Ids::after(Some(last));
        assert!(other.next(Timestamp::from_unix(7)) > last);
        let text = last.to_string();
        assert_eq!(text.parse(), Ok(last));
        assert_eq!(Uuid::new_v4().to_string().parse::<EventId>(), Err(NoEventId));
    }

    #[test]
    fn kinds_are_written_in_one_way() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("agent-exploded".parse::<EventKind>().unwrap_err().to_string().contains("action-failed"));
    }
}
