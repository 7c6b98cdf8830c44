//! `fleetctl agent watch`: follows an action, or the roll-out of a policy, to its end.
//!
//! A server that does not answer for a while is asked again: what it was asked to do goes on without us.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::session::Session;
use crate::cli::nouns::Watch;
use crate::context::{Failure, Outcome};
use crate::error::report;
use crate::management::{ACTION, AGENT, ApiError, POLICY, Query, list, quoted};

/// The exit code when the time has run out, as of timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;
/// How often in a row an action may be missing: a server that has just been told of it by another one's store may
/// lag.
const MOST_MISSES: u32 = 5;
/// How many actions are looked at before all of them are.
const RECENT: usize = 100;
/// Columns of the bar.
const BAR: u64 = 30;

/// How often it is looked, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: Duration,
    limit: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { interval: Duration::from_secs(2), limit: None }
    }
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    total: u64,
    done: u64,
    failed: u64,
    /// In one word.
    state: String,
    /// The end, if it is reached, and whether it is a good one.
    end: Option<bool>,
}

impl Progress {
    fn words(&self) -> String {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        format!("{} of {} agents done{failed}: {}", self.done, self.total, self.state)
    }

    fn bar(&self) -> String {
        let part = |count: u64| (count.min(self.total) * BAR).checked_div(self.total).unwrap_or(0);
        let (done, failed) = (part(self.done), part(self.failed));
        let bar: String = (0..BAR)
            .map(|column| match column {
                column if column < done => '#',
                column if column < done + failed => '!',
                _ => '.',
            })
            .collect();
        format!("[{bar}] {}", self.words())
    }
}

/// What is followed.
enum Subject<'a> {
    Action(&'a str),
    /// The id of a policy.
    Policy(&'a str),
}

/// `agent watch`
pub(super) async fn run(session: &Session, flags: &Watch) -> Outcome {
    let wrong = |text: &str| Failure { message: format!("Error: {text}"), code: 2 };
    let interval = Duration::try_from_secs_f64(flags.interval)
        .ok()
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| wrong("--interval must be a number of seconds greater than 0"))?;
    let limit = (flags.timeout > 0).then(|| Duration::from_secs(flags.timeout));
    let pace = Pace { interval, limit };
    match (&flags.action, &flags.policy) {
        (Some(id), _) => action(session, id, &pace).await,
        (None, Some(policy)) => {
            let id = session.id(&POLICY, policy).await?;
            follow(session, &Subject::Policy(&id), &pace).await
        }
        (None, None) => Err(wrong("name an action, or give --policy")),
    }
}

/// Follows an action to its end.
pub(super) async fn action(session: &Session, id: &str, pace: &Pace) -> Outcome {
    follow(session, &Subject::Action(id), pace).await
}

