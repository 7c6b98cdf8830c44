//! From files to an engine, over HTTP: with an engine that fails in each of the ways that engines do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod engine;
mod faults;
mod files;
mod plans;
mod world;
