//! Where this process's configuration comes from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fleet_service::config::document::Problems;
use fleet_service::config::{Mistake, Place, Warning};

use super::{Config, DEFAULT_FILE, Input, limits, load};

/// More than this is no configuration, whatever the file is; reading must end somewhere. The reader of YAML
/// has a smaller bound of its own, and tells it.
const MOST_BYTES: u64 = 16 << 20;

/// What the command line says about the configuration. It can be loaded again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file. `None`: the default one if it is there.
    pub file: Option<PathBuf>,
    /// `key=value`, the last one wins.
    pub overrides: Vec<String>,
}

impl Source {
    /// Reads the file, the overrides and the environment of this process.
    ///
    /// # Errors
    /// The file was named and cannot be read, or there are mistakes in it.
    pub fn load(&self) -> Result<(Config, Vec<Warning>), Problems> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        self.load_with(&environment, limits::memory::available(&environment))
    }

    /// The same with another environment and another size of memory, in bytes.
    ///
    /// # Errors
    /// The file was named and cannot be read, or there are mistakes in it.
    pub fn load_with(
        &self,
        environment: &BTreeMap<String, String>,
        memory: u64,
    ) -> Result<(Config, Vec<Warning>), Problems> {
        let path = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let bytes = match read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.file.is_none() => None,
            Err(error) => {
                let text = format!("the file {} cannot be read: {error}; see --config", path.display());
                let mistake = Mistake { key: None, place: Place::Nowhere, text };
                return Err(Problems { mistakes: vec![mistake], warnings: Vec::new() });
            }
        };
        load(&Input {
            file: bytes.as_deref().map(|bytes| (path, bytes)),
            overrides: &self.overrides,
            environment: Some(environment),
            memory,
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
