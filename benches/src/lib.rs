//! The numbers in the README, each with the command that makes it.
//!
//! [`units`] measures the units half on real machines: systemd in `systemd-nspawn`, a real etcd beside them, `fleetd`
//! and `fleetctl` built for release. Each benchmark boots a cluster of its own, measures from outside what a person
//! would see, and leaves nothing behind. `docs/benchmarks.md` says how each figure is taken.
//!
//! [`agents`] measures fleet-server: thousands of simulated agents over TLS, on both stores.
//!
//! [`management`] measures the management API of fleet-server, with very many agents stored.
//!
//! [`agent`] measures fleet-agent beside its peers.
//!
//! It must not know how `fleetd` and `fleet-server` work inside; the planner alone is measured as the library that it
//! is, and many agents are put into the store as the documents that they are.

pub mod agent;
pub mod agents;
mod arguments;
mod client;
mod error;
mod etcd;
mod lab;
pub mod management;
mod process;
mod programs;
mod report;
mod run;
mod samples;
pub mod units;
mod wait;

pub use agent::{AgentArguments, AgentPart, run_agent};
pub use agents::{AgentsArguments, run_agents};
pub use arguments::Arguments;
pub use error::BenchError;
pub use management::{ManagementArguments, run_management};
pub use report::{Figure, Report, Target};
pub use run::{exit_code, run};
pub use samples::Samples;
