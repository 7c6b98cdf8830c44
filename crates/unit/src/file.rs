//! Unit files: lists of options, their normal form and hash.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::UnitHash;
use crate::option::UnitOption;
use crate::parse::{self, ParseError};

/// A unit file: its options in their order, without comments and blank lines.
///
/// Its `Display` is the *normal form*: the sections in the order in which they were first seen, the options
/// of a section together and in their order, a blank line between sections. Two files are equal when their
/// normal forms, and so their hashes, are. As JSON a file is the list of its options.
#[derive(Clone, Debug, Default)]
pub struct UnitFile {
    options: Vec<UnitOption>,
}

impl UnitFile {
    /// Reads a unit file's text.
    ///
    /// # Errors
    /// What the text breaks, see [`ParseError`].
    pub fn parse(text: &str) -> Result<UnitFile, ParseError> {
        parse::parse(text).map(|options| UnitFile { options })
    }

    /// A file of these options. Names and values lose the blanks around them, as they would in a file: a
    /// file's hash must not depend on the way that it came.
    #[must_use]
    pub fn from_options(mut options: Vec<UnitOption>) -> UnitFile {
        for option in &mut options {
            trim_in_place(&mut option.name, str::trim);
            trim_in_place(&mut option.value, parse::trim_value);
        }
        UnitFile { options }
    }

    /// The options, in the order of the file that was read.
    #[must_use]
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The options, owned.
    #[must_use]
    pub fn into_options(self) -> Vec<UnitOption> {
        self.options
    }

    /// SHA-1 of the normal form.
    #[must_use]
    pub fn hash(&self) -> UnitHash {
        UnitHash::of(&self.to_string())
    }

    /// Whether there is an option in this section. An empty section is none.
    #[must_use]
    pub fn has_section(&self, section: &str) -> bool {
        self.options.iter().any(|option| option.section == section)
    }

    /// The first `Description` of the `[Unit]` section; empty if there is none.
    #[must_use]
    pub fn description(&self) -> &str {
        self.options
            .iter()
            .find(|option| option.section == "Unit" && option.name == "Description")
            .map_or("", |option| &option.value)
    }

    /// The options in the order of the normal form.
    pub(crate) fn normal_order(&self) -> Vec<&UnitOption> {
        let mut first_seen = HashMap::new();
        for (index, option) in self.options.iter().enumerate() {
            first_seen.entry(option.section.as_str()).or_insert(index);
        }
        let mut ordered: Vec<&UnitOption> = self.options.iter().collect();
        // The sort is stable, so the options of one section keep their order.
        ordered.sort_by_key(|option| first_seen.get(option.section.as_str()).copied());
        ordered
    }
}

fn trim_in_place(text: &mut String, trim: fn(&str) -> &str) {
    let trimmed = trim(text);
    if trimmed.len() < text.len() {
        *text = trimmed.to_owned();
    }
}

impl fmt::Display for UnitFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = None;
        for option in self.normal_order() {
            if section != Some(&option.section) {
                let gap = if section.is_some() { "\n" } else { "" };
                writeln!(f, "{gap}[{}]", option.section)?;
                section = Some(&option.section);
            }
            writeln!(f, "{option}")?;
        }
        Ok(())
    }
}

impl PartialEq for UnitFile {
    fn eq(&self, other: &UnitFile) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for UnitFile {}

impl Serialize for UnitFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.options.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnitFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitFile, D::Error> {
        Vec::deserialize(deserializer).map(UnitFile::from_options)
    }
}
