//! The API: row by row, byte by byte, under load and under attack.
//!
//! The handlers are asked in this process, and over real sockets where HTTP itself matters. The store is the
//! embedded one; what engine and agents would write is written by [`world::World`].
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails, fails its test")]

mod answer;
mod arbitrary;
mod availability;
mod client;
mod explain;
mod histories;
mod hostile;
mod load;
mod machines;
mod malformed;
mod metrics;
mod pages;
mod rows;
mod transcript;
mod wire;
mod world;
