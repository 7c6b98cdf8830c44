//! The command line of `bench-management`.

use std::path::PathBuf;

use clap::Parser;

use crate::agents::StoreKind;

/// Measures the management API of fleet-server: over HTTP, on this host, with very many agents stored.
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

    /// How often each list is asked for.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub rounds: usize,

    /// How often all agents are given another policy.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub reassignments: usize,

    /// A setting of the server, as its own -E; may be given again.
    #[arg(short = 'E', value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}
