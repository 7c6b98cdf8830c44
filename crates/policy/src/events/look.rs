//! The comparison of one agent with what was told of it last. No clock, no store.

use std::sync::Arc;
use std::time::Duration;

use super::event::EventKind;
use super::ledger::{Seen, Told};
use crate::agents::Snapshot;
use crate::status::{OFFLINE_AFTER, Status};
use crate::timestamp::Timestamp;

/// The longest text of a reason or an error, in bytes.
const LONGEST_TEXT: usize = 512;
/// Every agent is looked at this often, whatever is told of it: what changes its status by time alone (its policy's
/// timeout was changed) is noticed within this.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// The state of an upgrade that failed on the way.
const UPGRADE_FAILED: &str = "UPG_FAILED";

/// When it is looked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// Before this, silence proves nothing: it may have been that nobody could listen.
    pub(super) settled_at: Timestamp,
    /// That of the agent's policy; zero for none.
    pub(super) inactivity_timeout: Duration,
}

/// Something to be told of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    Enrolled {
        to: Status,
    },
    Unenrolled {
        from: Option<Status>,
        reason: String,
    },
    Status {
        from: Status,
        to: Status,
        reason: String,
    },
    /// By the action's revision.
    ActionFailed {
        seq_no: u64,
    },
    UpgradeFailed {
        action_id: String,
        error: String,
    },
    PolicyFailed {
        policy_id: Arc<str>,
        revision: u64,
        error: String,
    },
}

impl News {
    pub(super) fn kind(&self) -> EventKind {
        match self {
            News::Enrolled { .. } => EventKind::AgentEnrolled,
            News::Unenrolled { .. } => EventKind::AgentUnenrolled,
            News::Status { .. } => EventKind::AgentStatusChanged,
            News::ActionFailed { .. } | News::UpgradeFailed { .. } => EventKind::ActionFailed,
            News::PolicyFailed { .. } => EventKind::PolicyFailed,
        }
    }
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) news: Vec<News>,
    /// To be kept instead of what was known.
    pub(super) seen: Seen,
    /// When to look again.
    pub(super) next: Option<Timestamp>,
}

/// Compares. `seen`: what was told last; nothing, if the agent is new. `adopts`: then it is taken as it is. `None`: what
/// is known of the agent is older than what was told.
pub(super) fn look(agent: &Snapshot, seen: Option<&Seen>, adopts: bool, moment: Moment) -> Option<Look> {
    let is_older = |seen: &Seen| {
        agent.agent_revision < seen.agent_revision || agent.state_revision < seen.state_revision
    };
    if seen.is_some_and(is_older) {
        return None;
    }
    let now = moment.now;
    let timeout = moment.inactivity_timeout;
    let mut status = Status::of(&agent.agent, &agent.state, None, timeout, now);
    let mut next = next_look(agent, status, moment);
    if let Some(seen) = seen
        && now < moment.settled_at
        && is_silent(status)
        && !is_silent(seen.status)
        && agent.agent.active
    {
        status = seen.status;
        next = Some(moment.settled_at);
    }
    let before = seen.and_then(|seen| seen.told.as_deref());
    let mut news = Vec::new();
    let told = failures(agent, before, &mut news);
    if seen.is_none() && adopts {
        news.clear();
    } else {
        news.splice(0..0, transition(agent, seen, status));
    }
    let seen = Seen {
        status,
        enrolled_at: agent.agent.enrolled_at.unix(),
        agent_revision: agent.agent_revision,
        state_revision: agent.state_revision,
        told: (told != Told::default()).then(|| Box::new(told)),
        due: seen.and_then(|seen| seen.due),
    };
    Some(Look { news, seen, next })
}

/// What is told of an agent that is gone altogether.
pub(super) fn gone(seen: &Seen) -> Option<News> {
    let is_news = seen.status != Status::Unenrolled;
    is_news.then(|| News::Unenrolled { from: Some(seen.status), reason: "removed".to_owned() })
}

/// Whether an agent is so because nothing is heard of it.
fn is_silent(status: Status) -> bool {
    matches!(status, Status::Offline | Status::Inactive)
}

fn next_look(agent: &Snapshot, status: Status, moment: Moment) -> Option<Timestamp> {
    if status == Status::Unenrolled {
        return None;
    }
    let second = Duration::from_secs(1);
    let last = agent.state.last_checkin.unwrap_or(agent.agent.enrolled_at);
    let limits = [OFFLINE_AFTER, moment.inactivity_timeout];
    let moments = limits.into_iter().filter(|limit| !limit.is_zero()).map(|limit| last + limit + second);
    let due = moments.filter(|due| *due > moment.now).min();
    Some(due.unwrap_or(moment.now + LOOK_EVERY).min(moment.now + LOOK_EVERY))
}

