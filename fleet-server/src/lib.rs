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
//! | [`fleet`] | what all parts share: what is known of the store, and the check-ins that are held |
//! | [`sessions`] | the check-ins that are held, and who is next to be answered |
//! | [`exporter`] | `/metrics` |
//! | [`claims`] | names that only one object may have |
//! | [`enrollment`], [`secrets`] | enrolment keys, and the secrets of policies |
//! | [`deployment`] | making of what people edit what agents get, and shipping it |
//! | [`jobs`] | what goes on after it was answered that it does |
//! | [`http`] | serving HTTP to a great many connections that mostly wait |
//! | [`integrations`] | what people set up with them |
//! | [`events`] | what happens, streamed and sent to those who want to know |
//! | [`packages`] | integration packages, kept and read |
//! | [`agents`] | the API of the agents |
//! | [`management`] | the API of people and scripts, under `/api/fleet` |
//! | [`upkeep`] | what the keeper does for all: upgrades that policies ask for, agents that are gone |
//! | `signing` | signing for an agent with the key that it knows |
//! | `upstream` | fetching something small from another server |
//! | `component` | the server as a component of an agent |
//! | `daemon` | the parts put together, from start to drain |

pub mod agents;
pub mod claims;
pub mod clock;
pub mod command;
mod component;
pub mod config;
mod daemon;
pub mod deployment;
pub mod engines;
pub mod enrollment;
pub mod events;
pub mod exporter;
pub mod fleet;
pub mod http;
pub mod integrations;
pub mod jobs;
pub mod management;
pub mod packages;
pub mod secrets;
pub mod sessions;
mod signing;
pub mod upkeep;
mod upstream;

/// The version of this program. What it tells agents is [`config::Config::version`].
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
