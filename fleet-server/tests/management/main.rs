//! The management API of a real program, as people, browsers and scripts use it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, or says why it is left out"
)]

#[path = "../agents/agent.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod agent;
mod agents;
mod client;
#[path = "../agents/etcd.rs"]
mod etcd;
mod events;
mod hosts;
mod integrations;
mod kills;
#[path = "../agents/manager.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod manager;
mod mistakes;
mod openapi;
mod outputs;
mod packages;
mod people;
mod policies;
mod receiver;
mod references;
#[path = "../agents/server.rs"]
#[expect(dead_code, reason = "shared with the tests of the agents' API")]
mod server;
mod sizes;
mod terraform;
mod uninstall_tokens;
mod webhooks;
