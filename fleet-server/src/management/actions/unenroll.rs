//! Letting agents go, or making them.

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::agents::Seen;
use fleet_policy::status::Status;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ActionAnswer, Asked, Chosen, Done, Picked};
use crate::jobs::bulk::Change;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// How.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Unenroll {
    /// Also when its policy is hosted.
    force: bool,
    /// It is not asked: its key is good no more from now on.
    revoke: bool,
}

/// Which agents, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkUnenroll {
    agents: Chosen,
    /// Also those of hosted policies.
    #[serde(default)]
    force: bool,
    /// They are not asked: their keys are good no more from now on.
    #[serde(default)]
    revoke: bool,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/{id}/unenroll`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Unenroll>,
) -> Result<Json<Done>, ApiError> {
    let mut picked = management.pick_one(&id, &caller, |seen| may_leave(seen, asked.revoke)).await?;
    if !asked.force {
        management.refuse_hosted(&mut picked, "to unenrol it").await?;
    }
    management.unenroll(picked.single()?, asked.revoke, &caller).await?;
    Ok(Json(Done {}))
}

/// `POST /agents/bulk_unenroll`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkUnenroll>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let mut picked = management
        .pick(&asked.agents, asked.include_inactive, &caller, |seen| may_leave(seen, asked.revoke))
        .await?;
    if !asked.force {
        management.refuse_hosted(&mut picked, "to unenrol it").await?;
    }
    Ok(Json(ActionAnswer { action_id: management.unenroll(picked, asked.revoke, &caller).await? }))
}

/// An agent that was asked already may be asked again: it may not have heard.
fn may_leave(seen: &Seen<'_>, revoke: bool) -> Result<(), String> {
    match seen.status {
        Status::Unenrolled => Err(format!("agent {} is unenrolled already", seen.id)),
        Status::Uninstalled if !revoke => {
            Err(format!("agent {} is uninstalled and cannot be asked: use revoke", seen.id))
        }
        _ => Ok(()),
    }
}

impl Management {
    /// Asks agents to leave, or (`revoke`) makes them: their keys are good no more from now on.
    async fn unenroll(&self, picked: Picked<()>, revoke: bool, caller: &Caller) -> Result<String, ApiError> {
        let now = self.now();
        let agents = picked.ids();
        if revoke {
            let asked = Asked::new(ActionType::ForceUnenroll, None, picked.refused);
            return self.ask_and_change(asked, agents, Change::Leave(now), caller).await;
        }
        let asked = Asked::new(ActionType::Unenroll, None, picked.refused);
        self.ask_and_mark(asked, agents, Change::AskedToLeave(Some(now)), caller).await
    }
}
