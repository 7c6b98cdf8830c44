//! `/api/fleet/agents` and `/api/fleet/agent_status`, but for what agents are asked to do.

mod facets;
mod list;
mod one;
mod shown;
mod status;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use fleet_access::rights::Right;
use fleet_policy::agents::Snapshot;
use fleet_policy::query::AgentQuery;

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::routes::{self, Routes, get, post, put};
pub(super) use shown::ShownAgent;

/// The most tags of an agent.
pub(super) const MOST_TAGS: usize = 100;
/// The longest tag in bytes.
const LONGEST_TAG: usize = 256;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ControlAgents, ReadAgents};
    let one = "/api/fleet/agents/{id}";
    routes
        .add(
            get("/api/fleet/agent_status", ReadAgents, "How many agents are how")
                .query::<status::StatusQuery>()
                .answers::<status::StatusAnswer>()
                .scoped(),
            status::counts,
        )
        .add(
            get("/api/fleet/agent_status/data", ReadAgents, "Whether agents' data has arrived")
                .query::<status::DataQuery>()
                .answers::<status::DataAnswer>()
                .scoped(),
            status::data,
        )
        .add(
            get("/api/fleet/agents", ReadAgents, "Lists agents")
                .query::<list::ListQuery>()
                .answers::<list::AgentsAnswer>()
                .scoped(),
            list::list,
        )
        .add(
            post("/api/fleet/agents", ReadAgents, "The agents that actions are for")
                .body::<list::ByActions>()
                .answers::<list::AgentIds>()
                .scoped()
                .reads(),
            list::by_actions,
        )
        .add(
            get("/api/fleet/agents/tags", ReadAgents, "Lists the tags of agents")
                .query::<facets::TagsQuery>()
                .answers::<facets::TagsAnswer>()
                .scoped(),
            facets::tags,
        )
        .add(
            get("/api/fleet/agents/facets", ReadAgents, "How often which values are, among agents")
                .query::<facets::FacetsQuery>()
                .answers::<facets::FacetsAnswer>()
                .scoped(),
            facets::facets,
        )
        .add(
            get("/api/fleet/agents/available_versions", ReadAgents, "Versions to upgrade agents to")
                .answers::<facets::VersionsAnswer>()
                .scoped(),
            facets::available_versions,
        )
        .add(get(one, ReadAgents, "Shows an agent").answers::<one::AgentAnswer>().scoped(), one::show)
        .add(
            put(one, ControlAgents, "Changes an agent's tags and metadata")
                .body::<one::Update>()
                .answers::<one::AgentAnswer>()
                .scoped(),
            one::update,
        )
        .add(
            routes::delete(one, ControlAgents, "Forgets an agent").answers::<one::Deleted>().scoped(),
            one::delete,
        )
}

impl Management {
    /// The agent with this id, if the caller may know of it.
    pub(super) async fn find_agent(
        &self,
        id: &str,
        caller: &Caller,
        right: Right,
    ) -> Result<Snapshot, ApiError> {
        let found = self.fleet.agents.find(id).await?;
        let found = found.filter(|agent| caller.may_on(Right::ReadAgents, &agent.agent.policy_id));
        let agent = found.ok_or_else(|| ApiError::not_found("Agent", id))?;
        caller.require_on(right, &agent.agent.policy_id)?;
        Ok(agent)
    }

    /// Reads a query about agents that came in `place`.
    pub(super) fn agent_query(&self, place: &str, text: Option<&str>) -> Result<AgentQuery, ApiError> {
        AgentQuery::parse(text.unwrap_or_default(), self.fleet.clock.now())
            .map_err(|error| ApiError::BadRequest(format!("[{place}]: {error}")))
    }
}

/// The policies that are asked about, out of those that the caller may see. `None`: all.
fn narrowed(caller: &Caller, asked: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    match (caller.policies(Right::ReadAgents), asked) {
        (None, asked) => asked,
        (may, None) => may,
        (Some(may), Some(asked)) => Some(&may & &asked),
    }
}

/// Checks tags that came in `place`.
pub(super) fn check_tags(place: &str, tags: &[String]) -> Result<(), ApiError> {
    let wrong = |what: String| ApiError::Body(StatusCode::BAD_REQUEST, format!("[{place}]: {what}"));
    if tags.len() > MOST_TAGS {
        return Err(wrong(format!("{} tags are too many: at most {MOST_TAGS}", tags.len())));
    }
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > LONGEST_TAG) {
        None => Ok(()),
        Some(_) => Err(wrong(format!("a tag has 1 to {LONGEST_TAG} bytes"))),
    }
}
