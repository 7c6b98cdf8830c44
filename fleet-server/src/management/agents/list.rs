//! The list of agents.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_access::rights::Right;
use fleet_policy::agents::{Counts, Filter, Order, PageRequest, Position, SortField, SortValue};
use fleet_policy::version::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ShownAgent, narrowed};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::catalogue::SortOrder;
use crate::management::error::ApiError;
use crate::management::input::{AtLeast, Input, Params};

/// The most agents of a page. There is no limit to the pages.
const LARGEST_PAGE: usize = 10_000;
/// The most actions that are asked about at a time.
const MOST_ACTIONS: usize = 1_000;

/// Which agents, in which order, and which page of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct ListQuery {
    /// Counts from 1.
    page: Option<AtLeast<1>>,
    /// 20 unless something else is asked for; at most 10 000.
    per_page: Option<AtLeast<0>>,
    /// Where the last page ended: its `nextCursor`. Pages that are asked for so meet every agent once, whatever
    /// changes meanwhile.
    cursor: Option<String>,
    /// The same as JSON: the value that agents are sorted by, and the id, of the last one; its
    /// `nextSearchAfter`.
    search_after: Option<String>,
    /// A query such as `policy_id:web and not tags:canary`.
    kuery: Option<String>,
    /// Also agents that are unenrolled, inactive or uninstalled.
    show_inactive: Option<bool>,
    /// Only agents that could be upgraded to the server's version.
    show_upgradeable: Option<bool>,
    /// Whether to tell how many of them are how.
    get_status_summary: Option<bool>,
    /// Accepted: agents' metrics are data, which this server does not keep.
    with_metrics: Option<bool>,
    /// `enrolled_at` unless something else is asked for.
    sort_field: Option<String>,
    sort_order: Option<SortOrder>,
}

/// A page of agents.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct AgentsAnswer {
    items: Vec<ShownAgent>,
    /// How many there are on all pages.
    total: usize,
    page: usize,
    per_page: usize,
    /// For the next page; absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The same, for `searchAfter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_search_after: Option<String>,
    /// How many of all that the query is about are how, listed or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_summary: Option<BTreeMap<&'static str, u64>>,
}

/// A cursor: the order that it belongs to, and where the page ended.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor(String, bool, Position);

fn bad(field: &str, what: &str) -> ApiError {
    ApiError::BadRequest(format!("[request query.{field}]: {what}"))
}

impl ListQuery {
    fn order(&self) -> Result<Order, ApiError> {
        let by = match self.sort_field.as_deref() {
            None | Some("") => SortField::default(),
            Some(name) => name.parse().map_err(|error| bad("sortField", &format!("{error}")))?,
        };
        // The newest first, as long as nothing else is asked for.
        let is_descending = match self.sort_order {
            Some(order) => order == SortOrder::Desc,
            None => self.sort_field.is_none() || by == SortField::EnrolledAt,
        };
        Ok(Order { by, is_descending })
    }

    fn per_page(&self) -> Result<usize, ApiError> {
        match self.per_page.map_or(20, AtLeast::get) {
            // Scripts ask so for the counts alone.
            size @ 0..=LARGEST_PAGE => Ok(size),
            _ => Err(bad("perPage", &format!("a page has at most {LARGEST_PAGE} agents: ask for several"))),
        }
    }

