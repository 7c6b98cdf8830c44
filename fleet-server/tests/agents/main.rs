//! Servers as programs, over real stores, and agents that speak to them over TLS.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod agent;
mod artifacts;
mod checkins;
mod delivery;
mod enrolment;
mod etcd;
mod farewells;
mod files;
mod load;
mod logs;
mod manager;
mod opamp;
mod pgp;
mod refusals;
mod server;
mod servers;
mod signing;
mod steps;
mod stores;
mod uploads;
