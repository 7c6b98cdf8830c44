//! What agents are asked to do: one, those with some ids, or those that a query is about.
//!
//! | module | what |
//! |---|---|
//! | `chosen` | which agents are meant, and which of them are not asked after all |
//! | `ask` | storing what is asked, and changing the agents that it is about |
//! | `status`, `row` | how far actions are |
//! | the others | the kinds of actions |

mod ask;
mod cancel;
mod chosen;
mod create;
mod diagnostics;
mod migrate;
mod privilege;
mod reassign;
mod rollback;
mod row;
mod status;
mod tags;
mod unenroll;
mod upgrade;

use std::time::Duration;

use fleet_access::rights::Right;
use schemars::JsonSchema;
use serde::Serialize;

use super::routes::{Operation, Routes, get, post};
use ask::Asked;
use chosen::{Chosen, Picked};

/// An action is forgotten after this long, unless it says otherwise: 30 days.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Nothing more is said.
#[derive(Debug, Serialize, JsonSchema)]
struct Done {}

/// What was asked.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ActionAnswer {
    /// What `action_status` knows it by.
    action_id: String,
}

/// What was asked, in several actions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ActionsAnswer {
    /// What `action_status` knows them by.
    action_ids: Vec<String>,
}

/// What clients send with a choice of agents, and what means nothing here: agents are all looked at together, and
/// what is asked of a list of ids is asked whether they are active or not.
const IGNORED: &[&str] = &["batchSize", "includeInactive"];

fn asks(path: &'static str, summary: &'static str) -> Operation {
    post(path, Right::ControlAgents, summary).scoped()
}

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes
        .add(
            get("/api/fleet/agents/action_status", Right::ReadAgents, "How far actions are")
                .query::<status::StatusQuery>()
                .answers::<status::StatusAnswer>()
                .scoped(),
            status::status,
        )
        .add(
            asks("/api/fleet/agents/actions/{id}/cancel", "Cancels an action")
                .answers::<create::CreateAnswer>(),
            cancel::cancel,
        )
        .add(
            asks("/api/fleet/agents/{id}/actions", "Asks an agent for anything")
                .body::<create::Create>()
                .ignores(&["action.ack_data"])
                .answers::<create::CreateAnswer>(),
            create::create,
        );
    bulk(single(routes))
}

fn single(routes: Routes) -> Routes {
    routes
        .add(
            asks("/api/fleet/agents/{id}/unenroll", "Unenrols an agent")
                .body::<unenroll::Unenroll>()
                .answers::<Done>(),
            unenroll::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/reassign", "Gives an agent another policy")
                .body::<reassign::Reassign>()
                .answers::<Done>(),
            reassign::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/upgrade", "Upgrades an agent")
                .body::<upgrade::Upgrade>()
                .answers::<Done>(),
            upgrade::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/rollback", "Takes an agent back to the version before")
                .answers::<ActionAnswer>(),
            rollback::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/request_diagnostics", "Asks an agent for diagnostics")
                .body::<diagnostics::Diagnostics>()
                .answers::<ActionAnswer>(),
            diagnostics::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/migrate", "Lets an agent enrol elsewhere")
                .body::<migrate::Migrate>()
                .answers::<ActionAnswer>(),
            migrate::one,
        )
        .add(
            asks("/api/fleet/agents/{id}/privilege_level_change", "Lets an agent run without privileges")
                .body::<privilege::Change>()
                .answers::<ActionAnswer>(),
            privilege::one,
        )
}

fn bulk(routes: Routes) -> Routes {
    routes
        .add(
            asks("/api/fleet/agents/bulk_unenroll", "Unenrols agents")
                .body::<unenroll::BulkUnenroll>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            unenroll::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_reassign", "Gives agents another policy")
                .body::<reassign::BulkReassign>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            reassign::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_upgrade", "Upgrades agents")
                .body::<upgrade::BulkUpgrade>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            upgrade::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_rollback", "Takes agents back to the version before")
                .body::<rollback::BulkRollback>()
                .ignores(IGNORED)
                .answers::<ActionsAnswer>(),
            rollback::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_request_diagnostics", "Asks agents for diagnostics")
                .body::<diagnostics::BulkDiagnostics>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            diagnostics::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_migrate", "Lets agents enrol elsewhere")
                .body::<migrate::BulkMigrate>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            migrate::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_privilege_level_change", "Lets agents run without privileges")
                .body::<privilege::BulkChange>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            privilege::many,
        )
        .add(
            asks("/api/fleet/agents/bulk_update_agent_tags", "Changes the tags of agents")
                .body::<tags::UpdateTags>()
                .ignores(IGNORED)
                .answers::<ActionAnswer>(),
            tags::many,
        )
}
