//! How the agent is: its components and units, and what of that is worst.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fleet::{ComponentReport, UnitReport, UpgradeDetails};
use crate::policy::{Plan, Redactor};
use crate::workload::{Rejected, State, States, UnitState};

/// The longest message that is told.
const LONGEST_MESSAGE: usize = 2048;

/// How the agent is, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's id; empty: it is not enrolled.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How it is as a whole.
    pub state: State,
    /// Why.
    pub message: String,
    /// How the connection to its fleet is.
    pub fleet_state: State,
    /// Why.
    pub fleet_message: String,
    /// The policy that runs; empty: none.
    pub policy_id: String,
    /// Its revision.
    pub policy_revision: Option<i64>,
    /// Its parts.
    pub components: Vec<ComponentReport>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where an upgrade stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_details: Option<UpgradeDetails>,
}

/// The components of a plan: inputs of one kind that go to one output.
#[must_use]
pub fn components(
    plan: &Plan,
    states: &States,
    rejected: &Rejected,
    redactor: &Redactor,
) -> Vec<ComponentReport> {
    let mut parts: BTreeMap<(String, String), Vec<UnitReport>> = BTreeMap::new();
    let mut add = |kind: &str, output: &str, id: &str, state: &UnitState| {
        let units = parts.entry((kind.to_owned(), output.to_owned())).or_default();
        units.push(unit(format!("{kind}-{output}-{id}"), "input", state, redactor));
    };
    let unknown = UnitState::new(State::Starting, "waiting for the first report");
    for input in &plan.inputs {
        let state = rejected.get(&input.id).or_else(|| states.inputs.get(&input.id)).unwrap_or(&unknown);
        add(&input.kind, &input.output, &input.id, state);
    }
    let mut outputs: BTreeMap<&str, UnitState> = BTreeMap::new();
    for broken in &plan.broken {
        let state = UnitState::new(State::Failed, &broken.reason);
        // An output is a unit of each component that uses it.
        if broken.reason.starts_with("outputs.") {
            outputs.insert(&broken.output, state);
        } else {
            let kind = if broken.kind.is_empty() { "unknown" } else { &broken.kind };
            add(kind, &broken.output, &broken.id, &state);
        }
    }
    for (name, state) in &states.outputs {
        outputs.entry(name).or_insert_with(|| state.clone());
    }
    for name in outputs.keys() {
        if !parts.keys().any(|(_, output)| output == name) && outputs[name].state == State::Failed {
            parts.insert(("output".to_owned(), (*name).to_owned()), Vec::new());
        }
    }
    parts
        .into_iter()
        .map(|((kind, output), mut units)| {
            let id = format!("{kind}-{output}");
            let own = states.process_outputs.get(&(kind.clone(), output.clone()));
            if let Some(state) = own.or_else(|| outputs.get(output.as_str())) {
                units.push(unit(id.clone(), "output", state, redactor));
            }
            component(id, kind, units)
        })
        .collect()
}

fn unit(id: String, kind: &str, state: &UnitState, redactor: &Redactor) -> UnitReport {
    UnitReport {
        id,
        kind: kind.to_owned(),
        status: state.state.name().to_owned(),
        message: shorten(&redactor.text(&state.message)),
        payload: state.payload.as_ref().map(|payload| redactor.any(payload)),
    }
}

/// A component is as bad as the worst of its units.
fn component(id: String, kind: String, units: Vec<UnitReport>) -> ComponentReport {
    let is = |state: State| units.iter().filter(|unit| unit.status == state.name()).count();
    let count = units.len();
    let (state, message) = if is(State::Failed) > 0 {
        (State::Failed, format!("{} of {count} units failed", is(State::Failed)))
    } else if is(State::Degraded) > 0 {
        (State::Degraded, format!("{} of {count} units degraded", is(State::Degraded)))
    } else if is(State::Starting) > 0 {
        (State::Starting, format!("{} of {count} units starting", is(State::Starting)))
    } else if is(State::Configuring) > 0 {
        (State::Configuring, format!("{} of {count} units configuring", is(State::Configuring)))
    } else {
        (State::Healthy, "healthy".to_owned())
    };
    ComponentReport { id, kind, status: state.name().to_owned(), message, units }
}

