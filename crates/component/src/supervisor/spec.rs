//! Spec files: which components there are, and how each is run.
//!
//! `X.spec.yml` lies beside the program `X`. A file that cannot be used is told, and its components are not there;
//! the others are.

mod document;
mod platform;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use document::{CommandSpec, InputSpec, LogKeys, Prevention, RestartMonitoring, Timeouts, Variable};
pub use platform::Platform;
pub use service::{Operation, OperationSpec, Operations, ServiceSpec, ServiceTimeouts};

use document::Document;

/// Behind the name of a component.
const SUFFIX: &str = ".spec.yml";
/// More than this is no spec file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// The one version of spec files.
const VERSION: u64 = 2;

/// Why a spec file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The folder cannot be listed.
    #[error("the folder of components {} cannot be read", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("the spec file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not YAML of the right form.
    #[error("the spec file {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is, but it makes no sense.
    #[error("the spec file {} is not valid: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// There is no such program.
    #[error("the spec file {} is for a program that is not there: put {} beside it", path.display(), binary.display())]
    NoProgram {
        /// The file.
        path: PathBuf,
        /// The program.
        binary: PathBuf,
    },
}

/// A component, as its spec file has it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The name of the file without its ending.
    pub name: String,
    /// The program.
    pub binary: PathBuf,
    /// Files that belong to it.
    pub files: Vec<String>,
    /// The inputs that it is for, on all platforms.
    pub inputs: Vec<InputSpec>,
}

/// What there is for an input type.
#[derive(Clone, Debug)]
pub enum Found {
    /// A component.
    Component(Arc<Spec>, usize),
    /// A component, but not for this platform.
    OtherPlatform,
    /// Nothing.
    Nothing,
}

/// The components that there are.
#[derive(Clone, Debug, Default)]
pub struct Specs {
    platform: Platform,
    /// By input type and alias: the spec, and which of its inputs.
    by_kind: BTreeMap<String, (Arc<Spec>, usize)>,
    elsewhere: BTreeSet<String>,
}

impl Specs {
    /// Reads all spec files of a folder. Returns what can be used, and what is wrong with the rest.
    #[must_use]
    pub fn load(folder: &Path, platform: Platform) -> (Specs, Vec<SpecError>) {
        let mut specs = Specs { platform, ..Specs::default() };
        let mut problems = Vec::new();
        let files = match files(folder) {
            Ok(files) => files,
            Err(source) => {
                return (specs, vec![SpecError::Folder { path: folder.to_owned(), source }]);
            }
        };
        for (path, name) in files {
            if let Err(problem) = read(&path, &name).and_then(|spec| specs.add(&path, spec)) {
                problems.push(problem);
            }
        }
        (specs, problems)
    }

    /// The platform that components are for.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether some component is for inputs of this type, on any platform.
    #[must_use]
    pub fn handles(&self, kind: &str) -> bool {
        self.by_kind.contains_key(kind) || self.elsewhere.contains(kind)
    }

    /// The component for inputs of this type or alias.
    #[must_use]
    pub fn find(&self, kind: &str) -> Found {
        match self.by_kind.get(kind) {
            Some((spec, index)) => Found::Component(Arc::clone(spec), *index),
            None if self.elsewhere.contains(kind) => Found::OtherPlatform,
            None => Found::Nothing,
        }
    }

    /// Takes all of a spec or nothing of it.
    fn add(&mut self, path: &Path, spec: Spec) -> Result<(), SpecError> {
        let spec = Arc::new(spec);
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut elsewhere = BTreeSet::new();
        for (index, input) in spec.inputs.iter().enumerate() {
            let kinds = std::iter::once(&input.name).chain(&input.aliases);
            if !self.platform.is_among(&input.platforms) {
                elsewhere.extend(kinds.cloned());
                continue;
            }
            for kind in kinds {
                let is_taken = self.by_kind.contains_key(kind);
                if is_taken || names.insert(kind.clone(), index).is_some() {
                    let problem = format!(
                        "the input type {kind} is there twice on {}: one component is for one type, remove the other",
                        self.platform
                    );
                    return Err(SpecError::Invalid { path: path.to_owned(), problem });
                }
            }
        }
        self.elsewhere.extend(elsewhere);
        self.by_kind.extend(names.into_iter().map(|(kind, index)| (kind, (Arc::clone(&spec), index))));
        Ok(())
    }
}

/// Spec files in order, with the names of their components.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let name = file_name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            found.push((entry.path(), name.to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, name: &str) -> Result<Spec, SpecError> {
    let unreadable = |source| SpecError::Read { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST_FILE {
        let problem = format!("it has {size} bytes, of which there may be {LARGEST_FILE}");
        return Err(SpecError::Invalid { path: path.to_owned(), problem });
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let document: Document = serde_saphyr::from_str(&text)
        .map_err(|source| SpecError::Parse { path: path.to_owned(), source: Box::new(source) })?;
    let problem = document.problem(VERSION);
    if let Some(problem) = problem {
        return Err(SpecError::Invalid { path: path.to_owned(), problem });
    }
    let binary = path.with_file_name(name);
    if !binary.is_file() {
        return Err(SpecError::NoProgram { path: path.to_owned(), binary });
    }
    Ok(Spec { name: name.to_owned(), binary, files: document.component_files, inputs: document.inputs })
}

/// Why a program must not be run: whoever can write it could run what they like as the agent's user.
pub(super) fn refuse(binary: &Path) -> Option<String> {
    let mode = match fs::metadata(binary) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) => return Some(format!("the program {} cannot be read: {error}", binary.display())),
    };
    if mode & 0o022 != 0 {
        return Some(format!(
            "execution of component prevented: {} can be written by others than its owner; chmod go-w it",
            binary.display()
        ));
    }
    (mode & 0o100 == 0).then(|| {
        format!("execution of component prevented: {} cannot be executed; chmod u+x it", binary.display())
    })
}

#[cfg(test)]
mod tests;
