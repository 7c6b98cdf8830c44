//! The program against the real server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on has failed; tests write their values in place"
)]

mod actions;
mod agent;
mod bootstrap;
mod chaos;
mod clock;
mod collecting;
mod components;
mod enrolment;
mod foreign;
mod otelcol;
mod policies;
#[path = "../../../crates/component/tests/go/programs.rs"]
mod programs;
mod rest;
mod server;
mod standalone;
mod upgrades;
