//! One action as it is delivered.

use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::agent::ActionType;

use crate::documents::Action;
use crate::timestamp::Timestamp;

/// An action that can be delivered.
#[derive(Debug)]
pub struct StoredAction {
    /// The id of its document: what an agent's token names.
    pub document_id: String,
    /// The revision of its document: its place in the order of actions.
    pub seq_no: u64,
    /// What it asks for.
    pub kind: ActionType,
    /// The document.
    pub action: Action,
    /// The action that a `CANCEL` takes back.
    pub cancels: Option<String>,
    /// Whom it is for, in the order in which they start.
    pub agents: Vec<Arc<str>>,
}

/// An action for one agent.
#[derive(Clone, Debug)]
pub struct Due {
    /// The action.
    pub action: Arc<StoredAction>,
    /// When this agent may start.
    pub start_time: Option<Timestamp>,
}

impl StoredAction {
    /// Checks a document. `Err`: the id again, and why it cannot be delivered.
    pub(super) fn new(
        document_id: String,
        seq_no: u64,
        mut action: Action,
        agents: Vec<Arc<str>>,
    ) -> Result<StoredAction, (String, String)> {
        let kind = match action.kind.parse::<ActionType>() {
            // Made for each agent by the server; a stored one would carry an arbitrary policy.
            Ok(ActionType::PolicyChange) => {
                return Err((document_id, "a POLICY_CHANGE is never stored".to_owned()));
            }
            Ok(kind) => kind,
            Err(error) => return Err((document_id, error.to_string())),
        };
        let cancels = if kind == ActionType::Cancel {
            let Some(target) = target_of(&action) else {
                return Err((document_id, "a CANCEL needs the text data.target_id".to_owned()));
            };
            Some(target)
        } else {
            None
        };
        action.agents = Vec::new();
        Ok(StoredAction { document_id, seq_no, kind, action, cancels, agents })
    }

    /// Whether it is too late for it. An upgrade's expiration is the agent's own business: it tells of an
    /// upgrade that came too late.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.action.expiration.is_some_and(|expiration| expiration <= now)
    }

    /// When the `index`th agent may start: the agents of a rolling action are spread evenly over its duration.
    #[must_use]
    pub fn start_time(&self, index: u32) -> Option<Timestamp> {
        let start = self.action.start_time?;
        let (Some(duration), count @ 1..) = (self.action.rollout_duration_seconds, self.agents.len() as u64)
        else {
            return Some(start);
        };
        let offset = u128::from(duration) * u128::from(index) / u128::from(count);
        Some(start + Duration::from_secs(u64::try_from(offset).unwrap_or(u64::MAX)))
    }
}

fn target_of(action: &Action) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Target {
        target_id: String,
    }
    let target: Target = serde_json::from_str(action.data.as_ref()?.get()).ok()?;
    Some(target.target_id)
}
