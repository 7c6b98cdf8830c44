//! The programs that are measured.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::BenchError;

/// Builds `packages` for release, unless `FLEET_PROGRAMS` names a folder that has them. The machine
/// harness would do it too, but within the time of the first benchmark, and a build from nothing takes minutes.
pub(crate) fn build(packages: &[&str]) -> Result<(), BenchError> {
    if cfg!(debug_assertions) {
        let advice =
            "this is a debug build, and so would the programs be: measure with `cargo run --release`";
        return Err(BenchError::Wrong(advice.to_owned()));
    }
    if std::env::var_os("FLEET_PROGRAMS").is_some() {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let status = Command::new(&cargo)
        .args(["build", "--release"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(BenchError::file("run", cargo))?;
    if status.success() {
        return Ok(());
    }
    Err(BenchError::Wrong(format!("building {} ended with {status}", packages.join(" and "))))
}
