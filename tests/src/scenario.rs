//! The frame of a test: a cluster, a bound, and what to show when it fails.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use crate::availability::why_not;
use crate::builder::Builder;
use crate::cluster::Cluster;

/// No test takes longer.
const BOUND: Duration = Duration::from_mins(5);

/// What a test returns.
pub type TestResult = Result<(), Failure>;

/// Why a test failed: the error with all its causes, for the test report.
pub struct Failure(String);

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        Self(text)
    }
}

/// The test report prints a failure with `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Boots a cluster, runs a test on it, and takes it down again.
///
/// Where machines cannot run, the test says `SKIPPED` with the reason and passes; under `CI=true` it fails, so that
/// a run which tested nothing is never taken for a good one. When the test fails, the end of `fleetd`'s journal on
/// every machine is shown.
///
/// # Errors
/// The test's own, the cluster's, or that the test took longer than five minutes.
pub fn on_cluster(builder: Builder, test: impl AsyncFnOnce(&mut Cluster) -> TestResult) -> TestResult {
    if let Some(reason) = why_not() {
        return skip(&reason);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut cluster = builder.boot().await?;
        let mut witness = Witness { cluster: &mut cluster, content: false };
        let result = match tokio::time::timeout(BOUND, test(witness.cluster)).await {
            Ok(result) => result,
            Err(_) => Err(Failure(format!("the test took longer than {BOUND:?}"))),
        };
        witness.content = result.is_ok();
        drop(witness);
        result
    })
}

fn skip(reason: &str) -> TestResult {
    if std::env::var("CI").is_ok_and(|value| value == "true") {
        return Err(Failure(format!("real machines cannot run here ({reason}), and CI=true demands them")));
    }
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    // Straight to the terminal: the test runner keeps back what a passing test prints.
    writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}")?;
    Ok(())
}

/// Shows what the machines know when a test ends without success, be it by an error or by a failed assertion.
struct Witness<'a> {
    cluster: &'a mut Cluster,
    content: bool,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if self.content {
            return;
        }
        let mut out = std::io::stderr();
        for machine in self.cluster.machines() {
            let Ok(leader) = machine.leader() else {
                writeln!(out, "--- {}: off", machine.name()).ok();
                continue;
            };
            // Not through the async part: a failed assertion unwinds through here.
            let journal = std::process::Command::new("nsenter")
                .args([
                    "--target",
                    &leader.to_string(),
                    "--all",
                    "--",
                    "journalctl",
                    "--no-pager",
                    "--lines=60",
                ])
                .args(["--unit=fleet.service", "--unit=fleet.socket"])
                .output();
            let text = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            writeln!(out, "--- {} ({})\n{}", machine.name(), machine.id(), text.unwrap_or_default()).ok();
        }
    }
}
