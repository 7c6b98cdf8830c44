//! Reading what `fleetctl list-*` prints.

use std::collections::BTreeMap;

use crate::error::HarnessError;

/// A row of `list-units --full --no-legend --fields unit,active,machine`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitState {
    /// The unit's name.
    pub unit: String,
    /// What systemd says of it: `active`, `inactive`, `failed` and so on.
    pub active: String,
    /// The id of the machine; empty when none is known.
    pub machine: String,
}

/// The rows of a listing with these three fields; other rows (a unit without a machine) are left out.
pub(crate) fn unit_states(text: &str) -> Vec<UnitState> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (unit, active, machine) = (words.next()?, words.next()?, words.next()?);
            let machine = machine.split('/').next().unwrap_or_default();
            Some(UnitState { unit: unit.to_owned(), active: active.to_owned(), machine: machine.to_owned() })
        })
        .collect()
}

/// Unit by unit the id of the machine that runs it.
pub type Placement = BTreeMap<String, String>;

/// Unit by unit the one machine that runs it.
///
/// # Errors
/// When a unit has more than one row: it runs twice.
pub fn single(states: &[UnitState]) -> Result<Placement, HarnessError> {
    let mut machines = Placement::new();
    for state in states {
        if let Some(other) = machines.insert(state.unit.clone(), state.machine.clone()) {
            let (unit, machine) = (&state.unit, &state.machine);
            return Err(HarnessError::Unexpected(format!("{unit} runs on {other} and on {machine}")));
        }
    }
    Ok(machines)
}
