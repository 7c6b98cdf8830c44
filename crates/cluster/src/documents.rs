//! What is kept in the store.
//!
//! | collection | id | who writes it | lives on |
//! |---|---|---|---|
//! | `units` | unit name | API (body, desired state), leader (placement) | - |
//! | `machines` | machine id | the machine | its presence lease |
//! | `machine-metadata` | machine id | API | - |
//! | `assignments` | machine id, and parts below it | leader | - |
//! | `globals` | [`GLOBALS_ID`], and parts below it | leader | - |
//! | `states` | `<unit>/<machine id>` | the machine | its presence lease |
//! | `engine` | [`LEADER`] | the leader | its leadership lease |
//!
//! Fields that a reader does not know are ignored, so that two versions can share a store.

use std::collections::BTreeMap;

use fleet_store::{Collection, LeaseId, Revision};
use fleet_unit::{Requirements, UnitFile, UnitHash, UnitName, UnitOption};
use serde::{Deserialize, Serialize};

/// Units as people submitted them, and where the engine has placed them.
pub const UNITS: Collection = Collection { name: "units", indexed: &[] };
/// Machines that are there.
pub const MACHINES: Collection = Collection { name: "machines", indexed: &[] };
/// Metadata set at run time, laid over what the machine says of itself.
pub const MACHINE_METADATA: Collection = Collection { name: "machine-metadata", indexed: &[] };
/// What each machine runs: derived from the units by the leader.
pub const ASSIGNMENTS: Collection = Collection { name: "assignments", indexed: &[] };
/// The global units, in one document that every machine reads.
pub const GLOBALS: Collection = Collection { name: "globals", indexed: &[] };
/// What systemd says of each unit on each machine.
pub const STATES: Collection = Collection { name: "states", indexed: &["machine"] };
/// The engine's own documents.
pub const ENGINE: Collection = Collection { name: "engine", indexed: &[] };

/// Id of the document in [`ENGINE`] that names the leader.
pub const LEADER: &str = "leader";
/// Id of the one set in [`GLOBALS`].
pub const GLOBALS_ID: &str = "all";

/// A place as it is logged: the machine's id, or `-`.
pub(crate) struct Place<'a>(pub(crate) Option<&'a MachineId>);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.map_or("-", |machine| machine.0.as_str()))
    }
}

/// A machine's id: 32 lower-case hexadecimal digits, from `/etc/machine-id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(pub String);

impl MachineId {
    /// Whether `wanted`, from a unit's `MachineID`, names this machine: by its full id or its first eight digits.
    pub fn is_named_by(&self, wanted: &str) -> bool {
        self.0 == wanted || (wanted.len() == 8 && self.0.starts_with(wanted))
    }
}

impl std::fmt::Display for MachineId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a unit, or a machine with respect to a unit, is to do. Ordered: each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// Known to the cluster, on no machine.
    Inactive,
    /// On a machine, known to its systemd, not started.
    Loaded,
    /// Started.
    Launched,
}

impl TargetState {
    /// The state of this name, as the API spells it.
    pub fn parse(name: &str) -> Option<TargetState> {
        match name {
            "inactive" => Some(TargetState::Inactive),
            "loaded" => Some(TargetState::Loaded),
            "launched" => Some(TargetState::Launched),
            _ => None,
        }
    }

    /// The name that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Inactive => "inactive",
            TargetState::Loaded => "loaded",
            TargetState::Launched => "launched",
        }
    }
}

/// A unit: in [`UNITS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitDocument {
    /// The unit file.
    pub options: Vec<UnitOption>,
    /// What people want of it.
    pub desired_state: TargetState,
    /// Where the engine has placed it. Never set for a global unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineId>,
    /// The number of the last restart that was asked for: a machine that has carried out lower ones only
    /// restarts it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
}

impl UnitDocument {
    /// Asks for a restart. `revision` is that of the document as it was read.
    ///
    /// The numbers of a unit begin with a revision, so that they are higher than those of any unit of this
    /// name before: who did not notice that the unit was destroyed and made again does not take a new number
    /// for one that he has seen.
    pub fn ask_for_restart(&mut self, revision: Revision) {
        self.restarts = match self.restarts {
            0 => revision.0.max(1),
            last => last.saturating_add(1),
        };
    }

