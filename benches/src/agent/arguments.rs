//! The command line of `bench-agent`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentPart {
    /// Memory and processor time with nothing to do.
    Idle,
    /// Files into a sink, beside the peers.
    Ship,
    /// A file into a real OpenSearch.
    Engine,
    /// Policies that change.
    Policy,
}

impl std::fmt::Display for AgentPart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            AgentPart::Idle => "idle",
            AgentPart::Ship => "ship",
            AgentPart::Engine => "engine",
            AgentPart::Policy => "policy",
        })
    }
}

/// Measures fleet-agent on this host, beside rsyslog and a collector of OpenTelemetry.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-agent")]
pub struct AgentArguments {
    /// Write the figures as JSON to this file; `-` for standard output (the table then goes to standard error).
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,

    /// What is measured; given twice: one after the other.
    #[arg(long, value_name = "NAME", value_enum, default_values_t = [
        AgentPart::Idle, AgentPart::Policy, AgentPart::Ship, AgentPart::Engine,
    ])]
    pub part: Vec<AgentPart>,

    /// Lines of each file that is shipped.
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    pub lines: usize,

    /// How often each ships such a file, and a policy is changed.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,

    /// How long idle processes are watched, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub idle: u64,

    /// How long they are left alone before.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub settle: u64,
}