fn transition(agent: &Snapshot, seen: Option<&Seen>, to: Status) -> Option<News> {
    let enrolled_at = agent.agent.enrolled_at.unix();
    let from = seen.map(|seen| seen.status);
    let is_new = seen.is_none_or(|seen| seen.enrolled_at != enrolled_at || seen.status == Status::Unenrolled);
    match (from, to) {
        (Some(from), to) if from == to && !is_new => None,
        (Some(Status::Unenrolled), Status::Unenrolled) => None,
        (from, Status::Unenrolled) => Some(News::Unenrolled { from, reason: reason(agent, to) }),
        (_, to) if is_new => Some(News::Enrolled { to }),
        (Some(from), to) => Some(News::Status { from, to, reason: reason(agent, to) }),
        (None, to) => Some(News::Enrolled { to }),
    }
}

/// Why an agent is as it is, for a person.
fn reason(agent: &Snapshot, status: Status) -> String {
    let Snapshot { agent, state, .. } = agent;
    let last = state.last_checkin.unwrap_or(agent.enrolled_at);
    match status {
        Status::Unenrolled => {
            agent.unenrolled_reason.as_deref().unwrap_or("it was asked to leave, and has left").to_owned()
        }
        Status::Inactive | Status::Offline => format!("last heard of at {last}"),
        Status::Uninstalled => "it was removed from its machine".to_owned(),
        Status::Orphaned => "its endpoint protection lost it".to_owned(),
        Status::Updating if agent.upgrade_started_at > state.upgraded_at => {
            "it becomes another version".to_owned()
        }
        Status::Updating => "it does not run its policy yet".to_owned(),
        Status::Enrolling => "it has never checked in".to_owned(),
        Status::Unenrolling => "it was asked to leave".to_owned(),
        Status::Error | Status::Degraded | Status::Online => shorten(&state.last_checkin_message),
    }
}

/// The failures that the agent's state tells of; those that were not told before are news.
fn failures(agent: &Snapshot, before: Option<&Told>, news: &mut Vec<News>) -> Told {
    let state = &agent.state;
    let mut told = Told::default();
    for acked in state.acked_actions.iter().filter(|acked| acked.failed) {
        told.actions.push(acked.seq_no);
        if !before.is_some_and(|before| before.actions.contains(&acked.seq_no)) {
            news.push(News::ActionFailed { seq_no: acked.seq_no });
        }
    }
    if let Some(details) = &state.upgrade_details
        && details.state == UPGRADE_FAILED
    {
        let action_id = details.action_id.clone();
        if before.and_then(|before| before.upgrade.as_ref()) != Some(&action_id) {
            let text = |name: &str| details.metadata.as_ref()?.get(name)?.as_str().map(shorten);
            let error = text("error_msg").unwrap_or_default();
            news.push(News::UpgradeFailed { action_id: action_id.clone(), error });
        }
        told.upgrade = Some(action_id);
    }
    if let Some(failure) = &state.policy_failure {
        let policy = (Arc::clone(&failure.policy_id), failure.revision);
        if before.and_then(|before| before.policy.as_ref()) != Some(&policy) {
            let error = shorten(&failure.error);
            let (policy_id, revision) = policy.clone();
            news.push(News::PolicyFailed { policy_id, revision, error });
        }
        told.policy = Some(policy);
    }
    told
}

/// The beginning of a text.
pub(super) fn shorten(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}

#[cfg(test)]
mod tests {
    use fleet_store::Revision;
    use proptest::prelude::*;

    use super::*;
    use crate::documents::{AckedAction, Agent, AgentState, CheckinStatus, PolicyFailure};

