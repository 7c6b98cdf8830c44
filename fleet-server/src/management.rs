//! The API of people and scripts, under `/api/fleet`.
//!
//! Paths and shapes are those that scripts and the Terraform provider for Fleet know. Whoever asks proves who
//! they are by name and password, by a session, or by an API key.
//!
//! | module | what |
//! |---|---|
//! | `routes` | the table of routes: each has a right, and is described from its types |
//! | `gate` | what every request passes: who asks, whether they may, what is kept of it |
//! | `auth` | how somebody proves who they are |
//! | `people` | sign-in, users, API keys, the audit trail |
//! | `caller` | who asks, and what they changed |
//! | `names` | names that only one object may have |
//! | `input`, `shape`, `fields`, `catalogue`, `error` | what comes with a request, pages, and what is told when something cannot be done |
//! | `serve` | connections |
//! | the others | the routes, by groups: each has a function `routes` that adds its own |

mod actions;
mod agent_policies;
mod agentless;
mod agents;
mod artifacts;
mod auth;
mod caller;
mod catalogue;
mod data_streams;
mod docs_page;
mod download_sources;
pub(crate) mod enrollment_keys;
mod epm;
mod error;
mod events;
mod fields;
mod files;
pub(crate) mod fleet_server;
mod gate;
mod health;
mod hosts;
mod input;
mod names;
mod numbers;
mod openapi;
mod origin;
mod outputs;
mod package_policies;
mod people;
mod proxies;
mod references;
mod routes;
mod serve;
mod service_tokens;
mod settings;
mod setup;
mod shape;
mod signing;
mod spaces;
pub(crate) mod uninstall_tokens;
mod webhooks;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::{Json, Router};
use serde_json::Value;
use tower::Layer;
use tower::util::MapRequestLayer;

use crate::deployment::Deployer;
use crate::fleet::Fleet;
use error::ApiError;
use routes::Routes;

pub use health::Health;
pub use origin::TrustedProxies;
pub use people::{People, PeopleOptions};
pub use serve::{Port, serve};

/// The largest body of a request in bytes.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// What the routes share.
#[derive(Clone, Debug)]
pub struct Management {
    /// What is known of the store.
    pub fleet: Arc<Fleet>,
    /// Ships policies.
    pub deployer: Deployer,
    /// Who may ask.
    pub people: People,
    /// The version that the server says it is.
    pub version: Arc<str>,
    /// What is told about the server itself.
    pub health: Health,
}

type Answer = Result<Json<Value>, ApiError>;

/// Does what takes a while where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::Internal(Box::new(error)))?
}

impl Management {
    /// Makes what every policy needs, and a first policy, if there is none. Returns the policy's enrolment key.
    /// `own_address`: where agents find this server, if it knows that.
    pub(crate) async fn ensure_policy(&self, own_address: Option<String>) -> Result<Option<String>, String> {
        settings::ensure_first(self, own_address).await.map_err(|error| error.to_string())?;
        agent_policies::ensure_first(self).await.map_err(|error| error.to_string())
    }

    /// The routes.
    pub fn router(self) -> Router {
        let probes = self.health.clone().probes();
        let (router, table) = self.clone().routes().finish();
        let described = openapi::describe(&table, &self.version);
        let description: Arc<str> = described.to_string().into();
        let router = router
            .fallback(async || ApiError::NoRoute)
            .method_not_allowed_fallback(async || ApiError::Method)
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .with_state(self)
            .merge(openapi::served(description))
            .merge(docs_page::served())
            .merge(probes);
        // The space is not part of any route.
        Router::new().fallback_service(MapRequestLayer::new(leave_space).layer(router))
    }

    /// The table of routes.
    fn routes(self) -> Routes {
        Routes::new(self)
            .group(setup::routes)
            .group(agent_policies::routes)
            .group(package_policies::routes)
            .group(epm::routes)
            .group(data_streams::routes)
            .group(enrollment_keys::routes)
            .group(service_tokens::routes)
            .group(people::routes)
            .group(settings::routes)
            .group(signing::routes)
            .group(outputs::routes)
            .group(hosts::routes)
            .group(proxies::routes)
            .group(download_sources::routes)
            .group(uninstall_tokens::routes)
            .group(agents::routes)
            .group(actions::routes)
            .group(files::routes)
            .group(artifacts::routes)
            .group(events::routes)
            .group(webhooks::routes)
            .group(agentless::routes)
            .group(spaces::routes)
            .group(health::routes)
    }
}

/// The space that a path began with. In the extensions of requests that had one.
#[derive(Clone, Debug)]
struct Space(Arc<str>);

/// Takes `/s/<space>` off the path: every space is served alike. So is a path with a slash at its end, which clients
/// make of a name and a version that they leave out.
fn leave_space(mut request: Request) -> Request {
    let uri = request.uri();
    let parts = uri.path().strip_prefix("/s/").and_then(|rest| Some(rest.split_at(rest.find('/')?)));
    let (space, rest) = parts.map_or((None, uri.path()), |(space, rest)| (Some(Space(space.into())), rest));
    let path = rest.strip_suffix('/').filter(|path| path.starts_with("/api/")).unwrap_or(rest);
    if path.len() != uri.path().len() {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        // What was a path is one still.
        if let Ok(stripped) = format!("{path}{query}").parse() {
            *request.uri_mut() = stripped;
            if let Some(space) = space {
                request.extensions_mut().insert(space);
            }
        }
    }
    request
}
