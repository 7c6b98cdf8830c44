//! The server of the agents: they enrol, check in by a held request, get their policy and actions, and report
//! back. Servers are all equal and keep nothing of their own: what must outlive one lies in the store.
//!
//! What this crate must not know: how a store keeps its documents, how a policy is rendered or an action
//! spread (that is `crates/policy`), how a key is made or a secret sealed (`crates/access`).
//!
//! | module | what |
//! |---|---|
//! | [`command`] | the command line |
//! | [`config`] | `fleet-server.yml`, `-E`, and the environment |
//! | `daemon` | the parts put together, from start to drain |

pub mod command;
pub mod config;
mod daemon;

/// The version of this program. What it tells agents is [`config::Config::version`].
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
