//! Who may ask, and what is kept of that.
//!
//! | module | what |
//! |---|---|
//! | `session` | sign in, look, sign out |
//! | `users` | people |
//! | `api_keys` | what lets scripts work in somebody's name |
//! | `trail` | who changed what |
//! | `oidc` | sign-in by an identity provider |
//! | `cookies` | what a browser holds |

pub(super) mod api_keys;
pub(super) mod cookies;
pub(super) mod oidc;
pub(super) mod session;
pub(super) mod trail;
pub(super) mod users;

use std::sync::Arc;
use std::time::Duration;

use fleet_access::api_keys::ApiKeys;
use fleet_access::audit::{Audit, AuditBounds, Writer};
use fleet_access::password::Passwords;
use fleet_access::sessions::{SessionOptions, Sessions};
use fleet_access::throttle::{Throttle, ThrottleOptions};
use fleet_access::users::Users;
use fleet_store::Store;
use rand::Rng;
use tokio::time::sleep;
use tracing::{info, warn};

use super::routes::Routes;
use crate::clock::Clock;
use crate::config::management::Oidc;

use oidc::Provider;

/// What is over is looked for this often, by each server for itself.
const ROUND: Duration = Duration::from_secs(10 * 60);
/// All entries of the audit trail are counted in each of so many rounds: that reads all of them.
const COUNT_ROUND: u64 = 36;

/// How long people stay signed in, and how much is kept.
#[derive(Clone, Debug, Default)]
pub struct PeopleOptions {
    /// Sessions.
    pub sessions: SessionOptions,
    /// The audit trail.
    pub audit: AuditBounds,
    /// Who else vouches for people.
    pub oidc: Option<Oidc>,
}

/// People, their sign-ins and keys, and what they did. Clones are the same.
#[derive(Clone, Debug)]
pub struct People {
    /// Who there is.
    pub users: Users,
    /// Their keys.
    pub keys: ApiKeys,
    /// Their sign-ins.
    pub sessions: Sessions,
    /// How often they may try.
    pub throttle: Throttle,
    /// What they did.
    pub audit: Audit,
    /// Who else vouches for people.
    pub(super) provider: Option<Arc<Provider>>,
    bounds: AuditBounds,
}

impl People {
    /// Those in `store`, and what writes their trail: somebody must run it.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, passwords: Passwords, options: PeopleOptions) -> (People, Writer) {
        let users = Users::new(store, passwords);
        let (audit, writer) = Audit::new(store);
        let people = People {
            keys: ApiKeys::new(store, users.clone()),
            users,
            sessions: Sessions::new(store, options.sessions),
            throttle: Throttle::new(ThrottleOptions::default()),
            audit,
            provider: options.oidc.map(|oidc| Arc::new(Provider::new(oidc))),
            bounds: options.audit,
        };
        (people, writer)
    }

    /// Removes what is over, for ever. Each server does: what another one has removed is no trouble.
    pub async fn keep_tidy(&self, clock: &dyn Clock) {
        // Servers that were started together do not do it at the same moment.
        let part: f64 = rand::rng().random();
        sleep(ROUND.mul_f64(part)).await;
        for round in 0_u64.. {
            self.tidy(clock, round.is_multiple_of(COUNT_ROUND)).await;
            sleep(ROUND).await;
        }
    }

    async fn tidy(&self, clock: &dyn Clock, counts: bool) {
        let now = clock.now();
        let told = |what: &'static str, outcome: Result<usize, Box<dyn std::error::Error + Send + Sync>>| {
            match outcome {
                Ok(0) => {}
                Ok(removed) => info!(removed, "{what} that are over are removed"),
                Err(error) => warn!(error = &*error as &dyn std::error::Error, "{what} cannot be tidied"),
            }
        };
        told("sessions", self.sessions.remove_expired(now).await.map_err(Into::into));
        told("API keys", self.keys.remove_expired(now).await.map_err(Into::into));
        told("audit entries", self.audit.tidy(self.bounds, now, counts).await.map_err(Into::into));
    }
}

/// The routes of all groups.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .group(session::routes)
        .group(oidc::routes)
        .group(users::routes)
        .group(api_keys::routes)
        .group(trail::routes)
}
