//! What a machine should run, and the next step towards it. Pure.

use std::collections::BTreeMap;

use fleet_unit::{UnitHash, UnitName};

use crate::documents::{Assignment, AssignmentDocument, GlobalAssignmentDocument, TargetState};
use crate::engine::constraints::globals_here;

/// What the agent knows of a unit that is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actual {
    /// The hash of its file.
    pub hash: UnitHash,
    /// What the agent has done with it: loaded or launched.
    pub current: TargetState,
    /// How many restarts have been carried out; `None`: unknown, taken for all of them.
    pub restarts: Option<u64>,
}

/// The next thing to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Install its file.
    Load,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it.
    Restart,
    /// Note that a restart is not needed, since it is not started.
    SkipRestart,
    /// Stop it and take its file away.
    Unload,
}

/// Everything the machine should run: what is placed on it, and the global units that fit.
pub fn desired(
    metadata: &BTreeMap<String, String>,
    assignment: Option<&AssignmentDocument>,
    globals: Option<&GlobalAssignmentDocument>,
) -> BTreeMap<UnitName, Assignment> {
    let mut desired = assignment.map(|document| document.units.clone()).unwrap_or_default();
    let Some(globals) = globals else { return desired };
    let placed: Vec<_> = assignment
        .iter()
        .flat_map(|document| &document.units)
        .map(|(name, assignment)| (name, assignment.conflicts.as_slice()))
        .collect();
    let candidates = globals.units.iter().map(|(name, global)| (name, &global.requirements));
    for name in globals_here(metadata, &placed, candidates) {
        if let Some(global) = globals.units.get(name) {
            desired.insert(name.clone(), global.assignment.clone());
        }
    }
    desired
}

/// The next step for one unit; `None`: it is as it should be.
pub fn next_step(desired: Option<&Assignment>, actual: Option<&Actual>) -> Option<Step> {
    match (desired, actual) {
        (None, None) => None,
        (None, Some(_)) => Some(Step::Unload),
        (Some(_), None) => Some(Step::Load),
        (Some(desired), Some(actual)) if desired.hash != actual.hash => Some(Step::Unload),
        (Some(desired), Some(actual)) => match (desired.target, actual.current) {
            (TargetState::Launched, TargetState::Loaded) => Some(Step::Start),
            (TargetState::Loaded, TargetState::Launched) => Some(Step::Stop),
            (_, current) if actual.restarts.is_some_and(|done| done != desired.restarts) => {
                Some(if current == TargetState::Launched { Step::Restart } else { Step::SkipRestart })
            }
            _ => None,
        },
    }
}