/// How the agent is as a whole: what is wrong with the agent itself goes before its components.
#[must_use]
pub fn overall(components: &[ComponentReport], trouble: Option<&(State, String)>) -> (State, String) {
    if let Some((State::Failed, message)) = trouble {
        return (State::Failed, shorten(message));
    }
    let bad = |state: State| -> Vec<&str> {
        let bad = components.iter().filter(|component| component.status == state.name());
        bad.map(|component| component.id.as_str()).collect()
    };
    let failed = bad(State::Failed);
    if !failed.is_empty() {
        return (
            State::Failed,
            shorten(&format!("1 or more components/units in a failed state: {}", failed.join(", "))),
        );
    }
    if let Some((state, message)) = trouble {
        return (*state, shorten(message));
    }
    let degraded = bad(State::Degraded);
    if !degraded.is_empty() {
        let message = format!("1 or more components/units in a degraded state: {}", degraded.join(", "));
        return (State::Degraded, shorten(&message));
    }
    (State::Healthy, "Running".to_owned())
}

/// How a state is written in a check-in.
#[must_use]
pub fn wire_status(state: State) -> &'static str {
    match state {
        State::Healthy | State::Configuring | State::Stopping | State::Stopped => "online",
        State::Failed => "error",
        State::Starting => "starting",
        State::Degraded => "DEGRADED",
    }
}

/// Messages may be of any length where they come from.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The payload of a unit, from how its streams are.
#[must_use]
pub fn streams_payload(streams: impl Iterator<Item = (String, State, String)>) -> Option<Value> {
    let streams: serde_json::Map<String, Value> = streams
        .map(|(id, state, error)| (id, serde_json::json!({"status": state.name(), "error": error})))
        .collect();
    (!streams.is_empty()).then(|| serde_json::json!({"streams": streams}))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::{Facts, plan};

    #[test]
    fn what_is_broken_shows_with_its_reason() {
        let policy = json!({"id": "p", "revision": 1, "outputs": {"default": {"type": "file"}, "o2": {}}, "inputs": [
            {"id": "a", "type": "filestream"}, {"id": "b", "type": "filestream"}, {"id": "c", "type": "nope"},
            {"id": "d", "type": "filestream", "condition": "("},
        ]});
        let plan = plan(policy.as_object().unwrap(), &Facts::default()).unwrap();
        let mut states = States::default();
        states.inputs.insert("a".to_owned(), UnitState::new(State::Healthy, "ok"));
        states.inputs.insert("b".to_owned(), UnitState::new(State::Degraded, "slow"));
        states.outputs.insert("default".to_owned(), UnitState::new(State::Healthy, "ok"));
        let rejected = Rejected::from([("c".to_owned(), UnitState::new(State::Failed, "not supported"))]);
        let components = components(&plan, &states, &rejected, &Redactor::default());
        let shown: Vec<(&str, &str, usize)> =
            components.iter().map(|one| (one.id.as_str(), one.status.as_str(), one.units.len())).collect();
        assert_eq!(
            shown,
            [("filestream-default", "FAILED", 4), ("nope-default", "FAILED", 2), ("output-o2", "FAILED", 1)]
        );
        states.process_outputs.insert(
            ("filestream".to_owned(), "default".to_owned()),
            UnitState::new(State::Failed, "its own way there is cut"),
        );
        let apart = super::components(&plan, &states, &rejected, &Redactor::default());
        let outputs: Vec<&str> = apart
            .iter()
            .filter_map(|one| one.units.iter().find(|unit| unit.kind == "output"))
            .map(|unit| unit.message.as_str())
            .collect();
        assert_eq!(outputs[..2], ["its own way there is cut", "ok"]);
        let (state, message) = overall(&components, None);
        assert_eq!(state, State::Failed);
        assert!(message.contains("nope-default"), "{message}");
        assert_eq!(overall(&[], None).0, State::Healthy);
    }
}
