//! The options of a daemon, asked for one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::ini;
use super::nearest::nearest;
use super::value::Expected;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a line of a file, counted from 1.
    File(PathBuf, usize),
    /// In an environment variable of this name.
    Environment(String),
    /// In an override on the command line, of this key.
    Override(String),
    /// Nowhere: it is the default, or it follows from several options.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path, line) => write!(f, "{}:{line}", path.display()),
            Place::Environment(name) => write!(f, "environment variable {name}"),
            Place::Override(key) => write!(f, "-E {key}"),
            Place::Nowhere => f.write_str("configuration"),
        }
    }
}

/// A value, or a line, that cannot be used: the daemon does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text}")]
pub struct Mistake {
    /// The option; `None` if it is a whole line that means nothing.
    pub key: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// What was expected, and what stands there.
    pub text: String,
}

/// Something that has no effect, or not the one that it once had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
struct Raw {
    value: String,
    place: Place,
}

impl Raw {
    fn is_empty(&self) -> bool {
        self.value.trim().is_empty()
    }
}

/// The values of a file and of the environment, and what is wrong with them.
#[derive(Debug)]
pub struct Settings {
    /// By key. Those of the environment stand over those of the file.
    values: BTreeMap<String, Raw>,
    /// Keys that were asked for.
    known: BTreeSet<&'static str>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

impl Settings {
    /// Opens the settings of a file's path and text, and of the environment variables that begin with the
    /// prefix.
    #[must_use]
    pub fn open(
        prefix: &str,
        file: Option<(&Path, &str)>,
        environment: &BTreeMap<String, String>,
    ) -> Settings {
        let mut settings = Settings {
            values: BTreeMap::new(),
            known: BTreeSet::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some((path, text)) = file {
            settings.read_file(path, text);
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(prefix).filter(|key| **key == *key.to_uppercase()) {
                let raw = Raw { value: value.clone(), place: Place::Environment(name.clone()) };
                settings.values.insert(key.to_lowercase(), raw);
            }
        }
        settings
    }

    fn read_file(&mut self, path: &Path, text: &str) {
        let (entries, bad_lines) = ini::read(text);
        let place = |line| Place::File(path.to_owned(), line);
        for bad in bad_lines {
            let text = format!("expected key=value, a comment or [section], not {:?}", shortened(&bad.text));
            self.mistakes.push(Mistake { key: None, place: place(bad.line), text });
        }
        for entry in entries {
            let place = place(entry.line);
            if let Some(section) = entry.section {
                let text =
                    format!("{} has no effect in section [{section}]: move it above all sections", entry.key);
                self.warnings.push(Warning { place, text });
            } else {
                self.values.insert(entry.key, Raw { value: entry.value, place });
            }
        }
    }

    /// The value of a key, read by `parse`; the default if there is none, or if it is empty or wrong. See
    /// [`value`](super::value) for readers.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Expected>,
    ) -> T {
        self.known.insert(key);
        let Some(raw) = self.values.get(key).filter(|raw| !raw.is_empty()) else { return default };
        match parse(&raw.value) {
            Ok(value) => value,
            Err(Expected(expected)) => {
                let text = format!("{key} must be {expected}, not {:?}", shortened(&raw.value));
                self.mistakes.push(Mistake { key: Some(key.to_owned()), place: raw.place.clone(), text });
                default
            }
        }
    }

    /// Accepts a key that no longer does anything, with a warning if it is there and not empty.
    pub fn deprecated(&mut self, key: &'static str, reason: &str) {
        self.known.insert(key);
        if let Some(raw) = self.values.get(key).filter(|raw| !raw.is_empty()) {
            let text = format!("{key} is no longer supported and ignored: {reason}");
            self.warnings.push(Warning { place: raw.place.clone(), text });
        }
    }

    /// Tells a mistake that follows from several options; it is placed where this key stands.
    pub fn mistake(&mut self, key: &str, text: impl Into<String>) {
        let place = self.place_of(key);
        self.mistakes.push(Mistake { key: Some(key.to_owned()), place, text: text.into() });
    }

    /// Tells something that does not keep the daemon from starting; it is placed where this key stands.
    pub fn warning(&mut self, key: &str, text: impl Into<String>) {
        let place = self.place_of(key);
        self.warnings.push(Warning { place, text: text.into() });
    }

    fn place_of(&self, key: &str) -> Place {
        self.values.get(key).map_or(Place::Nowhere, |raw| raw.place.clone())
    }

    /// The outcome, when all options were asked for.
    ///
    /// # Errors
    /// All mistakes, if there is any, in the order in which the options were asked for.
    pub fn finish(mut self) -> Result<Vec<Warning>, Vec<Mistake>> {
        for (key, raw) in &self.values {
            if self.known.contains(key.as_str()) {
                continue;
            }
            let meant = nearest(key, self.known.iter().copied());
            let text = match (&raw.place, meant) {
                (Place::Environment(_), Some(meant)) => format!("unknown: was {meant} meant?"),
                // Other programs may have variables with this prefix.
                (Place::Environment(_), None) => continue,
                (_, Some(meant)) => format!("unknown option {key}: was {meant} meant?"),
                (_, None) => format!("unknown option {key}"),
            };
            self.warnings.push(Warning { place: raw.place.clone(), text });
        }
        if self.mistakes.is_empty() { Ok(self.warnings) } else { Err(self.mistakes) }
    }
}

/// Enough of a text to be recognised, without what may be a password in a URL.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    let text = without_user(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Replaces what stands between `//` and the `@` that follows, and a `user:password@` without `//`.
fn without_user(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, part) in text.split("//").enumerate() {
        if index > 0 {
            shown.push_str("//");
        }
        match part.rsplit_once('@') {
            Some((user, host)) if index > 0 || user.contains(':') => {
                shown.push_str("…@");
                shown.push_str(host);
            }
            _ => shown.push_str(part),
        }
    }
    shown
}
