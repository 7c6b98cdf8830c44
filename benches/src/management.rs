//! Benchmarks of the management API of fleet-server, with very many agents stored, and with very many policies.
//!
//! | module | what |
//! |---|---|
//! | `seed` | the agents that are stored: they differ in what lists are filtered and sorted by |
//! | `copies` | the policies that are stored |
//! | `measure` | what is asked of agents, and the figures |
//! | `policies` | what is asked of policies |

mod arguments;
mod copies;
mod measure;
mod policies;
mod seed;

use std::io::Write as _;
use std::time::Instant;

use crate::agents::program;
use crate::error::BenchError;
use crate::programs;
use crate::report::Report;
use crate::run::{host, load, write};

pub use arguments::ManagementArguments;

/// Measures the management API over each store that is asked for, and writes the figures. What was measured is
/// written even when something fails.
///
/// # Errors
/// That the server cannot be built, the first failure of a run, or that the figures cannot be written.
pub fn run_management(arguments: &ManagementArguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::file("make a runtime with", "/dev/null"))?;
    programs::build(&["fleet-server"])?;
    let program = program()?;
    let before = load();
    let (mut figures, mut failed) = (Vec::new(), None);
    for kind in &arguments.store {
        let started = Instant::now();
        let folder = tempfile::tempdir().map_err(BenchError::file("make a folder in", "/tmp"))?;
        let run = measure::run(arguments, *kind, &program, folder.path());
        let (mut measured, outcome) = runtime.block_on(run);
        figures.append(&mut measured);
        let (seconds, mut out) = (started.elapsed().as_secs_f64(), std::io::stderr());
        match outcome {
            Ok(()) => writeln!(out, "{kind}: {seconds:.1} s").ok(),
            Err(error) => {
                writeln!(out, "{kind}: FAILED after {seconds:.1} s: {error}").ok();
                let name = kind.to_string();
                failed.get_or_insert(BenchError::Benchmark { name, source: Box::new(error) });
                None
            }
        };
    }
    let report = Report { host: host(before), quick: false, figures };
    write(&report, arguments.json.as_deref())?;
    failed.map_or(Ok(()), Err)
}
