//! What a unit's `[X-Fleet]` section asks of the machine that is to run it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::file::UnitFile;
use crate::glob;
use crate::name::UnitName;
use crate::option::UnitOption;
use crate::parse::ParseError;
use crate::quote::Quoted;

/// The section that the requirements stand in.
pub const SECTION: &str = "X-Fleet";

const MACHINE_ID: &[&str] = &["MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"];
const MACHINE_OF: &[&str] = &["X-ConditionMachineOf", "MachineOf"];
const METADATA: &[&str] = &["X-ConditionMachineMetadata", "MachineMetadata"];
const CONFLICTS: &[&str] = &["X-Conflicts", "Conflicts"];
const REPLACES: &[&str] = &["Replaces"];
const GLOBAL: &[&str] = &["Global"];

/// The most values that `MachineOf`, `Conflicts` or `Replaces` may have: each is compared with each.
pub const MAX_VALUES: usize = 1024;

/// A unit's requirements, specifiers replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Requirements {
    /// `MachineID`: the machine that it must run on, by its whole ID or the first eight characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// `MachineOf`: units that must be on the same machine, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machine_of: Vec<String>,
    /// `MachineMetadata`: for each key, the values of which the machine must have one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// `Conflicts`: patterns of units that must not be on the same machine; true in both directions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// `Replaces`: patterns of units that leave the machine when this one comes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// `Global`: on every machine that fits.
    #[serde(skip_serializing_if = "is_false")]
    pub global: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a unit's options are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The options do not make a unit file.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// A unit file of these options reads differently: one of them would be lost or another one appear.
    #[error(
        "option {} of section [{section}] cannot be written to a unit file as it is: its value must not end \
         in a backslash, a new line in it needs a backslash before it, and its name must be without \"=\"",
        Quoted(name)
    )]
    Unwritable {
        /// The section.
        section: String,
        /// The option's name.
        name: String,
    },
    /// It must be with a unit that it must not be with.
    #[error("unresolvable requirements: peer {} matches conflict {}", Quoted(peer), Quoted(pattern))]
    PeerConflicts {
        /// The unit of `MachineOf`.
        peer: String,
        /// The pattern of `Conflicts`.
        pattern: String,
    },
    /// It must be with a unit that it drives away.
    #[error("unresolvable requirements: peer {} matches replace {}", Quoted(peer), Quoted(pattern))]
    PeerReplaced {
        /// The unit of `MachineOf`.
        peer: String,
        /// The pattern of `Replaces`.
        pattern: String,
    },
    /// More than [`MAX_VALUES`].
    #[error("{0} has more than {MAX_VALUES} values")]
    TooMany(&'static str),
    /// Two requirements that make no sense together.
    #[error("{0} cannot be used with {1}")]
    Exclusive(&'static str, &'static str),
    /// A `MachineMetadata` of another form. (The original drops it, and with it the requirement.)
    #[error("invalid MachineMetadata {}: it must have the form key=value, with exactly one \"=\"", Quoted(.0))]
    Metadata(String),
    /// A pattern that can match nothing.
    #[error(
        "invalid pattern {} in {option}: each \"[\" needs its \"]\" with something between, and a \"\\\" \
         something after it",
        Quoted(pattern)
    )]
    Pattern {
        /// `Conflicts` or `Replaces`.
        option: &'static str,
        /// The pattern.
        pattern: String,
    },
}

impl Requirements {
    /// The requirements of a unit of this name, with `%n %N %p %i` replaced.
    ///
    /// In a template nothing is replaced: it never runs, and what its instances ask for is not known yet.
    ///
    /// # Errors
    /// A malformed `MachineMetadata`, or a malformed pattern.
    pub fn of(name: &UnitName, file: &UnitFile) -> Result<Requirements, OptionError> {
        if name.is_template() { read(file, str::to_owned) } else { read(file, |value| expand(value, name)) }
    }

    /// Whether a unit of these options is accepted. This is the check of the API, which does not know the
    /// unit's name: specifiers are taken as they stand.
    ///
    /// # Errors
    /// The first rule that is broken: the original's in its order, then what it lets pass in silence.
    pub fn validate(file: &UnitFile) -> Result<(), OptionError> {
        let written = UnitFile::parse(&file.to_string())?;
        let requirements = read_unchecked(file, str::to_owned);
        requirements.check_counts()?;
        requirements.check_peers()?;
        requirements.check_exclusive()?;
        check_written(file, &written)?;
        requirements.check_patterns()?;
        read_metadata(file, str::to_owned).map(drop)
    }

    /// The names in `[X-Fleet]` that mean nothing, each once, in the order of the file: misspelt, perhaps.
    #[must_use]
    pub fn unknown_keys(file: &UnitFile) -> Vec<String> {
        let known = [MACHINE_ID, MACHINE_OF, METADATA, CONFLICTS, REPLACES, GLOBAL].concat();
        let mut seen = BTreeSet::new();
        options_of(file)
            .map(|option| option.name.as_str())
            .filter(|name| !known.contains(name) && seen.insert(*name))
            .map(str::to_owned)
            .collect()
    }

    fn check_counts(&self) -> Result<(), OptionError> {
        let lists =
            [("MachineOf", &self.machine_of), ("Conflicts", &self.conflicts), ("Replaces", &self.replaces)];
        match lists.into_iter().find(|(_, values)| values.len() > MAX_VALUES) {
            Some((option, _)) => Err(OptionError::TooMany(option)),
            None => Ok(()),
        }
    }

