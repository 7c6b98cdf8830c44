//! From files to an engine: to one that fails in each of the ways that engines do, and to a real one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod engine;
mod faults;
mod files;
mod opensearch;
mod plans;
mod world;