    /// The unit file.
    pub fn file(&self) -> UnitFile {
        UnitFile::from_options(self.options.clone())
    }
}

/// A machine: in [`MACHINES`], on the machine's presence lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineDocument {
    /// The address that others reach it at; may be empty.
    #[serde(default)]
    pub public_ip: String,
    /// Metadata from its configuration.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The version of its fleetd.
    pub version: String,
    /// Known only to this boot of this machine: tells a restarted fleetd from a second machine with the same id.
    pub token: String,
    /// The lease that the document lives on.
    pub lease: LeaseId,
    /// The presence lease's time to live, in milliseconds: how long others wait before they give it up.
    pub ttl_ms: u64,
    /// Whether it has been registered for that long without a break: then the store has not been away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// Metadata set at run time: in [`MACHINE_METADATA`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataDocument {
    /// Key to value; `None` hides what the machine says of itself.
    pub values: BTreeMap<String, Option<String>>,
}

impl MetadataDocument {
    /// A machine's metadata with this laid over it.
    pub fn apply(&self, metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut merged = metadata.clone();
        for (key, value) in &self.values {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged
    }
}

/// What a machine is to do with one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The unit file's hash. The file itself is in [`UNITS`].
    pub hash: UnitHash,
    /// [`TargetState::Loaded`] or [`TargetState::Launched`].
    pub target: TargetState,
    /// See [`UnitDocument::restarts`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// The unit's `Conflicts`: a global unit that they name stays away from the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// A set of units, with something about each. In the store it may be divided: see [`sets`](crate::sets).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSet<U> {
    /// The units.
    pub units: BTreeMap<UnitName, U>,
}

impl<U> Default for UnitSet<U> {
    fn default() -> UnitSet<U> {
        UnitSet { units: BTreeMap::new() }
    }
}

/// What one machine runs, the units that are placed on it: in [`ASSIGNMENTS`].
pub type AssignmentDocument = UnitSet<Assignment>;

/// A global unit, with what a machine must know to decide whether it runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalAssignment {
    /// What to do.
    pub assignment: Assignment,
    /// On which machines, and beside which units not.
    pub requirements: Requirements,
}

/// What every machine decides for itself, the global units that are to be loaded or launched: in [`GLOBALS`]
/// under [`GLOBALS_ID`].
pub type GlobalAssignmentDocument = UnitSet<GlobalAssignment>;

impl GlobalAssignmentDocument {
    /// The same, but for units that are `here` the machine's metadata does not matter.
    #[must_use]
    pub fn kept_where(&self, here: impl Fn(&UnitName) -> bool) -> GlobalAssignmentDocument {
        let mut kept = self.clone();
        for (_, global) in kept.units.iter_mut().filter(|(name, _)| here(name)) {
            global.requirements.metadata.clear();
        }
        kept
    }
}

/// What a machine says of one unit: in [`STATES`] under [`state_id`], on the machine's presence lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDocument {
    /// The machine.
    pub machine: MachineId,
    /// The hash of the unit file that is installed.
    pub hash: UnitHash,
    /// What the agent has done: loaded or launched.
    pub current: TargetState,
    /// systemd's `LoadState`.
    pub load: String,
    /// systemd's `ActiveState`.
    pub active: String,
    /// systemd's `SubState`.
    pub sub: String,
    /// The number of the last restart that has been carried out; compare [`UnitDocument::restarts`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// Why the last thing that the agent tried with this unit failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The id in [`STATES`] of `unit` on `machine`. Unit names hold no slash.
pub fn state_id(unit: &str, machine: &MachineId) -> String {
    format!("{unit}/{machine}")
}

/// The unit and the machine of an id in [`STATES`].
pub fn split_state_id(id: &str) -> Option<(&str, &str)> {
    id.split_once('/')
}

/// The leader: in [`ENGINE`] under [`LEADER`], on the leader's lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderDocument {
    /// The machine that leads.
    pub machine: MachineId,
    /// The version of its fleetd.
    pub version: String,
    /// The lease that the document lives on, and that the leader's writes are fenced with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
