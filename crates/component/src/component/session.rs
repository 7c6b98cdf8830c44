//! What the component should have and what it says: decisions alone, without a clock or a connection.
//!
//! A component speaks when it has something to say, and never only because it was spoken to: an agent answers whatever
//! it hears of a unit that is not healthy, and two who always answer each other never stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::handler::{About, Change, News, Unit};
use super::{Agent, StartUp};
use crate::unit::{LogLevel, State, UnitKey, UnitKind, state_from_wire, state_to_wire};
use crate::value::{from_struct, to_struct};
use crate::wire;

/// What is known on this side.
#[derive(Debug)]
pub struct Session {
    token: String,
    about: About,
    units: BTreeMap<UnitKey, Held>,
    agent: Agent,
    features: Map<String, Value>,
    limits: Map<String, Value>,
    features_idx: u64,
    component_idx: u64,
}

#[derive(Debug)]
struct Held {
    unit: Unit,
    config_idx: u64,
    is_stopping: bool,
    state: State,
    message: String,
    payload: Option<prost_types::Struct>,
}

impl Session {
    /// Of a process that has nothing yet.
    #[must_use]
    pub fn new(start_up: &StartUp, about: About) -> Session {
        let mut session = Session::unmet(about);
        session.meet(start_up);
        session
    }

    /// Of one that has not heard of an agent yet.
    pub(super) fn unmet(about: About) -> Session {
        Session {
            token: String::new(),
            about,
            units: BTreeMap::new(),
            agent: Agent::default(),
            features: Map::new(),
            limits: Map::new(),
            features_idx: 0,
            component_idx: 0,
        }
    }

    /// There is an agent, perhaps another one than before: what it has is not known by the indices of that.
    pub(super) fn meet(&mut self, start_up: &StartUp) {
        self.token.clone_from(&start_up.token);
        self.agent = start_up.agent.clone();
        (self.features_idx, self.component_idx) = (0, 0);
        self.units.values_mut().for_each(|held| held.config_idx = 0);
    }

    /// A stream of check-ins is opened. Returns its first message.
    ///
    /// It claims to have none of the agent's switches, whatever is true: an agent has nothing to say to a component
    /// that has everything, and one that has said nothing on a stream never says anything on it.
    pub fn open(&mut self) -> wire::Observed {
        self.features_idx = 0;
        let mut observed = self.observed();
        observed.version = Some(wire::VersionInfo {
            name: self.about.name.clone(),
            meta: self.about.meta.clone().into_iter().collect(),
            build_hash: self.about.build_hash.clone(),
        });
        observed.supports = vec![wire::Feature::Chunks.into()];
        observed
    }

    /// What the component says of itself.
    #[must_use]
    pub fn observed(&self) -> wire::Observed {
        let units = self.units.iter().map(|(key, held)| wire::UnitObserved {
            id: key.id.clone(),
            r#type: key.kind.to_wire(),
            config_idx: held.config_idx,
            state: state_to_wire(held.state),
            message: held.message.clone(),
            payload: held.payload.clone(),
        });
        wire::Observed {
            token: self.token.clone(),
            units: units.collect(),
            features_idx: self.features_idx,
            component_idx: self.component_idx,
            ..wire::Observed::default()
        }
    }

