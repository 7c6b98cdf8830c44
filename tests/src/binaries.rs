//! The programs under test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::command::Run;
use crate::error::HarnessError;

/// Names a folder with programs that are built already: those of an installed release, for instance.
fn given() -> Option<PathBuf> {
    std::env::var_os("FLEET_PROGRAMS").map(PathBuf::from)
}

/// The folder with `fleetd` and `fleetctl`.
///
/// Unless `FLEET_PROGRAMS` names it, they are built here, with the profile of the tests, so that a test never meets
/// yesterday's program.
pub(crate) async fn folder() -> Result<PathBuf, HarnessError> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    if let Some(folder) = given() {
        return Ok(folder);
    }
    FOLDER.get_or_try_init(build).await.cloned()
}

/// Builds them once per test process.
async fn build() -> Result<PathBuf, HarnessError> {
    cargo_build(&["--package", "fleetd", "--package", "fleetctl"]).await
}

/// A program of this workspace that not every machine has: built here, unless `FLEET_PROGRAMS` has it; where it
/// lies. Its package is called as it is.
///
/// # Errors
/// When it does not compile, with the compiler's messages.
pub async fn program(name: &str) -> Result<PathBuf, HarnessError> {
    program_of(name, name).await
}

/// The same of a package that is called otherwise.
///
/// # Errors
/// When it does not compile, with the compiler's messages.
pub async fn program_of(package: &str, name: &str) -> Result<PathBuf, HarnessError> {
    if let Some(program) = given().map(|folder| folder.join(name)).filter(|path| path.exists()) {
        return Ok(program);
    }
    Ok(cargo_build(&["--package", package]).await?.join(name))
}

/// An example program of a crate of this workspace: built here, unless `FLEET_PROGRAMS` has it; where it lies.
///
/// # Errors
/// When it does not compile, with the compiler's messages.
pub async fn example(package: &str, name: &str) -> Result<PathBuf, HarnessError> {
    if let Some(program) =
        given().map(|folder| folder.join("examples").join(name)).filter(|path| path.exists())
    {
        return Ok(program);
    }
    let target = cargo_build(&["--package", package, "--example", name]).await?;
    Ok(target.join("examples").join(name))
}

/// Runs `cargo build` with the profile of the tests; the folder with what comes out.
async fn cargo_build(what: &[&str]) -> Result<PathBuf, HarnessError> {
    let workspace = workspace();
    let (profile, folder) = if cfg!(debug_assertions) { ("dev", "debug") } else { ("release", "release") };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = workspace.join("Cargo.toml").display().to_string();
    let mut build = Run::new([cargo])
        .args(["build", "--quiet", "--profile", profile, "--manifest-path", &manifest])
        .args(what);
    // The toolchain's own settings (homes, wrappers, target directory) count here as in any other build.
    for (name, value) in std::env::vars_os() {
        build = build.env(name, value);
    }
    build.bound(Duration::from_mins(30)).output().await?.success()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join(folder))
}

/// Copies the programs, so that a later build does not change what a running cluster has.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), HarnessError> {
    std::fs::create_dir_all(to).map_err(HarnessError::file("create", to))?;
    for program in ["fleetd", "fleetctl"] {
        let source = from.join(program);
        std::fs::copy(&source, to.join(program)).map_err(HarnessError::file("copy", &source))?;
    }
    Ok(())
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
