//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::units::Benchmark;

/// Measures units on real machines: systemd in systemd-nspawn, a real etcd, fleetd and fleetctl built for release.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-units")]
pub struct Arguments {
    /// Write the figures as JSON to this file; `-` for standard output (the table then goes to standard error).
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,

    /// Run this benchmark only; may be given again.
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<Benchmark>,

    /// Fewer repetitions: a look, not a measurement.
    #[arg(long)]
    pub quick: bool,

    /// An option of fleet.conf on every machine, to see what it changes; may be given again.
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub options: Vec<(String, String)>,

    /// Keep the journals of fleetd in this folder, one file per benchmark and machine.
    #[arg(long, value_name = "FOLDER")]
    pub journals: Option<PathBuf>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, for instance agent_ttl=5s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_pairs() {
        let words = ["bench-units", "--option", "agent_ttl=5s", "--only", "start", "--only", "planner"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.options, [("agent_ttl".to_owned(), "5s".to_owned())]);
        assert_eq!(arguments.only, [Benchmark::Start, Benchmark::Planner]);
        for wrong in ["agent_ttl", "=5s"] {
            assert!(Arguments::try_parse_from(["bench-units", "--option", wrong]).is_err(), "{wrong}");
        }
    }
}
