//! What takes long is done beside: the agent goes on, and is told when it is done.

use std::time::Duration;

use bytes::Bytes;
use fleet_service::error::chain;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::core::Agent;
use crate::clock;
use crate::diagnostics::{self, Material};
use crate::fleet::{AckEvent, Action, Retries, Upload, UploadError, upload};
use crate::state::Identity;
use crate::upgrade::Step;

/// An input has so long for an action that names no time.
const ACTION_TIME: Duration = Duration::from_secs(300);
/// And never longer.
const ACTION_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a job has come to.
#[derive(Debug)]
pub(super) enum JobDone {
    /// An action has its result.
    Acted(Box<AckEvent>),
    /// An upgrade has come further.
    Upgrade(Box<Action>, Step),
    /// What was to change the privileges has ended, and the agent has not.
    Privileges(Box<Action>, Result<(), String>),
    /// Another server has taken the agent, or has not, as the action of this id wants.
    Migrated(String, Result<Box<Identity>, String>),
}

/// Gives an action to an input.
pub(super) fn input_action(agent: &Agent, action: Action) {
    let workloads = agent.context.workloads.clone();
    let jobs = agent.jobs.clone();
    let agent_id = agent.identity.id.clone();
    tokio::spawn(async move {
        let started_at = clock::now_text();
        let asked =
            action.timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        let most = asked.map_or(ACTION_TIME, Duration::from_secs).min(ACTION_TIME_MAX);
        let outcome = timeout(most, workloads.act(&action)).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(format!("there is no answer within {} s", most.as_secs())));
        let (answer, outcome) = match outcome {
            Ok(response) => {
                let mut answer = Answer::of(response);
                let outcome = answer.error.take().map_or(Ok(()), Err);
                (answer, outcome)
            }
            Err(reason) => (Answer::default(), Err(reason)),
        };
        let event = AckEvent {
            action_input_type: Some(action.input_type.clone()),
            action_data: Some(action.data.clone()),
            action_response: answer.rest.map(|rest| json!({&action.input_type: rest})),
            started_at: Some(answer.started_at.unwrap_or(started_at)),
            completed_at: Some(answer.completed_at.unwrap_or_else(clock::now_text)),
            ..AckEvent::of(&agent_id, &action, outcome)
        };
        // The agent may have ended.
        let _ = jobs.send(JobDone::Acted(Box::new(event))).await;
    });
}

/// What an input has answered. What says how the action went has its own place in what the server is told.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    started_at: Option<String>,
    completed_at: Option<String>,
    error: Option<String>,
    rest: Option<Value>,
}

impl Answer {
    fn of(mut response: Value) -> Answer {
        let mut text = |name: &str| match response.as_object_mut()?.remove(name)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (started_at, completed_at, error) = (text("started_at"), text("completed_at"), text("error"));
        Answer { started_at, completed_at, error, rest: Some(response) }
    }
}

impl Agent {
    /// Makes diagnostics and sends them, if that was not done too often.
    pub(super) fn request_diagnostics(&mut self, action: Action) {
        let limits = self.plan.settings.diagnostics.clone();
        let now = Instant::now();
        while self.diagnosed.front().is_some_and(|made| now.duration_since(*made) >= limits.interval) {
            self.diagnosed.pop_front();
        }
        if self.diagnosed.len() >= usize::try_from(limits.burst).unwrap_or(usize::MAX) {
            let reason = format!(
                "diagnostics are made {} times in {} s at most (agent.monitoring.diagnostics.limit)",
                limits.burst,
                limits.interval.as_secs()
            );
            return self.finish(&action, Err(reason));
        }
        self.diagnosed.push_back(now);
        let retries = Retries {
            most: limits.upload_retries,
            first: limits.upload_first,
            longest: limits.upload_longest,
        };
        let material = self.material();
        let client = self.client.borrow().clone();
        let (agent_id, key) = (self.identity.id.clone(), self.identity.access_api_key.clone());
        let jobs = self.jobs.clone();
        tokio::spawn(async move {
            let made = make(material).await;
            let sent = match made {
                Ok(content) => {
                    let name = diagnostics::file_name();
                    let file = Upload {
                        agent_id: &agent_id,
                        key: &key,
                        action_id: &action.id,
                        name: &name,
                        mime_type: "application/zip",
                        content,
                    };
                    let sent = upload(&client, &file, retries).await;
                    sent.map_err(|error: UploadError| chain(&error))
                }
                Err(reason) => Err(reason),
            };
            let mut event = AckEvent::of(&agent_id, &action, sent.as_ref().map(drop).map_err(Clone::clone));
            event.data = sent.ok().map(|upload_id| json!({"upload_id": upload_id}));
            let _ = jobs.send(JobDone::Acted(Box::new(event))).await;
        });
    }

    /// What diagnostics are made of, as it is now.
    pub(super) fn material(&self) -> Material {
        let shown = |value: Option<&serde_json::Map<String, Value>>| {
            value.map(|policy| Value::Object(self.redactor.policy(policy))).unwrap_or(Value::Null)
        };
        Material {
            status: serde_json::to_value(self.status()).unwrap_or_default(),
            policy: shown(self.policy.as_deref()),
            components: self.components_shown(),
            metadata: self.machine.metadata(&self.identity.id, self.level(), false),
            variables: self.facts.clone(),
            redactor: self.redactor.clone(),
            logs: self.context.paths.logs.clone(),
            workloads: self.context.workloads.clone(),
        }
    }
}

pub(super) async fn make(material: Material) -> Result<Bytes, String> {
    let parts = diagnostics::gather(material).await;
    let zipped = tokio::task::spawn_blocking(move || diagnostics::zip(&parts)).await;
    let zipped = zipped.map_err(|error| error.to_string())?;
    zipped.map(Bytes::from).map_err(|error| format!("the diagnostics cannot be packed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_when_it_was_done_and_what_went_wrong() {
        let answer = Answer::of(json!({"started_at": "a", "completed_at": 7, "error": "", "rows": [1]}));
        let rest = Some(json!({"rows": [1]}));
        assert_eq!(answer, Answer { started_at: Some("a".to_owned()), rest, ..Answer::default() });
        assert_eq!(Answer::of(json!({"error": "no"})).error.as_deref(), Some("no"));
        assert_eq!(Answer::of(json!([1])).rest, Some(json!([1])));
    }
}
