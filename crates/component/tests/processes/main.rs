//! A supervisor and real processes, over real gRPC.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod foreign;
mod host;
mod life;
#[path = "../go/programs.rs"]
mod programs;
mod service;
mod speech;
