//! The program against the real server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed; threads of tests wait with a bound"
)]

mod actions;
mod agent;
mod collecting;
mod enrolment;
mod policies;
mod server;
mod upgrades;
