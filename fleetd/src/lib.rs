//! fleetd, the daemon on every machine: engine, agent and API in one process.
//!
//! This library is the whole daemon but for `main`, so that tests and simulations run the same handlers and
//! loops. What it must not know: how D-Bus or a store's engine works.
//!
//! | module | what |
//! |---|---|
//! | [`api`] | `/fleet/v1` |

pub mod api;
