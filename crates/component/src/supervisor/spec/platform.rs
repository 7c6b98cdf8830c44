//! What components run on.

use std::fmt;

/// An operating system and an architecture, as spec files name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    os: String,
    arch: String,
    in_container: bool,
}

impl Default for Platform {
    fn default() -> Platform {
        Platform::here()
    }
}

impl Platform {
    /// This one, outside of a container.
    #[must_use]
    pub fn here() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH)
    }

    /// A named one, by the names of Rust or of spec files.
    #[must_use]
    pub fn new(os: &str, arch: &str) -> Platform {
        let os = if os == "macos" { "darwin" } else { os };
        let arch = match arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform { os: os.to_owned(), arch: arch.to_owned(), in_container: false }
    }

    /// The same in a container, which counts as an operating system of its own.
    #[must_use]
    pub fn in_container(mut self) -> Platform {
        self.in_container = true;
        self
    }

    /// The operating system.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.arch
    }

    pub(super) fn is_among(&self, platforms: &[String]) -> bool {
        let own = self.to_string();
        platforms.contains(&own)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = if self.in_container { "container" } else { &self.os };
        write!(f, "{os}/{}", self.arch)
    }
}
