//! Letting agents run without privileges.

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::agents::Seen;
use fleet_policy::status::Status;
use fleet_policy::version::Version;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ActionAnswer, Asked, Chosen, Picked};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// Older agents do not know how.
const LEAST_VERSION: Version = Version { major: 9, minor: 3, patch: 0 };

/// As whom. Nobody: a user of their own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct Change {
    user_info: Option<User>,
}

/// Which agents, and as whom.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkChange {
    agents: Chosen,
    #[serde(default, rename = "user_info")]
    user_info: Option<User>,
    #[serde(default)]
    include_inactive: bool,
}

/// A user of the agents' machines.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct User {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groupname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// `POST /agents/{id}/privilege_level_change`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Change>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let mut picked = management.pick_one(&id, &caller, may_change).await?;
    management.refuse_servers(&mut picked).await?;
    let id = management.change_privileges(picked.single()?, asked.user_info, &caller).await?;
    Ok(Json(ActionAnswer { action_id: id }))
}

/// `POST /agents/bulk_privilege_level_change`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkChange>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let mut picked = management.pick(&asked.agents, asked.include_inactive, &caller, may_change).await?;
    management.refuse_servers(&mut picked).await?;
    let id = management.change_privileges(picked, asked.user_info, &caller).await?;
    Ok(Json(ActionAnswer { action_id: id }))
}

fn may_change(seen: &Seen<'_>) -> Result<(), String> {
    if matches!(seen.status, Status::Unenrolled | Status::Unenrolling) {
        return Err(format!("agent {} is {}: its privileges stay", seen.id, seen.status.as_str()));
    }
    if Version::parse(&seen.agent.agent.version).is_some_and(|version| version < LEAST_VERSION) {
        let version = &seen.agent.agent.version;
        return Err(format!(
            "agent {} runs {version}: only agents from {LEAST_VERSION} on can change their privileges",
            seen.id
        ));
    }
    Ok(())
}

impl Management {
    /// Agents that supervise a server keep their privileges.
    async fn refuse_servers(&self, picked: &mut Picked<()>) -> Result<(), ApiError> {
        self.refuse_by_policy(picked, |policy| {
            (policy.has_fleet_server || policy.is_default_fleet_server)
                .then(|| format!("its privileges stay: its policy {} makes it a Fleet Server", policy.id))
        })
        .await
    }

    async fn change_privileges(
        &self,
        picked: Picked<()>,
        user: Option<User>,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let mut data = json!({"unprivileged": true});
        let secret = user.as_ref().and_then(|user| user.password.clone()).filter(|text| !text.is_empty());
        if let Some(user) = user {
            data["user_info"] = json!(user);
        }
        let agents = picked.ids();
        let secrets = secret.into_iter().collect();
        let asked =
            Asked { secrets, ..Asked::new(ActionType::PrivilegeLevelChange, Some(data), picked.refused) };
        self.ask(asked, agents, caller).await
    }
}
