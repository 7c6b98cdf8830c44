//! How components and their units are, for whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::plan::Component;
use crate::unit::{State, UnitKey};

/// How all components are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// By id.
    pub components: BTreeMap<String, Arc<ComponentState>>,
}

/// How a component is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComponentState {
    /// Its id.
    pub id: String,
    /// The type of its inputs.
    pub kind: String,
    /// The name of its output.
    pub output: String,
    /// How its process is.
    pub state: State,
    /// In words.
    pub message: String,
    /// Its process, if there is one that is known.
    pub pid: Option<u32>,
    /// Whether it is connected: it can be asked.
    pub is_connected: bool,
    /// How often a process of it has ended without being told to.
    pub restarts: u64,
    /// What it says it is.
    pub version: Option<ComponentVersion>,
    /// How its units are.
    pub units: BTreeMap<UnitKey, UnitStatus>,
}

impl ComponentState {
    /// One that nothing is run for: to be called with the reason.
    pub(super) fn failed(component: &Component) -> impl FnOnce(&str) -> ComponentState + use<> {
        let (id, kind, output) = (component.id.clone(), component.kind.clone(), component.output.clone());
        let keys: Vec<UnitKey> = component.units.iter().map(|unit| unit.key.clone()).collect();
        move |reason| {
            let message = format!("Failed: {reason}");
            let units =
                keys.into_iter().map(|key| (key, UnitStatus::new(State::Failed, message.clone()))).collect();
            let state = State::Failed;
            ComponentState { id, kind, output, state, message, units, ..ComponentState::default() }
        }
    }

    /// Whether the process and each unit is healthy; degraded is not.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state == State::Healthy && self.units.values().all(|unit| unit.state == State::Healthy)
    }
}

/// What a component says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentVersion {
    /// Its name.
    pub name: String,
    /// The commit it was built from.
    pub build_hash: String,
    /// What else it says.
    pub meta: BTreeMap<String, String>,
}

/// How a unit is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitStatus {
    /// In a word.
    pub state: State,
    /// In words.
    pub message: String,
    /// What else the component says of it.
    pub payload: Option<Map<String, Value>>,
}

impl UnitStatus {
    pub(super) fn new(state: State, message: impl Into<String>) -> UnitStatus {
        UnitStatus { state, message: message.into(), payload: None }
    }
}
