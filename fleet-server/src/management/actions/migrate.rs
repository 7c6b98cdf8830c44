//! Letting agents enrol with another server.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use fleet_policy::agents::Seen;
use fleet_policy::documents::AgentPolicy;
use fleet_policy::status::Status;
use fleet_policy::version::Version;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ask::add_texts;
use super::{ActionAnswer, Asked, Chosen, Picked};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// Older agents do not know how.
const LEAST_VERSION: Version = Version { major: 9, minor: 2, patch: 0 };

/// Where to, and how.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct Migrate {
    /// The address of the other server.
    uri: String,
    /// The enrolment token there.
    enrollment_token: String,
    /// Options of the enrolment: `insecure`, `ca_sha256`, `proxy_url`, `tags` …
    #[serde(default)]
    settings: Option<Map<String, Value>>,
}

/// Which agents where to, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkMigrate {
    agents: Chosen,
    /// The address of the other server.
    uri: String,
    /// The enrolment token there.
    #[serde(rename = "enrollment_token")]
    enrollment_token: String,
    /// Options of the enrolment: `insecure`, `ca_sha256`, `proxy_url`, `tags` …
    #[serde(default)]
    settings: Option<Map<String, Value>>,
    #[serde(default)]
    include_inactive: bool,
}

/// `POST /agents/{id}/migrate`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Migrate>,
) -> Result<Json<ActionAnswer>, ApiError> {
    asked.check()?;
    let mut picked = management.pick_one(&id, &caller, may_migrate).await?;
    management.refuse_by_policy(&mut picked, speaks_against).await?;
    Ok(Json(ActionAnswer { action_id: management.migrate(picked.single()?, asked, &caller).await? }))
}

/// `POST /agents/bulk_migrate`
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkMigrate>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let BulkMigrate { agents, uri, enrollment_token, settings, include_inactive } = asked;
    let asked = Migrate { uri, enrollment_token, settings };
    asked.check()?;
    let mut picked = management.pick(&agents, include_inactive, &caller, may_migrate).await?;
    management.refuse_by_policy(&mut picked, speaks_against).await?;
    Ok(Json(ActionAnswer { action_id: management.migrate(picked, asked, &caller).await? }))
}

impl Migrate {
    fn check(&self) -> Result<(), ApiError> {
        let is_address = self.uri.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_address {
            let text = "[request body.uri]: an address such as https://fleet.example:8220 is needed";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
        if self.enrollment_token.is_empty() {
            let text = "[request body.enrollment_token]: an enrolment token of the other server is needed";
            return Err(ApiError::BadRequest(text.to_owned()));
        }
        Ok(())
    }
}

fn may_migrate(seen: &Seen<'_>) -> Result<(), String> {
    if matches!(seen.status, Status::Unenrolled | Status::Unenrolling) {
        return Err(format!("agent {} is {}: it cannot be migrated", seen.id, seen.status.as_str()));
    }
    if Version::parse(&seen.agent.agent.version).is_some_and(|version| version < LEAST_VERSION) {
        let version = &seen.agent.agent.version;
        return Err(format!(
            "agent {} runs {version}: only agents from {LEAST_VERSION} on can be migrated",
            seen.id
        ));
    }
    Ok(())
}

/// Agents that supervise a server, or whose removal needs a token, stay.
fn speaks_against(policy: &AgentPolicy) -> Option<String> {
    if policy.is_managed {
        return Some(format!("to migrate it is refused: its policy {} is hosted (is_managed)", policy.id));
    }
    if policy.is_protected {
        return Some(format!(
            "to migrate it is refused: its policy {} protects it (is_protected)",
            policy.id
        ));
    }
    (policy.has_fleet_server || policy.is_default_fleet_server)
        .then(|| format!("to migrate it is refused: its policy {} makes it a Fleet Server", policy.id))
}

impl Management {
    async fn migrate(&self, picked: Picked<()>, asked: Migrate, caller: &Caller) -> Result<String, ApiError> {
        let mut data = json!({"target_uri": asked.uri, "enrollment_token": asked.enrollment_token});
        if let Some(settings) = asked.settings {
            data["settings"] = settings.into();
        }
        let agents = picked.ids();
        // Headers, keys and passphrases of the way there are among the settings: none of them is for others to read.
        let mut secrets = BTreeSet::from([asked.enrollment_token]);
        add_texts(&data["settings"], &|_| true, &mut secrets);
        let asked = Asked {
            secrets: secrets.into_iter().collect(),
            ..Asked::new(ActionType::Migrate, Some(data), picked.refused)
        };
        self.ask(asked, agents, caller).await
    }
}
