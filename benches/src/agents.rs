//! Benchmarks of fleet-server, with simulated agents.
//!
//! | module | what |
//! |---|---|
//! | `link`, `body` | the wire, as an unmodified agent 9.6.0 speaks it |
//! | `agent`, `swarm`, `churn` | what agents do, alone and together |
//! | `tally`, `usage` | what they saw, and who used the processors |
//! | `server`, `store` | what is measured |
//! | `scenario`, `measure` | what is done, and the figures |

mod agent;
mod arguments;
mod body;
mod churn;
mod link;
mod measure;
mod scenario;
pub(crate) mod server;
pub(crate) mod store;
mod swarm;
mod tally;
mod usage;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::BenchError;
use crate::programs;
use crate::report::Report;
use crate::run::{host, load, write};

pub use arguments::{AgentsArguments, Phase, StoreKind};

/// Measures fleet-server over each store that is asked for, and writes the figures. What was measured is written
/// even when something fails.
///
/// # Errors
/// That the server cannot be built, the first failure of a run, or that the figures cannot be written.
pub fn run_agents(arguments: &AgentsArguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(BenchError::file("make a runtime with", "/dev/null"))?;
    raise_limit();
    programs::build(&["fleet-server"])?;
    let program = program()?;
    let before = load();
    let (mut figures, mut failed) = (Vec::new(), None);
    for kind in &arguments.store {
        let started = Instant::now();
        let kept = arguments.keep.as_ref().map(|folder| folder.join(kind.to_string()));
        let temporary = tempfile::tempdir().map_err(BenchError::file("make a folder in", "/tmp"))?;
        let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
        std::fs::create_dir_all(&folder).map_err(BenchError::file("make", &folder))?;
        let run = scenario::run(arguments, *kind, &program, &folder);
        let (mut measured, outcome) = runtime.block_on(run);
        figures.append(&mut measured);
        let (seconds, mut out) = (started.elapsed().as_secs_f64(), std::io::stderr());
        match outcome {
            Ok(()) => writeln!(out, "{kind}: {seconds:.1} s").ok(),
            Err(error) => {
                writeln!(out, "{kind}: FAILED after {seconds:.1} s: {error}").ok();
                failed
                    .get_or_insert(BenchError::Benchmark { name: kind.to_string(), source: Box::new(error) });
                None
            }
        };
    }
    let report = Report { host: host(before), quick: false, figures };
    write(&report, arguments.json.as_deref())?;
    failed.map_or(Ok(()), Err)
}

/// The server that was built beside this program, or the one in `FLEET_PROGRAMS`.
pub(crate) fn program() -> Result<PathBuf, BenchError> {
    let folder = match std::env::var_os("FLEET_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let own = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
            own.parent().map(ToOwned::to_owned).unwrap_or_default()
        }
    };
    Ok(folder.join("fleet-server"))
}

/// As many connections as the system lets a process have; the server inherits it.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Too few are seen when agents cannot connect.
    let _ = setrlimit(Resource::Nofile, limit);
}
