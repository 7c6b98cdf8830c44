//! The program under our own supervisor, as an agent runs it: started, enrolled at, changed, killed, stopped.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod agent;
mod foreign;
mod host;
mod life;
mod mistakes;
#[path = "../../../crates/component/tests/go/programs.rs"]
mod programs;