    /// Takes what the component should have. Returns what is new about that.
    pub fn expected(&mut self, expected: wire::Expected) -> News {
        let mut news = News::default();
        if let Some(agent) =
            expected.agent.as_ref().map(Agent::from_wire).filter(|agent| *agent != self.agent)
        {
            self.agent = agent.clone();
            news.agent = Some(agent);
        }
        self.features_idx = expected.features_idx;
        self.component_idx = expected.component_idx;
        if let Some(source) = expected.features.and_then(|features| features.source) {
            news.features = replace(&mut self.features, &source);
        }
        if let Some(source) = expected.component.and_then(|it| it.limits).and_then(|limits| limits.source) {
            news.limits = replace(&mut self.limits, &source);
        }
        let mut listed = BTreeSet::new();
        for unit in expected.units {
            let Some(kind) = UnitKind::from_wire(unit.r#type) else { continue };
            let key = UnitKey { kind, id: unit.id.clone() };
            listed.insert(key.clone());
            news.changes.extend(self.take(key, unit));
        }
        let gone: Vec<UnitKey> = self.units.keys().filter(|key| !listed.contains(key)).cloned().collect();
        for key in gone {
            self.units.remove(&key);
            news.changes.push(Change::Removed(key));
        }
        news
    }

    fn take(&mut self, key: UnitKey, expected: wire::UnitExpected) -> Option<Change> {
        let is_wanted = state_from_wire(expected.state) != State::Stopped;
        let level = LogLevel::from_wire(expected.log_level);
        match self.units.get_mut(&key) {
            Some(held) if is_wanted => held.change(level, expected.config_idx, expected.config),
            Some(held) if held.is_stopping => None,
            Some(held) => {
                held.is_stopping = true;
                held.config_idx = expected.config_idx;
                (held.state, held.message) = (State::Stopping, "Stopping".to_owned());
                Some(Change::Stop(key))
            }
            None => self.add(key, is_wanted, level, expected),
        }
    }

    fn add(
        &mut self,
        key: UnitKey,
        is_wanted: bool,
        level: LogLevel,
        expected: wire::UnitExpected,
    ) -> Option<Change> {
        // One that should stop and never was has stopped.
        let (state, message) =
            if is_wanted { (State::Starting, "Starting") } else { (State::Stopped, "Stopped") };
        let config = match expected.config {
            Some(config) => config,
            None if is_wanted => return None,
            None => wire::UnitConfig::default(),
        };
        let unit = to_unit(key.clone(), level, &config);
        let held = Held {
            unit: unit.clone(),
            config_idx: expected.config_idx,
            is_stopping: !is_wanted,
            state,
            message: message.to_owned(),
            payload: None,
        };
        self.units.insert(key, held);
        is_wanted.then_some(Change::Added(unit))
    }

    /// How a unit is from now on.
    pub fn report(
        &mut self,
        unit: &UnitKey,
        state: State,
        message: String,
        payload: Option<&Map<String, Value>>,
    ) {
        let Some(held) = self.units.get_mut(unit) else { return };
        // What was on its way when it was told to stop is overtaken.
        if held.is_stopping && !matches!(state, State::Stopping | State::Stopped | State::Failed) {
            return;
        }
        (held.state, held.message, held.payload) = (state, message, payload.map(to_struct));
    }

    /// The units that there are, without those that stop.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        self.units.values().filter(|held| !held.is_stopping).map(|held| held.unit.clone()).collect()
    }

    /// What is known of the agent.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Whether there is such a unit.
    #[must_use]
    pub fn has(&self, unit: &UnitKey) -> bool {
        self.units.contains_key(unit)
    }
}

impl Held {
    fn change(&mut self, level: LogLevel, idx: u64, config: Option<wire::UnitConfig>) -> Option<Change> {
        let was = self.unit.clone();
        self.unit.level = level;
        let was_stopping = std::mem::take(&mut self.is_stopping);
        // Without one, what this side has is meant; another index would say that it has something else.
        let config = config.filter(|_| idx != self.config_idx || was_stopping);
        let is_configured = config.is_some();
        if let Some(config) = config {
            self.config_idx = idx;
            self.unit = to_unit(self.unit.key.clone(), level, &config);
        }
        if is_configured || was_stopping {
            let (state, message) = if was_stopping {
                (State::Starting, "Starting")
            } else {
                (State::Configuring, "Configuring")
            };
            (self.state, self.message, self.payload) = (state, message.to_owned(), None);
        }
        if was_stopping {
            return Some(Change::Added(self.unit.clone()));
        }
        (is_configured || was != self.unit).then(|| Change::Changed(self.unit.clone()))
    }
}

fn to_unit(key: UnitKey, level: LogLevel, config: &wire::UnitConfig) -> Unit {
    let source = config.source.as_ref().map(from_struct).unwrap_or_default();
    Unit { key, kind: config.r#type.clone(), level, config: Arc::new(source) }
}

fn replace(known: &mut Map<String, Value>, source: &prost_types::Struct) -> Option<Map<String, Value>> {
    let new = from_struct(source);
    if *known == new {
        return None;
    }
    known.clone_from(&new);
    Some(new)
}

#[cfg(test)]
pub(crate) mod tests;