    fn after(&self, order: Order) -> Result<Option<Position>, ApiError> {
        let position = match (self.cursor.as_deref(), self.search_after.as_deref()) {
            (Some(_), Some(_)) => return Err(bad("cursor", "cursor and searchAfter exclude each other")),
            (Some(cursor), None) => {
                let found = URL_SAFE_NO_PAD.decode(cursor).ok();
                let found = found.and_then(|text| serde_json::from_slice::<Cursor>(&text).ok());
                match found {
                    Some(Cursor(by, is_descending, position))
                        if by == format!("{:?}", order.by) && is_descending == order.is_descending =>
                    {
                        position
                    }
                    Some(_) => return Err(bad("cursor", "it belongs to another order: sort as before")),
                    None => return Err(bad("cursor", "it is not the nextCursor of an answer")),
                }
            }
            (None, Some(text)) => serde_json::from_str(text).map_err(|_| {
                bad("searchAfter", "it is not the nextSearchAfter of an answer: [value, \"id\"]")
            })?,
            (None, None) => return Ok(None),
        };
        if self.page.is_some_and(|page| page.get() > 1) {
            return Err(bad("page", "page and cursor exclude each other"));
        }
        let is_text =
            matches!(order.by, SortField::Hostname | SortField::Policy | SortField::Version | SortField::Id);
        if is_text != matches!(position.0, SortValue::Text(_)) {
            return Err(bad("searchAfter", "it belongs to another order: sort as before"));
        }
        Ok(Some(position))
    }
}

/// How many are how, by name.
pub(super) fn summary(counts: &Counts) -> BTreeMap<&'static str, u64> {
    counts.iter().map(|(status, count)| (status.as_str(), count)).collect()
}

/// `GET /agents`
pub(super) async fn list(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<ListQuery>,
) -> Result<Json<AgentsAnswer>, ApiError> {
    let query = management.agent_query("request query.kuery", asked.kuery.as_deref())?;
    let policies = narrowed(&caller, None);
    let server = Version::parse(&management.version);
    let filter = Filter {
        query: &query,
        with_inactive: asked.show_inactive.unwrap_or(false),
        upgradeable_to: server.filter(|_| asked.show_upgradeable.unwrap_or(false)),
        policies: policies.as_ref(),
    };
    let (order, take) = (asked.order()?, asked.per_page()?);
    let number = asked.page.map_or(1, AtLeast::get);
    let after = asked.after(order)?;
    let skip = (number - 1).saturating_mul(take);
    let request = PageRequest { order, after, skip, take };
    let page = management.fleet.agents.page(&filter, &request, &management.fleet.moment());
    let next_search_after = page.next.as_ref().and_then(|next| serde_json::to_string(next).ok());
    let next_cursor = page.next.and_then(|next| {
        let cursor = Cursor(format!("{:?}", order.by), order.is_descending, next);
        serde_json::to_vec(&cursor).ok().map(|text| URL_SAFE_NO_PAD.encode(text))
    });
    Ok(Json(AgentsAnswer {
        items: page.items.iter().map(|(agent, status)| ShownAgent::new(agent, *status)).collect(),
        total: page.total,
        page: number,
        per_page: take,
        next_cursor,
        next_search_after,
        status_summary: asked.get_status_summary.unwrap_or(false).then(|| summary(&page.counts)),
    }))
}

/// Actions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct ByActions {
    /// Their ids.
    action_ids: Vec<String>,
}

/// Ids of agents.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct AgentIds {
    items: BTreeSet<String>,
}

/// `POST /agents`: the agents that actions are for.
pub(super) async fn by_actions(
    State(management): State<Management>,
    caller: Caller,
    Input(asked): Input<ByActions>,
) -> Result<Json<AgentIds>, ApiError> {
    if asked.action_ids.len() > MOST_ACTIONS {
        let text = format!("[request body.actionIds]: at most {MOST_ACTIONS} at a time");
        return Err(ApiError::BadRequest(text));
    }
    let ids: BTreeSet<&str> = asked.action_ids.iter().map(String::as_str).collect();
    let mut items = BTreeSet::new();
    for action in management.fleet.actions.all() {
        if ids.contains(action.action.action_id.as_str()) {
            items.extend(action.agents.iter().map(ToString::to_string));
        }
    }
    if caller.policies(Right::ReadAgents).is_some() {
        items.retain(|id| {
            let agent = management.fleet.agents.get(id);
            agent.is_some_and(|agent| caller.may_on(Right::ReadAgents, &agent.agent.policy_id))
        });
    }
    Ok(Json(AgentIds { items }))
}
