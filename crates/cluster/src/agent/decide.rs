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
    /// What the agent has done with it: loaded or launched. [`TargetState::Inactive`]: a step was begun and
    /// not finished, so nothing can be said.
    pub current: TargetState,
    /// The number of the last restart that has been carried out; `None`: unknown, taken for the last of all.
    pub restarts: Option<u64>,
    /// Whether the unit's record says the same.
    pub noted: bool,
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
    /// Only write its record: it is as it should be, or a restart is not needed since it is not started.
    Note,
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
    let (desired, actual) = match (desired, actual) {
        (None, None) => return None,
        (None, Some(_)) => return Some(Step::Unload),
        (Some(_), None) => return Some(Step::Load),
        (Some(desired), Some(actual)) => (desired, actual),
    };
    if desired.hash != actual.hash {
        return Some(Step::Unload);
    }
    match (desired.target, actual.current) {
        // What was interrupted is taken away and done anew: it may be half stopped, or half installed.
        (_, TargetState::Inactive) => Some(Step::Unload),
        (TargetState::Launched, TargetState::Loaded) => Some(Step::Start),
        (TargetState::Loaded, TargetState::Launched) => Some(Step::Stop),
        (_, current) => match actual.restarts {
            // A lower one is asked for after a unit was destroyed and made again: nobody has asked it of this one.
            Some(done) if done < desired.restarts && current == TargetState::Launched => Some(Step::Restart),
            Some(done) if done == desired.restarts && actual.noted => None,
            _ => Some(Step::Note),
        },
    }
}
