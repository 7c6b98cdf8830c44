//! The unit files of the tests.

use std::path::{Path, PathBuf};

use crate::error::HarnessError;

/// Where a unit file of `tests/fixtures/units` lies.
pub fn fixture(name: &str) -> String {
    folder().join(name).display().to_string()
}

/// Words of a command line, then the paths of these fixtures.
pub fn with_fixtures(words: &[&str], names: &[&str]) -> Vec<String> {
    let words = words.iter().map(|word| (*word).to_owned());
    words.chain(names.iter().map(|name| fixture(name))).collect()
}

/// Its text.
///
/// # Errors
/// When there is no such file.
pub fn fixture_text(name: &str) -> Result<String, HarnessError> {
    let path = folder().join(name);
    std::fs::read_to_string(&path).map_err(HarnessError::file("read", &path))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/units")
}
