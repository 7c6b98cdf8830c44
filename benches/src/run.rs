//! A run: benchmark after benchmark, each bounded in time.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::ValueEnum as _;

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::programs;
use crate::report::{Host, Report};
use crate::units::Benchmark;

/// No benchmark takes longer; the machines that it booted are gone then, as always.
const BOUND: Duration = Duration::from_mins(6);

/// Runs the benchmarks that are asked for and writes their figures. What was measured is written even when a
/// benchmark fails.
///
/// # Errors
/// That the programs cannot be built, the first benchmark's that failed, or that the figures cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::file("make a runtime with", "/dev/null"))?;
    let chosen: Vec<Benchmark> = Benchmark::value_variants()
        .iter()
        .copied()
        .filter(|benchmark| arguments.only.is_empty() || arguments.only.contains(benchmark))
        .collect();
    programs::build(&["fleetd", "fleetctl"])?;
    let before = load();
    let (mut figures, mut failed) = (Vec::new(), None);
    for benchmark in chosen {
        let started = Instant::now();
        let outcome = runtime.block_on(async {
            match tokio::time::timeout(BOUND, benchmark.measure(arguments)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let what = "a benchmark ends".to_owned();
                    Err(BenchError::TimedOut { what, bound: BOUND, last: "still measuring".to_owned() })
                }
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        let mut out = std::io::stderr();
        match outcome {
            Ok(mut measured) => {
                writeln!(out, "{benchmark}: {seconds:.1} s").ok();
                figures.append(&mut measured);
            }
            Err(error) => {
                writeln!(out, "{benchmark}: FAILED after {seconds:.1} s: {error}").ok();
                let name = benchmark.to_string();
                failed.get_or_insert(BenchError::Benchmark { name, source: Box::new(error) });
            }
        }
    }
    write(&Report { host: host(before), quick: arguments.quick, figures }, arguments.json.as_deref())?;
    failed.map_or(Ok(()), Err)
}

/// Where it is measured; the load was `before` at the beginning.
pub(crate) fn host(before: f64) -> Host {
    Host { processors: processors(), versions: versions(), load: [before, load()] }
}

/// The exit status of a program that ends with `outcome`, which is told when it is a failure.
pub fn exit_code(program: &str, outcome: Result<(), BenchError>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let mut out = std::io::stderr();
    writeln!(out, "{program}: {error}").ok();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        writeln!(out, "  because: {error}").ok();
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// Writes the figures as a table, and as JSON where that is asked for.
pub(crate) fn write(report: &Report, json: Option<&Path>) -> Result<(), BenchError> {
    let mut text = serde_json::to_string_pretty(report)
        .map_err(|source| BenchError::Answer { url: "the report".to_owned(), source })?;
    text.push('\n');
    let table = report.table();
    let print = |text: &str| {
        std::io::stdout().write_all(text.as_bytes()).map_err(BenchError::file("write", "standard output"))
    };
    match json {
        Some(path) if path == Path::new("-") => {
            std::io::stderr()
                .write_all(table.as_bytes())
                .map_err(BenchError::file("write", "standard error"))?;
            print(&text)
        }
        Some(path) => {
            std::fs::write(path, text).map_err(BenchError::file("write", path))?;
            print(&table)
        }
        None => print(&table),
    }
}

/// The load average over one minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first line of what each part says of itself; a part that says nothing is left out.
fn versions() -> Vec<String> {
    let first_line = |argv: &[&str]| {
        let output = Command::new(argv[0]).args(&argv[1..]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let parts: [&[&str]; 3] = [&["uname", "-sr"], &["systemctl", "--version"], &["etcd", "--version"]];
    parts.into_iter().filter_map(first_line).collect()
}
