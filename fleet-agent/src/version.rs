//! Which version this is.
//!
//! Servers compare the versions of agents with their own, so it is one of the agents' protocol, not the package's.
//! A package says its version in the file `package.version` beside the program; without it, it is [`BUILT_IN`].

use std::sync::OnceLock;

/// The version of a program that no package says anything of.
pub const BUILT_IN: &str = "9.6.0";
/// The file beside the program that says its version.
pub const FILE: &str = "package.version";
/// Longer ones are none.
const LONGEST: usize = 64;

/// The version of the running program.
#[must_use]
pub fn current() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| beside_program().unwrap_or_else(|| BUILT_IN.to_owned()))
}

fn beside_program() -> Option<String> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    read(&program.parent()?.join(FILE))
}

/// The version in such a file; `None`: there is none.
#[must_use]
pub fn read(path: &std::path::Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let text = text.trim();
    (text.len() <= LONGEST && semver::Version::parse(text).is_ok()).then(|| text.to_owned())
}
