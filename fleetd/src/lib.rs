//! fleetd, the daemon on every machine: engine, agent and API in one process.
//!
//! This library is the whole daemon but for `main`, so that tests and simulations run the same handlers and
//! loops. What it must not know: how D-Bus or a store's engine works.
//!
//! | module | what |
//! |---|---|
//! | [`command`] | the command line, from arguments to exit code |
//! | [`config`] | the options, from file and environment |
//! | [`daemon`] | the daemon's life: start, reload, stop |
//! | [`generation`] | everything that runs under one configuration |
//! | [`api`] | `/fleet/v1`, from a request to an answer |
//! | [`serve`] | HTTP over the listeners |
//! | [`exporter`] | `/metrics` |
//! | [`store`] | opening the store that the configuration names |
//! | [`identity`] | who this machine is |
//! | `heart_thread` | a thread for the heartbeat alone |
//! | `supervisor` | the service manager that started this process |
//! | `state_dump` | what `SIGUSR1` prints |

pub mod api;
pub mod command;
pub mod config;
pub mod daemon;
pub mod exporter;
pub mod generation;
mod heart_thread;
pub mod identity;
pub mod serve;
mod state_dump;
pub mod store;
mod supervisor;

/// The version of this fleetd.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
