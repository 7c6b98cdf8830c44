//! Machines, units and the decisions that bring them together.
//!
//! Two reconcilers keep a cluster true. The *engine*, one at a time, decides which machine runs which unit;
//! the *agent*, one on every machine, makes its machine run what it should. Both decide by pure functions
//! ([`engine::Planner`], [`agent::decide`]) without a clock or I/O, and thin shells carry the decisions out.
//!
//! What this crate must not know: etcd, D-Bus, HTTP. It reaches the store by `fleet_store::Store`, systemd by
//! [`systemd::Systemd`], time by `tokio::time` alone (which a test pauses) and randomness by a seed it is given.
//!
//! | module | what |
//! |---|---|
//! | [`documents`] | what is kept in the store, and in which collections |
//! | [`systemd`] | the few things asked of a machine's service manager |
//! | [`engine`] | placing units: planner, leadership, reconciler |
//! | [`agent`] | running units: decisions, reconciler, state publisher |
//! | [`heart`] | keeping leases alive, apart from all other work |
//! | [`follow`] | following one document |
//! | [`sets`] | sets of units that may be larger than one document |
//! | [`environment`] | chance |
//! | [`node`] | all of these, wired together: what a machine runs over one store |
//! | [`presence`] | being a member of the cluster: registration, heartbeat |

pub mod agent;
pub mod documents;
pub mod engine;
pub mod environment;
pub mod follow;
pub mod heart;
pub mod node;
pub mod presence;
pub mod sets;
pub mod systemd;
