//! Benchmarks of fleet-agent, beside others that ship logs, in one run.
//!
//! | module | what |
//! |---|---|
//! | `shipper` | what is common to all that are measured: a folder that is watched, a process, where its lines arrive |
//! | `fleet` | fleet-agent: enrolled with a fleet-server, its policy |
//! | `peers` | rsyslog and a collector of OpenTelemetry |
//! | `sink` | an engine that takes everything and counts |
//! | `lines` | the files that are shipped |
//! | `idle`, `ship`, `policy` | what is done, and the figures |

mod arguments;
mod fleet;
mod idle;
mod lines;
mod peers;
mod policy;
mod ship;
mod shipper;
mod sink;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::BenchError;
use crate::programs;
use crate::report::{Figure, Report};
use crate::run::{host, load, write};

pub use arguments::{AgentArguments, AgentPart};

/// Measures the agent, and writes the figures. What was measured is written even when something fails.
///
/// # Errors
/// That a program cannot be built, the first failure of a part, or that the figures cannot be written.
pub fn run_agent(arguments: &AgentArguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::file("make a runtime with", "/dev/null"))?;
    programs::build(&["fleet-agent", "fleet-server"])?;
    let before = load();
    let (mut figures, mut failed) = (Vec::new(), None);
    for part in &arguments.part {
        let started = Instant::now();
        let folder = tempfile::tempdir().map_err(BenchError::file("make a folder in", "/tmp"))?;
        let outcome = runtime.block_on(measure(*part, arguments, folder.path(), &mut figures));
        let (seconds, mut out) = (started.elapsed().as_secs_f64(), std::io::stderr());
        match outcome {
            Ok(()) => writeln!(out, "{part}: {seconds:.1} s").ok(),
            Err(error) => {
                writeln!(out, "{part}: FAILED after {seconds:.1} s: {error}").ok();
                let name = part.to_string();
                failed.get_or_insert(BenchError::Benchmark { name, source: Box::new(error) });
                None
            }
        };
    }
    let report = Report { host: host(before), quick: false, figures };
    write(&report, arguments.json.as_deref())?;
    failed.map_or(Ok(()), Err)
}

async fn measure(
    part: AgentPart,
    arguments: &AgentArguments,
    folder: &Path,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    match part {
        AgentPart::Idle => idle::measure(arguments, folder, figures).await,
        AgentPart::Ship => ship::measure(arguments, folder, figures).await,
        AgentPart::Engine => ship::into_an_engine(arguments, folder, figures).await,
        AgentPart::Policy => policy::measure(arguments, folder, figures).await,
    }
}

/// A program that was built beside this one, or the one in `FLEET_PROGRAMS`.
fn program(name: &str) -> Result<PathBuf, BenchError> {
    Ok(crate::agents::program()?.with_file_name(name))
}
