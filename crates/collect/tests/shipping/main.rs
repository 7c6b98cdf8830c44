//! From files to an engine, over HTTP: with an engine that fails in each of the ways that engines do.

mod engine;
mod faults;
mod files;
mod plans;
mod world;