    fn check_peers(&self) -> Result<(), OptionError> {
        for peer in &self.machine_of {
            let matches_peer = |pattern: &&String| glob::matches(pattern, peer);
            if let Some(pattern) = self.conflicts.iter().find(matches_peer) {
                return Err(OptionError::PeerConflicts { peer: peer.clone(), pattern: pattern.clone() });
            }
            if let Some(pattern) = self.replaces.iter().find(matches_peer) {
                return Err(OptionError::PeerReplaced { peer: peer.clone(), pattern: pattern.clone() });
            }
        }
        Ok(())
    }

    fn check_exclusive(&self) -> Result<(), OptionError> {
        let machine_id = ("MachineID", self.machine_id.is_some());
        let peers = ("Peers", !self.machine_of.is_empty());
        let conflicts = ("Conflicts", !self.conflicts.is_empty());
        let replaces = ("Replaces", !self.replaces.is_empty());
        let global = ("Global", self.global);
        let exclusive = [
            (machine_id, peers),
            (machine_id, conflicts),
            (machine_id, global),
            (machine_id, replaces),
            (global, peers),
            (global, replaces),
            (conflicts, replaces),
        ];
        match exclusive.into_iter().find(|((_, one), (_, other))| *one && *other) {
            Some(((one, _), (other, _))) => Err(OptionError::Exclusive(one, other)),
            None => Ok(()),
        }
    }

    fn check_patterns(&self) -> Result<(), OptionError> {
        for (option, patterns) in [("Conflicts", &self.conflicts), ("Replaces", &self.replaces)] {
            if let Some(pattern) = patterns.iter().find(|pattern| !glob::is_valid(pattern)) {
                return Err(OptionError::Pattern { option, pattern: pattern.clone() });
            }
        }
        Ok(())
    }
}

/// Whether a file that was written and read again is the one that it was.
fn check_written(file: &UnitFile, written: &UnitFile) -> Result<(), OptionError> {
    let (before, after) = (file.normal_order(), written.normal_order());
    let changed = before.iter().enumerate().find(|(index, option)| after.get(*index) != Some(option));
    let surplus = || after.get(before.len()).and(before.last()).map(|option| (before.len(), option));
    match changed.or_else(surplus) {
        Some((_, option)) => {
            Err(OptionError::Unwritable { section: option.section.clone(), name: option.name.clone() })
        }
        None => Ok(()),
    }
}

fn read(file: &UnitFile, expand: impl Fn(&str) -> String) -> Result<Requirements, OptionError> {
    let metadata = read_metadata(file, &expand)?;
    let requirements = Requirements { metadata, ..read_unchecked(file, expand) };
    requirements.check_patterns()?;
    Ok(requirements)
}

/// All but the metadata.
fn read_unchecked(file: &UnitFile, expand: impl Fn(&str) -> String) -> Requirements {
    let all = |names: &[&str]| -> Vec<String> {
        names.iter().flat_map(|name| values_of(file, name)).map(|value| expand(&value)).collect()
    };
    let conflicts = all(CONFLICTS);
    Requirements {
        machine_id: all(MACHINE_ID).into_iter().next(),
        machine_of: all(MACHINE_OF),
        metadata: BTreeMap::new(),
        conflicts: conflicts.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect(),
        replaces: all(REPLACES),
        global: all(GLOBAL).last().is_some_and(|value| is_truthy(value)),
    }
}

fn read_metadata(
    file: &UnitFile,
    expand: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, BTreeSet<String>>, OptionError> {
    let mut metadata: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pair in METADATA.iter().flat_map(|name| values_of(file, name)) {
        let expanded = expand(&pair);
        match expanded.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
                metadata.entry(key.to_owned()).or_default().insert(value.to_owned());
            }
            _ => return Err(OptionError::Metadata(pair)),
        }
    }
    Ok(metadata)
}

fn options_of(file: &UnitFile) -> impl Iterator<Item = &UnitOption> {
    file.options().iter().filter(|option| option.section == SECTION)
}

fn values_of(file: &UnitFile, name: &str) -> Vec<String> {
    options_of(file)
        .filter(|option| option.name == name)
        .flat_map(|option| split_quoted(&option.value))
        .collect()
}

/// Splits `"a=b" "c=d"`. Only a value that starts and ends with a quote is a list; in it every quote opens
/// or closes, escaped or not, and each blank outside of quotes ends an item.
fn split_quoted(value: &str) -> Vec<String> {
    if !(value.starts_with('"') && value.ends_with('"')) {
        return vec![value.to_owned()];
    }
    let mut items = Vec::new();
    let mut item = String::new();
    let mut within = false;
    for c in value.chars() {
        match c {
            '"' => within = !within,
            ' ' if !within => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    items
}

/// Replaces the specifiers one kind after the other, as the original does.
fn expand(value: &str, name: &UnitName) -> String {
    value
        .replace("%n", name.as_str())
        .replace("%N", name.stem())
        .replace("%p", name.prefix())
        .replace("%i", name.instance().unwrap_or_default())
}

fn is_truthy(value: &str) -> bool {
    ["true", "yes", "1", "on", "t"].contains(&value.to_lowercase().as_str())
}
