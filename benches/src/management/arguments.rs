//! The command line of `bench-management`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::agents::StoreKind;

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Lists of agents, and changing many.
    Agents,
    /// Lists of policies, and saving a large one.
    Policies,
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Part::Agents => "agents",
            Part::Policies => "policies",
        })
    }
}

/// Measures the management API of fleet-server: over HTTP, on this host, with very many agents, or policies, stored.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-management")]
pub struct ManagementArguments {
    /// Write the figures as JSON to this file; `-` for standard output (the table then goes to standard error).
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,

    /// Agents that are stored.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub stored: usize,

    /// The store; given twice: one after the other.
    #[arg(long, value_name = "NAME", value_enum, default_values_t = [StoreKind::Embedded, StoreKind::Etcd])]
    pub store: Vec<StoreKind>,

    /// Agent policies that are stored, with three integrations for two of them.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub policies: usize,

    /// What is measured; given twice: one after the other.
    #[arg(long, value_name = "NAME", value_enum, default_values_t = [Part::Agents, Part::Policies])]
    pub part: Vec<Part>,

    /// How often each list is asked for, and a policy saved.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub rounds: usize,

    /// How often all agents are given another policy.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub reassignments: usize,

    /// A setting of the server, as its own -E; may be given again.
    #[arg(short = 'E', value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}
