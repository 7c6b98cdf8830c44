//! The command line of `bench-agents`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures fleet-server with simulated agents: over TLS, on this host, beside the server.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-agents")]
pub struct AgentsArguments {
    /// Write the figures as JSON to this file; `-` for standard output (the table then goes to standard error).
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,

    /// Agents whose check-ins are held at once. A process here holds at most 20 000 connections.
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    pub agents: usize,

    /// Agents that are stored in all, when actions by query and starts are measured.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub stored: usize,

    /// The store; given twice: one after the other.
    #[arg(long, value_name = "NAME", value_enum, default_values_t = [StoreKind::Embedded, StoreKind::Etcd])]
    pub store: Vec<StoreKind>,

    /// Measure this only; may be given again. What it needs is done beside it.
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<Phase>,

    /// Revisions that are rolled out.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,

    /// The size of the policy, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 10_000)]
    pub policy: usize,

    /// Connections of each agent: with 2, acknowledgements go over the second.
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub connections: u8,

    /// Seconds for which idle agents are watched.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub idle: u64,

    /// Keep the data and the server's log in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,

    /// A setting of the server, as its own -E; may be given again.
    #[arg(short = 'E', value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// Where the server keeps its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// Its own database.
    Embedded,
    /// A real etcd beside it.
    Etcd,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Enrolments.
    Enrol,
    /// Memory of held agents.
    Memory,
    /// Processor time and writes of idle agents.
    Idle,
    /// A revision goes out to all.
    Rollout,
    /// Acknowledgements while all others are held.
    Ack,
    /// Check-ins that change a status.
    Status,
    /// A start with many agents stored.
    Start,
    /// An action by query.
    Action,
}

impl AgentsArguments {
    /// Whether this is to be measured.
    pub(super) fn wants(&self, phase: Phase) -> bool {
        self.only.is_empty() || self.only.contains(&phase)
    }
}

impl std::fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            StoreKind::Embedded => "embedded",
            StoreKind::Etcd => "etcd",
        })
    }
}
