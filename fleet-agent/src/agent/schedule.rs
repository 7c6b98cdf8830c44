//! Actions for later: kept over restarts, begun when they are due, dropped when their time is over.

use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant};

use super::core::Agent;
use crate::clock;
use crate::fleet::{Action, UpgradeDetails};
use crate::state::Queued;

/// So many at most; the server has them still.
const MOST: usize = 100;

impl Agent {
    /// Keeps an action whose time has not come. `None`: it is kept, or its time is over.
    pub(super) fn keep_for_later(&mut self, action: Action) -> Option<Action> {
        let now = self.now();
        if is_over(&action, now) {
            self.expire(&action);
            return None;
        }
        let due = action.start_time.as_deref().and_then(clock::seconds_of).filter(|due| *due > now);
        let Some(due) = due else { return Some(action) };
        self.queue(action, due, 0);
        None
    }

    /// Puts an action aside until it is due. Of upgrades, the newest counts.
    pub(super) fn queue(&mut self, action: Action, due: i64, attempts: u32) {
        if action.kind == "UPGRADE" {
            self.progress.queued.retain(|queued| queued.action.kind != "UPGRADE");
            self.progress.upgrade = Some(UpgradeDetails {
                target_version: version_of(&action),
                state: "UPG_SCHEDULED".to_owned(),
                action_id: action.id.clone(),
                metadata: Map::from_iter([("scheduled_at".to_owned(), clock::text_of(due).into())]),
            });
        }
        if self.progress.queued.len() >= MOST {
            return self.finish(&action, Err(format!("{MOST} actions wait already for their time")));
        }
        self.progress.queued.push(Queued { action, due, attempts });
        self.save_progress();
    }

    fn expire(&mut self, action: &Action) {
        let expiration = action.expiration.clone().unwrap_or_default();
        let reason = format!("the time for it was over at {expiration}");
        if action.kind == "UPGRADE" {
            self.progress.upgrade = Some(UpgradeDetails {
                target_version: version_of(action),
                state: "UPG_FAILED".to_owned(),
                action_id: action.id.clone(),
                metadata: metadata(json!({"failed_state": "UPG_SCHEDULED", "error_msg": reason})),
            });
        }
        self.finish(action, Err(reason));
    }

    /// Forgets an action that waits; an upgrade that runs is stopped if it still can be.
    pub(super) fn forget_queued(&mut self, target: &str) {
        let before = self.progress.queued.len();
        self.progress.queued.retain(|queued| queued.action.id != target);
        let was_queued = self.progress.queued.len() < before;
        let is_upgrading = self.progress.upgrade.as_ref().is_some_and(|upgrade| upgrade.action_id == target);
        if is_upgrading {
            if let Some(token) = self.upgrading.take() {
                token.cancel();
            }
            if was_queued
                || self.progress.upgrade.as_ref().is_some_and(|upgrade| upgrade.state != "UPG_WATCHING")
            {
                self.progress.upgrade = None;
            }
        }
        tracing::info!(action = target, was_queued, "action cancelled");
        self.save_progress();
    }

    /// When the next action is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.progress.queued.iter().map(|queued| queued.due).min()?;
        // Without a server nothing of it could be done, nor told.
        let wait = u64::try_from(due.saturating_sub(self.server_now()?)).unwrap_or(0);
        // The server's clock may be set: it is looked at again every minute.
        Some(Instant::now() + Duration::from_secs(wait.min(60)))
    }

    /// Begins what is due.
    pub(super) async fn begin_due(&mut self) {
        let Some(now) = self.server_now() else { return };
        let (due, later) =
            std::mem::take(&mut self.progress.queued).into_iter().partition(|queued| queued.due <= now);
        self.progress.queued = later;
        let due: Vec<Queued> = due;
        if due.is_empty() {
            return;
        }
        for queued in due {
            if is_over(&queued.action, now) {
                self.expire(&queued.action);
            } else {
                self.attempts.insert(queued.action.id.clone(), queued.attempts);
                self.begin(queued.action).await;
            }
        }
        self.save_progress();
    }
}

fn is_over(action: &Action, now: i64) -> bool {
    action.expiration.as_deref().and_then(clock::seconds_of).is_some_and(|end| end <= now)
}

pub(super) fn version_of(action: &Action) -> String {
    action.data.get("version").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A map of JSON.
pub(super) fn metadata(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