    const NOON: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(NOON + seconds)
    }

    fn moment(seconds: i64) -> Moment {
        Moment { now: at(seconds), settled_at: at(0), inactivity_timeout: Duration::from_secs(3600) }
    }

    fn agent(checked_in: i64, revision: u64) -> Snapshot {
        let agent = Agent { active: true, policy_id: "web".into(), enrolled_at: at(-10), ..Agent::default() };
        let state = AgentState {
            last_checkin: Some(at(checked_in)),
            last_checkin_status: Some(CheckinStatus::Online),
            policy_revision_idx: 1,
            ..AgentState::default()
        };
        Snapshot {
            id: "a1".into(),
            agent: Arc::new(agent),
            agent_revision: Revision(1),
            state: Arc::new(state),
            state_revision: Revision(revision),
        }
    }

    fn with(mut agent: Snapshot, change: impl FnOnce(&mut AgentState)) -> Snapshot {
        change(Arc::make_mut(&mut agent.state));
        agent.state_revision.0 += 1;
        agent
    }

    #[test]
    fn each_change_is_told_once() {
        let first = look(&agent(0, 1), None, false, moment(1)).unwrap();
        assert_eq!(first.news, [News::Enrolled { to: Status::Online }]);
        let again = look(&agent(0, 1), Some(&first.seen), false, moment(2)).unwrap();
        assert_eq!((again.news.len(), &again.seen), (0, &first.seen));
        let failing = with(agent(3, 1), |state| {
            state.last_checkin_status = Some(CheckinStatus::Error);
            state.last_checkin_message = "disk full".into();
            state.acked_actions.push(AckedAction { seq_no: 7, failed: true });
            state.acked_actions.push(AckedAction { seq_no: 8, failed: false });
            let error = "x".repeat(2000);
            let failure = PolicyFailure { policy_id: "web".into(), revision: 2, error, at: at(3) };
            state.policy_failure = Some(Box::new(failure));
        });
        let second = look(&failing, Some(&again.seen), false, moment(4)).unwrap();
        let reason = "disk full".to_owned();
        assert_eq!(second.news[0], News::Status { from: Status::Online, to: Status::Error, reason });
        assert_eq!(second.news[1], News::ActionFailed { seq_no: 7 });
        assert!(
            matches!(&second.news[2], News::PolicyFailed { revision: 2, error, .. } if error.len() == 512)
        );
        // The same failure, told again by the agent.
        let repeated = with(failing, |state| state.policy_failure.as_mut().unwrap().at = at(9));
        assert!(look(&repeated, Some(&second.seen), false, moment(10)).unwrap().news.is_empty());
    }

    #[test]
    fn silence_is_noticed_when_it_is_long_enough() {
        let seen = look(&agent(0, 1), None, true, moment(0)).unwrap();
        assert!(seen.news.is_empty(), "adopted as it is");
        assert_eq!(seen.next, Some(at(300)));
        let later = look(&agent(0, 1), Some(&seen.seen), false, moment(301)).unwrap();
        let reason = format!("last heard of at {}", at(0));
        assert_eq!(later.news, [News::Status { from: Status::Online, to: Status::Offline, reason }]);
        let inactive = look(&agent(0, 1), Some(&later.seen), false, moment(3601)).unwrap();
        assert!(matches!(inactive.news[..], [News::Status { to: Status::Inactive, .. }]));
    }

    #[test]
    fn a_new_keeper_waits_before_it_calls_anybody_silent() {
        let seen = look(&agent(0, 1), None, true, moment(0)).unwrap().seen;
        let unsettled = Moment { settled_at: at(1000), ..moment(900) };
        let found = look(&agent(0, 1), Some(&seen), false, unsettled).unwrap();
        assert_eq!((found.news.len(), found.next), (0, Some(at(1000))));
        assert_eq!(found.seen.status, Status::Online);
        let settled = look(&agent(0, 1), Some(&found.seen), false, Moment { now: at(1000), ..unsettled });
        assert!(matches!(settled.unwrap().news[..], [News::Status { to: Status::Offline, .. }]));
    }

    #[test]
    fn what_is_older_than_what_was_told_is_no_news() {
        let seen = look(&agent(0, 5), None, false, moment(0)).unwrap().seen;
        assert!(look(&agent(0, 4), Some(&seen), false, moment(1)).is_none());
    }

    #[test]
    fn leaving_and_coming_back_have_kinds_of_their_own() {
        let seen = look(&agent(0, 1), None, false, moment(0)).unwrap().seen;
        let mut left = agent(0, 1);
        Arc::make_mut(&mut left.agent).active = false;
        Arc::make_mut(&mut left.agent).unenrolled_reason = Some("timeout".into());
        let away = look(&left, Some(&seen), false, moment(1)).unwrap();
        let reason = "timeout".to_owned();
        assert_eq!(away.news, [News::Unenrolled { from: Some(Status::Online), reason }]);
        assert_eq!((away.next, gone(&away.seen)), (None, None));
        let back = look(&agent(2, 1), Some(&away.seen), false, moment(2)).unwrap();
        assert_eq!(back.news, [News::Enrolled { to: Status::Online }]);
        assert!(gone(&back.seen).is_some());
        let mut replaced = agent(3, 2);
        Arc::make_mut(&mut replaced.agent).enrolled_at = at(2);
        let replaced = look(&replaced, Some(&back.seen), false, moment(3)).unwrap();
        assert_eq!(replaced.news, [News::Enrolled { to: Status::Online }]);
    }

    proptest! {
        /// Whatever happens, in the end it was told how the agent is; and nothing is told twice.
        #[test]
        fn what_was_told_leads_to_what_is(steps in proptest::collection::vec((0_i64..400, 0_u8..5), 1..40)) {
            let (mut now, mut checked_in) = (0, 0);
            let mut seen: Option<Seen> = None;
            let mut told = None;
            let mut current = agent(0, 1);
            for (passed, what) in steps {
                now += passed;
                current = with(current, |state| {
                    if what > 0 {
                        checked_in = now;
                    }
                    state.last_checkin = Some(at(checked_in));
                    state.last_checkin_status = match what {
                        1 => Some(CheckinStatus::Error),
                        2 => Some(CheckinStatus::Degraded),
                        _ => Some(CheckinStatus::Online),
                    };
                });
                let found = look(&current, seen.as_ref(), false, moment(now)).unwrap();
                for news in &found.news {
                    match news {
                        News::Enrolled { to } => told = Some(*to),
                        News::Status { from, to, .. } => {
                            prop_assert_eq!(told, Some(*from));
                            prop_assert_ne!(from, to);
                            told = Some(*to);
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                prop_assert_eq!(told, Some(found.seen.status));
                let again = look(&current, Some(&found.seen), false, moment(now)).unwrap();
                prop_assert!(again.news.is_empty());
                prop_assert!(found.next.is_some_and(|next| next > at(now) && next <= at(now + 300)));
                seen = Some(found.seen);
            }
        }
    }
}
