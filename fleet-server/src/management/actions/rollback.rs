//! Taking agents back to the version that they had before.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::agents::Seen;
use fleet_policy::timestamp::Timestamp;
use fleet_policy::version::Version;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::chosen::Refused;
use super::{ActionAnswer, ActionsAnswer, Asked, Chosen, Picked};
use crate::jobs::bulk::Change;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// Which agents.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkRollback {
    agents: Chosen,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/{id}/rollback`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let now = management.now();
    let mut picked = management.pick_one(&id, &caller, |seen| version_before(seen, now)).await?;
    management.refuse_hosted(&mut picked, "to take it back").await?;
    let mut ids = management.roll_back(picked.single()?, &caller).await?;
    let action_id = ids.pop().ok_or_else(|| ApiError::not_found("Agent", &id))?;
    Ok(Json(ActionAnswer { action_id }))
}

/// `POST /agents/bulk_rollback`: an action for each version that some of them go back to.
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkRollback>,
) -> Result<Json<ActionsAnswer>, ApiError> {
    let now = management.now();
    let mut picked = management
        .pick(&asked.agents, asked.include_inactive, &caller, |seen| version_before(seen, now))
        .await?;
    management.refuse_hosted(&mut picked, "to take it back").await?;
    Ok(Json(ActionsAnswer { action_ids: management.roll_back(picked, &caller).await? }))
}

/// The newest version that is still on the agent's machine.
fn version_before(seen: &Seen<'_>, now: Timestamp) -> Result<String, String> {
    let valid = seen.state.rollbacks.iter().filter(|rollback| {
        let until = rollback.valid_until.as_deref().and_then(|until| until.parse::<Timestamp>().ok());
        until.is_none_or(|until| until > now)
    });
    let newest = valid.max_by_key(|rollback| Version::parse(&rollback.version));
    newest.map(|rollback| rollback.version.clone()).ok_or_else(|| {
        format!("agent {} has no version to go back to: it keeps one for a while after an upgrade", seen.id)
    })
}

impl Management {
    async fn roll_back(&self, picked: Picked<String>, caller: &Caller) -> Result<Vec<String>, ApiError> {
        let mut by_version: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for agent in picked.agents {
            by_version.entry(agent.found).or_default().push(agent.id.to_string());
        }
        let mut refused = picked.refused;
        if by_version.is_empty() && refused.count > 0 {
            let first = refused.first.into_iter().next();
            let text = first.map(|refusal| refusal.error).unwrap_or_default();
            return Err(ApiError::BadRequest(text));
        }
        let mut ids = Vec::with_capacity(by_version.len());
        for (version, agents) in by_version {
            let data = json!({"version": version, "rollback": true});
            // Those who were refused are told of with the first one.
            let refused: Refused = std::mem::take(&mut refused);
            let asked = Asked::new(ActionType::Upgrade, Some(data), refused);
            let mark = Change::Upgrade(Some(self.now()));
            ids.push(self.ask_and_mark(asked, agents, mark, caller).await?);
        }
        Ok(ids)
    }
}
