//! Changing the tags of many agents.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use fleet_policy::agents::Seen;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{ActionAnswer, Asked, Chosen};
use crate::jobs::bulk::{Change, retagged};
use crate::management::Management;
use crate::management::agents::{MOST_TAGS, check_tags};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// Which agents, and which tags.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct UpdateTags {
    agents: Chosen,
    #[serde(default)]
    tags_to_add: Vec<String>,
    #[serde(default)]
    tags_to_remove: Vec<String>,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/bulk_update_agent_tags`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<UpdateTags>,
) -> Result<Json<ActionAnswer>, ApiError> {
    check_tags("request body.tagsToAdd", &asked.tags_to_add)?;
    check_tags("request body.tagsToRemove", &asked.tags_to_remove)?;
    if asked.tags_to_add.is_empty() && asked.tags_to_remove.is_empty() {
        let text = "[request body.tagsToAdd]: tagsToAdd or tagsToRemove are needed";
        return Err(ApiError::BadRequest(text.to_owned()));
    }
    let shared = |tags: &[String]| tags.iter().map(|tag| Arc::from(tag.as_str())).collect::<Vec<Arc<str>>>();
    let (add, remove) = (shared(&asked.tags_to_add), shared(&asked.tags_to_remove));
    let check = |seen: &Seen<'_>| {
        let count = retagged(&seen.agent.tags, &add, &remove).len();
        let text = || format!("agent {} would have {count} tags: at most {MOST_TAGS}", seen.id);
        if count > MOST_TAGS { Err(text()) } else { Ok(()) }
    };
    let mut picked = management.pick(&asked.agents, asked.include_inactive, &caller, check).await?;
    management.refuse_hosted(&mut picked, "to change its tags").await?;
    let agents = picked.ids();
    let data = json!({"tagsToAdd": asked.tags_to_add, "tagsToRemove": asked.tags_to_remove});
    let asked = Asked::new(ActionType::UpdateTags, Some(data), picked.refused);
    let change = Change::Tags { add, remove };
    Ok(Json(ActionAnswer { action_id: management.ask_and_change(asked, agents, change, &caller).await? }))
}
