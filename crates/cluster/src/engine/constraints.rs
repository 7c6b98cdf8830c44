//! Whether a machine may run a unit, and if not, why not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fleet_unit::{Requirements, UnitName, glob};

use crate::documents::MachineId;

/// Why a machine may not run a unit. The order is the order in which they are checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// The unit's `MachineID` names another machine.
    OtherMachine {
        /// The machine that it names.
        wanted: String,
    },
    /// The machine's metadata lacks what `MachineMetadata` asks for.
    Metadata {
        /// The key.
        key: String,
        /// The values, one of which would do.
        wanted: BTreeSet<String>,
    },
    /// A unit named by `MachineOf` is not on the machine.
    PeerElsewhere {
        /// That unit.
        peer: String,
    },
    /// A unit on the machine conflicts with this one, whichever of the two says so.
    Conflict {
        /// That unit.
        with: UnitName,
    },
    /// A unit on the machine replaces this one.
    Replaced {
        /// That unit.
        by: UnitName,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::OtherMachine { wanted } => write!(formatter, "MachineID={wanted} names another machine"),
            Unfit::Metadata { key, wanted } => {
                let values: Vec<&str> = wanted.iter().map(String::as_str).collect();
                write!(formatter, "machine metadata lacks {key}={}", values.join("|"))
            }
            Unfit::PeerElsewhere { peer } => {
                write!(formatter, "MachineOf={peer}: that unit is not scheduled here")
            }
            Unfit::Conflict { with } => write!(formatter, "conflict with {with}, which is scheduled here"),
            Unfit::Replaced { by } => write!(formatter, "replaced by {by}, which is scheduled here"),
        }
    }
}

/// A machine's metadata against `MachineMetadata`: every key must have one of its values.
pub(crate) fn metadata_fits(
    requirements: &Requirements,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Unfit> {
    for (key, wanted) in &requirements.metadata {
        if !metadata.get(key).is_some_and(|value| wanted.contains(value)) {
            return Err(Unfit::Metadata { key: key.clone(), wanted: wanted.clone() });
        }
    }
    Ok(())
}

/// A machine against `MachineID`.
pub(crate) fn machine_id_fits(requirements: &Requirements, machine: &MachineId) -> Result<(), Unfit> {
    match &requirements.machine_id {
        Some(wanted) if !machine.is_named_by(wanted) => Err(Unfit::OtherMachine { wanted: wanted.clone() }),
        _ => Ok(()),
    }
}

/// Whether one of the patterns names the unit.
pub(crate) fn any_matches(patterns: &[String], unit: &UnitName) -> bool {
    patterns.iter().any(|pattern| glob::matches(pattern, unit.as_str()))
}

/// Whether two units may not share a machine: either of them says so.
pub(crate) fn conflict(
    one: &UnitName,
    one_conflicts: &[String],
    other: &UnitName,
    other_conflicts: &[String],
) -> bool {
    one != other && (any_matches(one_conflicts, other) || any_matches(other_conflicts, one))
}

/// The global units that a machine runs: its metadata fits, and nothing that is placed on the machine, nor a
/// global unit with a smaller name, conflicts with them. The engine and the machine's own agent both use
/// this, so they agree.
pub fn globals_here<'a>(
    metadata: &BTreeMap<String, String>,
    placed: &[(&'a UnitName, &'a [String])],
    globals: impl Iterator<Item = (&'a UnitName, &'a Requirements)>,
) -> Vec<&'a UnitName> {
    let mut taken: Vec<(&UnitName, &[String])> = placed.to_vec();
    let mut here = Vec::new();
    for (name, requirements) in globals {
        let free = !taken
            .iter()
            .any(|(other, other_conflicts)| conflict(name, &requirements.conflicts, other, other_conflicts));
        if free && metadata_fits(requirements, metadata).is_ok() {
            taken.push((name, &requirements.conflicts));
            here.push(name);
        }
    }
    here
}
