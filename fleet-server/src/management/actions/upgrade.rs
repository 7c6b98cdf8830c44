//! Making agents another version, at once or spread over a while.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use fleet_policy::agents::Seen;
use fleet_policy::status::Status;
use fleet_policy::timestamp::Timestamp;
use fleet_policy::version::Version;
use fleet_protocol::agent::ActionType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{ActionAnswer, Asked, Chosen, Done, LIFE, Picked};
use crate::jobs::bulk::Change;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Input;

/// The shortest time that each agent of a rolling upgrade has.
const LEAST_EXECUTION: u64 = 7200;
/// The shortest and the longest time over which upgrades are spread: ten minutes, a year.
const ROLLOUT: std::ops::RangeInclusive<u64> = 600..=365 * 24 * 3600;
/// An agent that was upgraded is not upgraded again for so long, unless somebody insists.
const REST: Duration = Duration::from_secs(600);
/// An upgrade of which nothing was heard for so long has got lost: another may begin.
const LOST: Duration = Duration::from_secs(2 * 3600);

/// To which version, and from where.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::management) struct Upgrade {
    version: String,
    /// Where the agent fetches it, instead of where its policy says.
    #[serde(default)]
    source_uri: Option<String>,
    /// Whatever speaks against it.
    #[serde(default)]
    force: bool,
    /// Also if the agent was upgraded a moment ago.
    #[serde(default, rename = "skipRateLimitCheck")]
    skip_rate_limit_check: bool,
}

/// Which agents to which version, and when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct BulkUpgrade {
    agents: Chosen,
    version: String,
    /// Where the agents fetch it, instead of where their policies say.
    #[serde(default, rename = "source_uri")]
    source_uri: Option<String>,
    /// Whatever speaks against it.
    #[serde(default)]
    force: bool,
    /// Also agents that were upgraded a moment ago.
    #[serde(default)]
    skip_rate_limit_check: bool,
    /// Not before.
    #[serde(default, rename = "start_time")]
    #[schemars(with = "Option<String>")]
    start_time: Option<Timestamp>,
    /// The agents begin over so many seconds, one after the other; at least 600.
    #[serde(default, rename = "rollout_duration_seconds")]
    rollout_duration_seconds: Option<u64>,
    #[serde(default)]
    include_inactive: bool,
}

/// What an upgrade is to be like.
#[derive(Debug)]
struct Wanted {
    target: Version,
    force: bool,
    skip_rate_limit_check: bool,
    now: Timestamp,
}

/// Why an agent is not upgraded.
#[derive(Debug)]
enum Against {
    /// It was a moment ago.
    Rest(String),
    /// Something else.
    Other(String),
}

/// `POST /agents/{id}/upgrade`
pub(in crate::management) async fn one(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(asked): Input<Upgrade>,
) -> Result<Json<Done>, ApiError> {
    let wanted = management.wanted(&asked.version, asked.force, asked.skip_rate_limit_check)?;
    let mut needs_rest = false;
    let picked = management
        .pick_one(&id, &caller, |seen| {
            wanted.check(seen).map_err(|against| {
                needs_rest = matches!(against, Against::Rest(_));
                against.into_text()
            })
        })
        .await;
    let mut picked = match picked {
        Err(ApiError::BadRequest(text)) if needs_rest => {
            return Err(ApiError::Body(StatusCode::TOO_MANY_REQUESTS, text));
        }
        picked => picked?,
    };
    if !asked.force {
        management.refuse_hosted(&mut picked, "to upgrade it").await?;
    }
    let picked = picked.single()?;
    let timed = Timed::default();
    management.upgrade(picked, &asked.version, asked.source_uri.as_deref(), timed, &caller).await?;
    Ok(Json(Done {}))
}

/// `POST /agents/bulk_upgrade`: at once, at a time, or spread over a while.
pub(in crate::management) async fn many(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<BulkUpgrade>,
) -> Result<Json<ActionAnswer>, ApiError> {
    let wanted = management.wanted(&asked.version, asked.force, asked.skip_rate_limit_check)?;
    let timed = Timed::new(asked.start_time, asked.rollout_duration_seconds, wanted.now)?;
    let mut picked = management
        .pick(&asked.agents, asked.include_inactive, &caller, |seen| {
            wanted.check(seen).map_err(Against::into_text)
        })
        .await?;
    if !asked.force {
        management.refuse_hosted(&mut picked, "to upgrade it").await?;
    }
    let id = management.upgrade(picked, &asked.version, asked.source_uri.as_deref(), timed, &caller).await?;
    Ok(Json(ActionAnswer { action_id: id }))
}

