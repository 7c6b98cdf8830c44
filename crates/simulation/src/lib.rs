//! Whole clusters in one thread, the same in every run with the same seed.
//!
//! A world is made of a store in memory, of links to it that lose and delay requests, and of machines: each
//! has a scripted service manager and runs the very loops that fleetd runs (presence, heart, engine, agent,
//! publisher). Time is `tokio::time`, paused: a minute of a cluster's life takes milliseconds.
//!
//! What this crate must not know: etcd, D-Bus, HTTP, files, threads. Nothing in it reads a clock or asks the
//! operating system for chance, or two runs of one seed would differ.
//!
//! | module | what |
//! |---|---|
//! | [`memory`] | the store: documents, revisions, leases, history |
//! | [`link`] | one client's way to it, and what may happen on that way |
//! | [`client`] | the store's contract over a link |
//! | [`systemd`] | a service manager that does what a script says |
//! | [`machine`] | a machine: what survives a crash of its daemon, and the daemon |

pub mod client;
mod history;
pub mod link;
pub mod machine;
pub mod memory;
pub mod systemd;

pub use client::Client;
pub use link::{Condition, Faults, Link};
pub use machine::{Machine, Settings};
pub use memory::Memory;
pub use systemd::{Script, Scripted, Scripts};