async fn follow(session: &Session, subject: &Subject<'_>, pace: &Pace) -> Outcome {
    let start = Instant::now();
    let mut last: Option<Progress> = None;
    let mut trouble: Option<String> = None;
    let mut misses = 0;
    loop {
        match look(session, subject).await {
            Ok(Some(progress)) => {
                (misses, trouble) = (0, None);
                if let Some(good) = progress.end {
                    session.console.line(progress.words());
                    return Ok(if good { 0 } else { 1 });
                }
                if session.console.shows_progress() {
                    session.console.progress(progress.bar());
                } else if last.as_ref() != Some(&progress) {
                    session.console.line(progress.words());
                }
                last = Some(progress);
            }
            Ok(None) => {
                misses += 1;
                if misses >= MOST_MISSES {
                    return Err(Failure::new(match subject {
                        Subject::Action(id) => format!("there is no action {id}"),
                        Subject::Policy(id) => format!("there is no agent policy {id} any more"),
                    }));
                }
            }
            Err(error) if error.is_passing() => {
                let words = report(&error);
                if trouble.as_ref() != Some(&words) {
                    session.console.note(format_args!("The server cannot answer now: {words}"));
                }
                trouble = Some(words);
            }
            Err(error) => return Err(error.into()),
        }
        let left = pace.limit.map(|limit| limit.saturating_sub(start.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            let words = last.map_or_else(|| "nothing is known of it".to_owned(), |last| last.words());
            return Err(Failure { message: format!("The time has run out: {words}"), code: TIMED_OUT });
        }
        sleep(left.map_or(pace.interval, |left| left.min(pace.interval))).await;
    }
}

async fn look(session: &Session, subject: &Subject<'_>) -> Result<Option<Progress>, ApiError> {
    match subject {
        Subject::Action(id) => {
            // The newest come first, and it is mostly one of them that is followed.
            for limit in [RECENT, 0] {
                let actions = list(&session.client, &ACTION, &Query::default(), limit).await?;
                let own = actions.items.iter().find(|action| ACTION.id_of(action) == Some(*id));
                if own.is_some() || !actions.is_cut {
                    return Ok(own.map(progress_of_action));
                }
            }
            Ok(None)
        }
        Subject::Policy(id) => roll_out(session, id).await,
    }
}

fn progress_of_action(action: &Value) -> Progress {
    let count = |field: &str| action.get(field).and_then(Value::as_u64).unwrap_or(0);
    let state = action.get("status").and_then(Value::as_str).unwrap_or("IN_PROGRESS").to_owned();
    let failed = count("nbAgentsFailed");
    let end = match state.as_str() {
        "COMPLETE" => Some(failed == 0),
        "FAILED" | "CANCELLED" | "EXPIRED" | "ROLLOUT_PASSED" => Some(false),
        _ => None,
    };
    let total = count("nbAgentsActioned").max(count("nbAgentsActionCreated"));
    Progress { total, done: count("nbAgentsAck"), failed, state, end }
}

/// How many agents of a policy run its newest revision.
async fn roll_out(session: &Session, id: &str) -> Result<Option<Progress>, ApiError> {
    let path = format!("agent_policies/{}", crate::client::percent_encode(id));
    let Some(answer) = session.client.get_if_there(&path).await? else { return Ok(None) };
    let revision = answer.pointer("/item/revision").and_then(Value::as_u64).unwrap_or(0);
    let of_policy = format!("policy_id:{}", quoted(id));
    let total = count(session, &of_policy).await?;
    let done = count(session, &format!("{of_policy} and policy_revision_idx:{revision}")).await?;
    let state = format!("revision {revision}");
    let end = (done >= total).then_some(true);
    Ok(Some(Progress { total, done, failed: 0, state, end }))
}

async fn count(session: &Session, kuery: &str) -> Result<u64, ApiError> {
    let found = list(&session.client, &AGENT, &Query::default().with("kuery", kuery), 1).await?;
    Ok(found.total.unwrap_or(found.items.len() as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_bar_is_as_long_as_the_work() {
        let progress =
            |done, failed| Progress { total: 10, done, failed, state: "IN_PROGRESS".to_owned(), end: None };
        assert_eq!(
            progress(5, 1).bar(),
            "[###############!!!............] 5 of 10 agents done, 1 failed: IN_PROGRESS"
        );
        assert!(progress(10, 0).bar().starts_with(&format!("[{}]", "#".repeat(30))));
        assert!(Progress { total: 0, ..progress(0, 0) }.bar().starts_with("[......"));
    }

    #[test]
    fn the_state_of_an_action_says_how_it_ended() {
        for (status, failed, end) in [
            ("IN_PROGRESS", 3, None),
            ("COMPLETE", 0, Some(true)),
            ("COMPLETE", 1, Some(false)),
            ("FAILED", 1, Some(false)),
            ("CANCELLED", 0, Some(false)),
            ("EXPIRED", 0, Some(false)),
            ("ROLLOUT_PASSED", 0, Some(false)),
        ] {
            let action =
                json!({"status": status, "nbAgentsActioned": 5, "nbAgentsAck": 2, "nbAgentsFailed": failed});
            let progress = progress_of_action(&action);
            assert_eq!((progress.end, progress.total, progress.done), (end, 5, 2), "{status}");
        }
    }
}