/// When agents begin.
#[derive(Debug, Default)]
struct Timed {
    start_time: Option<Timestamp>,
    rollout: Option<u64>,
    execution: Option<u64>,
    expiration: Option<Timestamp>,
}

impl Timed {
    fn new(start: Option<Timestamp>, rollout: Option<u64>, now: Timestamp) -> Result<Timed, ApiError> {
        let Some(duration) = rollout else {
            return Ok(Timed {
                start_time: start,
                expiration: start.map(|start| start + LIFE),
                ..Timed::default()
            });
        };
        if !ROLLOUT.contains(&duration) {
            let (least, most) = (ROLLOUT.start(), ROLLOUT.end());
            let text =
                format!("[request body.rollout_duration_seconds]: {least} to {most} seconds are needed");
            return Err(ApiError::BadRequest(text));
        }
        let start = start.unwrap_or(now);
        let execution = duration.min(LEAST_EXECUTION);
        let window = if duration <= LEAST_EXECUTION { 2 * execution } else { duration };
        Ok(Timed {
            start_time: Some(start),
            rollout: Some(duration),
            execution: Some(execution),
            expiration: Some(start + Duration::from_secs(window)),
        })
    }
}

impl Against {
    fn into_text(self) -> String {
        match self {
            Against::Rest(text) | Against::Other(text) => text,
        }
    }
}

impl Wanted {
    /// Whether an agent can be upgraded now.
    fn check(&self, seen: &Seen<'_>) -> Result<(), Against> {
        let id = seen.id;
        let other = |text: String| Err(Against::Other(text));
        if matches!(seen.status, Status::Unenrolled | Status::Unenrolling) {
            return other(format!("agent {id} is {}: it cannot be upgraded", seen.status.as_str()));
        }
        if self.force {
            return Ok(());
        }
        if !seen.agent.agent.upgradeable {
            return other(format!(
                "agent {id} cannot upgrade itself: it was installed by a package manager or runs in a container"
            ));
        }
        let current = Version::parse(&seen.agent.agent.version).unwrap_or_default();
        if current >= self.target {
            return other(format!(
                "agent {id} runs {}, which is not older than {}: use force to go there nevertheless",
                seen.agent.agent.version, self.target
            ));
        }
        if self.is_upgrading(seen) {
            return other(format!("agent {id} is being upgraded already: wait, or use force"));
        }
        let rested = seen.state.upgraded_at.is_none_or(|at| at.until(self.now) >= REST);
        if !rested && !self.skip_rate_limit_check {
            return Err(Against::Rest(format!(
                "agent {id} was upgraded less than {} minutes ago: wait, or use skipRateLimitCheck",
                REST.as_secs() / 60
            )));
        }
        Ok(())
    }

    /// Whether an upgrade goes on: one that failed, or was lost, does not.
    fn is_upgrading(&self, seen: &Seen<'_>) -> bool {
        if let Some(details) = &seen.state.upgrade_details {
            return details.state != "UPG_FAILED";
        }
        seen.agent.upgrade_started_at > seen.state.upgraded_at
            && seen.agent.upgrade_started_at.is_some_and(|at| at.until(self.now) < LOST)
    }
}

impl Management {
    fn wanted(&self, version: &str, force: bool, skip_rate_limit_check: bool) -> Result<Wanted, ApiError> {
        let wrong = |what: String| ApiError::BadRequest(format!("[request body.version]: {what}"));
        let target = Version::parse(version);
        let target = target.ok_or_else(|| wrong(format!("{version:?} is not a version such as 9.6.0")))?;
        let own = Version::parse(&self.version).unwrap_or_default();
        if target.is_later_release_than(own) && !force {
            let text = format!(
                "{version} is later than this server, which is {own}: upgrade that first, or use force"
            );
            return Err(wrong(text));
        }
        Ok(Wanted { target, force, skip_rate_limit_check, now: self.now() })
    }

    async fn upgrade(
        &self,
        picked: Picked<()>,
        version: &str,
        source_uri: Option<&str>,
        timed: Timed,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let mut data = json!({"version": version});
        if let Some(source_uri) = source_uri.filter(|uri| !uri.is_empty()) {
            data["source_uri"] = source_uri.into();
        }
        let (agents, now) = (picked.ids(), self.now());
        let asked = Asked {
            start_time: timed.start_time,
            rollout_duration_seconds: timed.rollout,
            minimum_execution_duration: timed.execution,
            expiration: timed.expiration,
            ..Asked::new(ActionType::Upgrade, Some(data), picked.refused)
        };
        self.ask_and_mark(asked, agents, Change::Upgrade(Some(now)), caller).await
    }
}
