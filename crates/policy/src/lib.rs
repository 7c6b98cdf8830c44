//! Agents, their policies and actions: who gets what, and when.
//!
//! What an agent should do lies in the store as policies and actions; what it does, as its state. This crate
//! holds the documents, a view of them in memory that is fed by lists and watches, and the decisions: what a
//! check-in changes, what it is answered, how a policy is rendered, how an action is spread over its agents.
//! A decision is a function of what is known and what was said: it reads no clock and no store.
//!
//! What this crate must not know: HTTP, connections, how a store keeps its documents, how keys are made (it
//! keeps their digests).
//!
//! | module | what |
//! |---|---|
//! | [`documents`] | the collections and what their documents hold |
//! | [`feed`] | a collection in memory, followed through its watch |
//! | [`agents`] | every agent that there is, in memory, and changing one |
//! | [`policies`] | the newest revision of every policy, rendered |
//! | [`compose`] | what agents get, composed of what people edit |
//! | [`diff`] | what differs between two documents |
//! | [`settings`] | outputs, hosts, proxies and the like, and what agents get of them |
//! | [`render`] | a stored policy as an agent gets it |
//! | [`keyed`] | the same with the keys that each agent has for itself |
//! | [`actions`] | the actions that are not over, and whom they are for |
//! | [`artifacts`] | lists and the like that agents fetch, if their policy names them |
//! | [`query`] | choosing agents, and other documents, by what is known of them |
//! | [`session`] | what a check-in and an acknowledgement change, and what is answered |
//! | [`opamp`] | what a message of a collector changes, and what is answered |
//! | [`files`] | files that agents upload or are to get, in chunks |
//! | [`events`] | what happens, told once: to streams and webhooks |
//! | [`keeper`] | what one server does for all: silent agents are unenrolled, what is over is removed |
//! | [`status`] | how an agent is, by the rules that people know |
//! | [`version`] | versions of agents, in their order |
//! | [`upgrades`] | which agents are upgraded by themselves |

pub mod actions;
pub mod agents;
pub mod artifacts;
pub mod compose;
pub mod diff;
pub mod documents;
pub mod events;
pub mod feed;
pub mod files;
pub mod keeper;
pub mod keyed;
pub mod opamp;
pub mod policies;
pub mod query;
pub mod render;
pub mod session;
pub mod settings;
pub mod status;
pub mod upgrades;
pub mod version;
mod yaml;
pub use fleet_store::timestamp;
