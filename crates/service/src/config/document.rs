//! A configuration of nested keys: a YAML file, overridden by environment variables and the command line.
//!
//! A daemon opens a [`Document`], asks its [`Section`]s for each key, and takes the outcome:
//!
//! ```
//! use fleet_service::config::document::{Document, Sources, read};
//!
//! let overrides = ["server.port=8221".to_owned()];
//! let document = Document::open(&Sources { overrides: &overrides, ..Sources::default() });
//! let server = document.root().section("server");
//! let port = server.get("port", 8220, read::integer(0..=65535_u16));
//! let warnings = document.finish().expect("no mistakes");
//! assert_eq!((port, warnings.len()), (8221, 0));
//! ```
//!
//! * A dot in a key nests, anywhere: `server.port: 1` is `server: {port: 1}`. A number counts in a list.
//! * `${NAME}` in a value is another key's value, or an environment variable's. See [`Sources::environment`].
//! * Nothing stops at a mistake: each is kept with its place, and all are told by [`Document::finish`].
//! * A key that nobody asked for is a [`Warning`], with the key that may have been meant.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::settings::{Mistake, Place, Warning};

mod overrides;
pub mod read;
mod secret_file;
mod section;
mod substitute;
mod template;
mod tree;
mod unknown;
mod yaml;

pub use secret_file::{SecretFileError, read_secret_file};
pub use section::{Section, TextFile};
pub use tree::Scalar;

use tree::{Map, Meeting, Node, Style, Value};

/// Where a configuration comes from. What stands further down here goes before what stands above it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The file's path and content.
    pub file: Option<(&'a Path, &'a [u8])>,
    /// Environment variables that set a key: the variable's name, and the key.
    pub variables: &'a [(&'a str, &'a str)],
    /// `key=value` from the command line.
    pub overrides: &'a [String],
    /// The environment: for `variables`, and for `${NAME}` where no key has that name.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// Top-level keys that an override replaces as a whole instead of key by key.
    pub replaced: &'a [&'a str],
    /// Sections that may be given as a single value, and the key in it that this value is for.
    pub shorthands: &'a [(&'a str, &'a str)],
}

/// What is wrong, as far as it is known.
#[derive(Debug, Default)]
struct Findings {
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    /// The keys that somebody asked for.
    known: BTreeSet<String>,
    /// Of these, the ones below which any key is right.
    open: BTreeSet<String>,
}

/// A configuration with everything substituted, and what is wrong with it.
#[derive(Debug)]
pub struct Document {
    root: Node,
    credentials: Option<std::path::PathBuf>,
    findings: RefCell<Findings>,
}

impl Document {
    /// Reads and joins all sources. It cannot fail: what is wrong is told by [`Document::finish`].
    #[must_use]
    pub fn open(sources: &Sources<'_>) -> Document {
        let nothing = BTreeMap::new();
        let environment = sources.environment.unwrap_or(&nothing);
        let mut mistakes = Vec::new();
        let mut map = match sources.file {
            Some((path, bytes)) => yaml::read(path, bytes, sources.shorthands, &mut mistakes),
            None => Map::new(),
        };
        for (variable, key) in sources.variables {
            if let Some(text) = environment.get(*variable).filter(|text| !text.is_empty()) {
                let place = Place::Environment((*variable).to_owned());
                // Quoted, so that nothing in it is taken for more than a text.
                let value = Value::Scalar(Scalar::new(text.replace("${", "$${"), Style::Quoted));
                tree::insert(&mut map, key, Node::new(place, value), Meeting::Overrides, &mut mistakes);
            }
        }
        for (key, node) in overrides::read(sources.overrides, sources.shorthands, &mut mistakes) {
            if sources.replaced.contains(&key.as_str()) {
                map.remove(&key);
            }
            match map.get_mut(&key) {
                Some(present) => tree::merge(present, node, &key, Meeting::Overrides, &mut mistakes),
                None => {
                    map.insert(key, node);
                }
            }
        }
        let mut root = Node::new(Place::Nowhere, Value::Map(map));
        tree::number_lists(&mut root);
        let root = substitute::substitute(&root, environment);
        let credentials = environment.get("CREDENTIALS_DIRECTORY").filter(|text| !text.is_empty());
        let findings = RefCell::new(Findings { mistakes, ..Findings::default() });
        Document { root, credentials: credentials.map(Into::into), findings }
    }

    /// The section that holds all others.
    #[must_use]
    pub fn root(&self) -> Section<'_> {
        Section::new(self, Some(&self.root), String::new())
    }

    /// The keys that somebody asked for or accepted so far, as they are written in a mistake.
    #[must_use]
    pub fn known_keys(&self) -> Vec<String> {
        let findings = self.findings.borrow();
        findings.known.union(&findings.open).cloned().collect()
    }

    /// The outcome, when all keys were asked for.
    ///
    /// # Errors
    /// All that was found, if there is any mistake in it.
    pub fn finish(self) -> Result<Vec<Warning>, Problems> {
        let Findings { mut mistakes, mut warnings, known, open } = self.findings.into_inner();
        unknown::warn(&self.root, &known, &open, &mut warnings);
        mistakes.sort_by(|left, right| left.place.cmp(&right.place));
        mistakes.dedup();
        warnings.sort_by(|left, right| left.place.cmp(&right.place));
        warnings.dedup();
        if mistakes.is_empty() { Ok(warnings) } else { Err(Problems { mistakes, warnings }) }
    }
}

/// What keeps a configuration from being used, and what else there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// In the order of the lines of the file; then what stands elsewhere.
    pub mistakes: Vec<Mistake>,
    /// In the same order.
    pub warnings: Vec<Warning>,
}
