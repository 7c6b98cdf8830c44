//! What a component should have, against what it says it has: decisions alone, without a clock or a connection.
//!
//! A component is told what it should have when that changes, at the first message of each of its streams, and when what
//! it lacks has become another. It is *not* told again only because it is not well, or because it still lacks what it
//! was told of: a component that answered each such message would be asked and answered without end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use ring::digest::{Context, Digest, SHA256};
use serde_json::{Map, Value, json};

use super::plan::{Component, Unit};
use super::states::{ComponentVersion, UnitStatus};
use crate::unit::{LogLevel, State, UnitKey, UnitKind, state_from_wire, state_to_wire};
use crate::value::{from_struct, to_struct};
use crate::wire;

/// The longest message of a unit that is kept, in bytes.
const LONGEST_MESSAGE: usize = 4096;
/// The largest payload of a unit that is kept, in bytes.
const LARGEST_PAYLOAD: usize = 256 * 1024;
/// More units that it should not have are not told of.
const MOST_UNKNOWN: usize = 16;
/// The most that is kept of what a component says it is.
const MOST_META: usize = 32;
/// Indices of switches and limits begin here: a component that knows none says 0.
const FIRST_INDEX: u64 = 2;
/// An agent that changes its policy each millisecond has not come to this in eight thousand years.
const LARGEST_INDEX: u64 = 1 << 48;

/// One component.
#[derive(Debug)]
pub(super) struct Tracker {
    units: BTreeMap<UnitKey, Tracked>,
    /// What it has and should not.
    unknown: BTreeMap<UnitKey, UnitStatus>,
    agent: wire::AgentInfo,
    features: wire::Features,
    features_idx: u64,
    component: wire::ComponentConfig,
    component_idx: u64,
    version: Option<ComponentVersion>,
    /// What it lacked by its last message on this stream: a hash, as it may be much.
    lack: Option<Digest>,
    /// Whether the next message is the first of its stream.
    is_first: bool,
    /// Whether it is known what the component began with: it may have what an agent before this one has told it.
    is_known: bool,
    /// The largest configuration of a unit, in bytes.
    max_config: usize,
    /// The highest index of a unit that is gone. One that comes again begins above it: the component may have the old
    /// one still, and would take its new configuration for that.
    used_idx: u64,
}

#[derive(Debug)]
struct Tracked {
    /// Healthy, or stopped: then it is on its way out.
    is_wanted: bool,
    level: LogLevel,
    config: Arc<wire::UnitConfig>,
    config_idx: u64,
    /// The index that the component has said it has; 0: none.
    observed_idx: u64,
    status: UnitStatus,
    /// Why it has no configuration: then the component is not told of it.
    problem: Option<String>,
}

impl Tracker {
    /// `max_message_size`: of the messages that the component is sent.
    pub(super) fn new(agent: wire::AgentInfo, max_message_size: usize) -> Tracker {
        Tracker {
            units: BTreeMap::new(),
            unknown: BTreeMap::new(),
            agent,
            features: features(&Map::new()),
            features_idx: FIRST_INDEX,
            component: component_config(&Map::new()),
            component_idx: FIRST_INDEX,
            version: None,
            lack: None,
            is_first: false,
            is_known: false,
            // The rest is for what else a message has.
            max_config: max_message_size - max_message_size / 8,
            used_idx: 0,
        }
    }

    /// Takes what the component should have from now on. Returns whether it must be told.
    pub(super) fn want(&mut self, component: &Component) -> bool {
        let mut changed = self.want_settings(component);
        let keys: BTreeSet<&UnitKey> = component.units.iter().map(|unit| &unit.key).collect();
        let gone: Vec<UnitKey> = self.units.keys().filter(|key| !keys.contains(key)).cloned().collect();
        for key in gone {
            changed |= self.unwant(&key);
        }
        for unit in &component.units {
            changed |= self.want_unit(unit);
        }
        changed
    }

    fn want_settings(&mut self, component: &Component) -> bool {
        let features = features(&component.features);
        let config = component_config(&component.limits);
        let is_new = (features != self.features, config != self.component);
        if is_new.0 {
            self.features = features;
            self.features_idx += 1;
        }
        if is_new.1 {
            self.component = config;
            self.component_idx += 1;
        }
        is_new.0 || is_new.1
    }

    fn unwant(&mut self, key: &UnitKey) -> bool {
        let Some(unit) = self.units.get_mut(key) else { return false };
        let is_known_there = unit.problem.is_none();
        // Nobody has it: there is nothing to stop.
        if !is_known_there {
            self.units.remove(key);
            return false;
        }
        let changed = unit.is_wanted;
        unit.is_wanted = false;
        changed
    }

    fn want_unit(&mut self, wanted: &Unit) -> bool {
        let config = match wanted.config.clone().and_then(|config| self.sendable(config)) {
            Ok(config) => config,
            Err(problem) => {
                let before = self.units.insert(wanted.key.clone(), Tracked::broken(wanted, &problem));
                let before = before.filter(|unit| unit.problem.is_none());
                self.used_idx = before.as_ref().map_or(0, |unit| unit.config_idx).max(self.used_idx);
                return before.is_some();
            }
        };
        match self.units.get_mut(&wanted.key) {
            Some(unit) if unit.problem.is_none() => {
                let is_same = unit.is_wanted && unit.config == config;
                if !is_same {
                    unit.config = config;
                    unit.config_idx += 1;
                    unit.is_wanted = true;
                }
                let is_level_new = unit.level != wanted.level;
                unit.level = wanted.level;
                !is_same || is_level_new
            }
            _ => {
                let unit = Tracked { config_idx: self.used_idx + 1, ..Tracked::new(wanted, config) };
                self.units.insert(wanted.key.clone(), unit);
                true
            }
        }
    }

    /// One that fits no message would keep the component from hearing of all the others.
    fn sendable(&self, config: Arc<wire::UnitConfig>) -> Result<Arc<wire::UnitConfig>, String> {
        let size = config.encoded_len();
        if size <= self.max_config {
            return Ok(config);
        }
        Err(format!("its configuration takes {size} bytes, of which there may be {}", self.max_config))
    }

    /// Takes what the agent is now. Returns whether the component must be told.
    pub(super) fn set_agent(&mut self, agent: wire::AgentInfo) -> bool {
        let changed = self.agent != agent;
        self.agent = agent;
        changed
    }

    /// A process starts: it has nothing yet.
    pub(super) fn process_started(&mut self, message: &str) {
        self.is_known = true;
        self.lack = None;
        self.unknown.clear();
        self.version = None;
        self.units.retain(|_, unit| unit.is_wanted);
        for unit in self.units.values_mut().filter(|unit| unit.problem.is_none()) {
            unit.observed_idx = 0;
            unit.status = UnitStatus::new(State::Starting, message);
        }
    }

    /// All units are in this state, whatever the component said of them.
    pub(super) fn force(&mut self, state: State, message: &str) {
        self.unknown.clear();
        for unit in self.units.values_mut().filter(|unit| unit.problem.is_none()) {
            unit.status = UnitStatus::new(state, message);
        }
    }

    /// A stream of check-ins was opened: its first message is always answered. A component that opens one while it
    /// has all it should have would hear of no change otherwise.
    pub(super) fn stream_opened(&mut self) {
        self.is_first = true;
        self.lack = None;
    }

    /// Takes what the component says. Returns whether it must be told what it should have.
    pub(super) fn observed(&mut self, mut observed: wire::Observed) -> bool {
        let is_first = std::mem::take(&mut self.is_first);
        if is_first && observed.units.is_empty() {
            self.process_started("Starting");
        }
        if !std::mem::replace(&mut self.is_known, true) {
            self.overtake(&observed);
        }
        if let Some(version) = &observed.version {
            self.version = Some(to_version(version));
        }
        // Some list their units in another order each time.
        observed.units.sort_by(|one, other| (one.r#type, &one.id).cmp(&(other.r#type, &other.id)));
        let mut lack = self.take_units(&observed);
        if (observed.features_idx, observed.component_idx) != (self.features_idx, self.component_idx) {
            lack.add("", &[observed.features_idx, observed.component_idx]);
        }
        let lack = lack.end();
        let is_new = lack
            .as_ref()
            .is_some_and(|lack| self.lack.as_ref().is_none_or(|before| before.as_ref() != lack.as_ref()));
        self.lack = lack;
        is_first || is_new
    }

    /// Counts on from what the component has of an agent before this one: its indices would be taken for this one's.
    fn overtake(&mut self, observed: &wire::Observed) {
        // One that no agent has come to is no index: nobody could count on from it.
        let plausible = |idx: u64| if idx > LARGEST_INDEX { 0 } else { idx };
        let highest = observed.units.iter().map(|unit| plausible(unit.config_idx)).max().unwrap_or_default();
        self.used_idx = self.used_idx.max(highest);
        for unit in self.units.values_mut().filter(|unit| unit.config_idx <= highest) {
            unit.config_idx = highest + 1;
        }
        self.features_idx = self.features_idx.max(plausible(observed.features_idx) + 1);
        self.component_idx = self.component_idx.max(plausible(observed.component_idx) + 1);
    }

    /// Returns what the component has not as it should.
    fn take_units(&mut self, observed: &wire::Observed) -> Lack {
        let mut lack = Lack::default();
        let mut listed = BTreeSet::new();
        self.unknown.clear();
        for unit in &observed.units {
            let Some(kind) = UnitKind::from_wire(unit.r#type) else { continue };
            let key = UnitKey { kind, id: unit.id.clone() };
            match self.units.get_mut(&key).filter(|unit| unit.problem.is_none()) {
                Some(tracked) => {
                    if !tracked.take(unit) {
                        lack.add_unit(&key, Some(unit));
                    }
                    listed.insert(key);
                }
                // It was told to stop it, and has: no more is to be said about it.
                None if state_from_wire(unit.state) == State::Stopped => lack.add_unit(&key, Some(unit)),
                None => {
                    lack.add_unit(&key, Some(unit));
                    if self.unknown.len() < MOST_UNKNOWN {
                        let status = UnitStatus::new(State::Failed, "Failed: reported unit is unknown");
                        self.unknown.insert(key, status);
                    }
                }
            }
        }
        self.units.retain(|key, unit| {
            let stays = unit.is_wanted || (listed.contains(key) && unit.status.state != State::Stopped);
            if !stays {
                self.used_idx = self.used_idx.max(unit.config_idx);
            }
            stays
        });
        for (key, unit) in &mut self.units {
            if unit.problem.is_none() && !listed.contains(key) {
                lack.add_unit(key, None);
                unit.miss();
            }
        }
        lack
    }

    /// What the component should have.
    pub(super) fn expected(&self) -> wire::Expected {
        let units = self.units.iter().filter(|(_, unit)| unit.problem.is_none());
        wire::Expected {
            units: units.map(|(key, unit)| unit.expected(key)).collect(),
            agent: (!self.agent.id.is_empty()).then(|| self.agent.clone()),
            features: Some(self.features.clone()),
            features_idx: self.features_idx,
            component: Some(self.component.clone()),
            component_idx: self.component_idx,
            units_timestamp: None,
        }
    }

    /// How its units are.
    pub(super) fn units(&self) -> BTreeMap<UnitKey, UnitStatus> {
        let tracked = self.units.iter().map(|(key, unit)| (key.clone(), unit.status.clone()));
        let mut all: BTreeMap<_, _> = tracked.collect();
        for (key, status) in &self.unknown {
            all.entry(key.clone()).or_insert_with(|| status.clone());
        }
        all
    }

    pub(super) fn version(&self) -> Option<&ComponentVersion> {
        self.version.as_ref()
    }

    /// How much its units log, each for itself.
    pub(super) fn levels(&self) -> BTreeMap<String, LogLevel> {
        self.units.iter().map(|(key, unit)| (key.id.clone(), unit.level)).collect()
    }
}

/// What a component has not as it should: a hash of all of it.
#[derive(Default)]
struct Lack(Option<Context>);

impl Lack {
    /// A unit that it has otherwise than it should; `None`: it has not got it.
    fn add_unit(&mut self, key: &UnitKey, observed: Option<&wire::UnitObserved>) {
        let is_stopped = observed.is_some_and(|unit| state_from_wire(unit.state) == State::Stopped);
        let idx = observed.map_or(0, |unit| unit.config_idx);
        self.add(&key.to_string(), &[idx, u64::from(is_stopped)]);
    }

    fn add(&mut self, unit: &str, indices: &[u64]) {
        let hash = self.0.get_or_insert_with(|| Context::new(&SHA256));
        hash.update(unit.as_bytes());
        // What no id has in it: none runs over into the next.
        hash.update(&[0xff]);
        indices.iter().for_each(|index| hash.update(&index.to_be_bytes()));
    }

    /// `None`: it has all of it.
    fn end(self) -> Option<Digest> {
        self.0.map(Context::finish)
    }
}

impl Tracked {
    fn new(wanted: &Unit, config: Arc<wire::UnitConfig>) -> Tracked {
        Tracked {
            is_wanted: true,
            level: wanted.level,
            config,
            config_idx: 1,
            observed_idx: 0,
            status: UnitStatus::new(State::Starting, "Starting"),
            problem: None,
        }
    }

    fn broken(wanted: &Unit, problem: &str) -> Tracked {
        let status = UnitStatus::new(State::Failed, format!("Failed: {problem}"));
        let config = Arc::new(wire::UnitConfig::default());
        Tracked { problem: Some(problem.to_owned()), status, ..Tracked::new(wanted, config) }
    }

    /// Returns whether the component has it as it should.
    fn take(&mut self, observed: &wire::UnitObserved) -> bool {
        self.observed_idx = observed.config_idx;
        self.status = to_status(observed);
        if self.is_wanted {
            self.observed_idx == self.config_idx
        } else {
            self.status.state != State::Stopped
        }
    }

    /// The component did not list it: it has not got it.
    fn miss(&mut self) {
        self.observed_idx = 0;
        let is_not_there_yet = matches!(self.status.state, State::Starting | State::Stopped);
        if self.is_wanted && !is_not_there_yet {
            self.status = UnitStatus::new(State::Failed, "Failed: not reported in check-in");
        }
    }

    fn expected(&self, key: &UnitKey) -> wire::UnitExpected {
        let state = if self.is_wanted { State::Healthy } else { State::Stopped };
        let has_config = self.observed_idx == self.config_idx;
        wire::UnitExpected {
            id: key.id.clone(),
            r#type: key.kind.to_wire(),
            state: state_to_wire(state),
            config_idx: self.config_idx,
            config: (!has_config).then(|| wire::UnitConfig::clone(&self.config)),
            log_level: self.level.to_wire(),
        }
    }
}

fn features(features: &Map<String, Value>) -> wire::Features {
    let fqdn = features.get("fqdn").and_then(|fqdn| fqdn.get("enabled"));
    let mut source = Map::new();
    if !features.is_empty() {
        source.insert("agent".to_owned(), json!({"features": features}));
    }
    wire::Features {
        source: Some(to_struct(&source)),
        fqdn: Some(wire::FullName { is_enabled: fqdn.and_then(Value::as_bool).unwrap_or_default() }),
    }
}

fn component_config(limits: &Map<String, Value>) -> wire::ComponentConfig {
    let processors = limits.get("go_max_procs").and_then(Value::as_u64);
    wire::ComponentConfig {
        limits: Some(wire::Limits {
            source: Some(to_struct(limits)),
            go_max_procs: processors.unwrap_or_default(),
        }),
        tracing: None,
    }
}

fn to_status(observed: &wire::UnitObserved) -> UnitStatus {
    let payload = observed.payload.as_ref();
    let is_small = payload.is_none_or(|payload| payload.encoded_len() <= LARGEST_PAYLOAD);
    UnitStatus {
        state: state_from_wire(observed.state),
        message: shorten(&observed.message, LONGEST_MESSAGE),
        payload: payload.filter(|_| is_small).map(from_struct),
    }
}

fn to_version(version: &wire::VersionInfo) -> ComponentVersion {
    let meta = version.meta.iter().take(MOST_META);
    ComponentVersion {
        name: shorten(&version.name, LONGEST_MESSAGE),
        build_hash: shorten(&version.build_hash, LONGEST_MESSAGE),
        meta: meta
            .map(|(key, value)| (shorten(key, LONGEST_MESSAGE), shorten(value, LONGEST_MESSAGE)))
            .collect(),
    }
}

/// At most so many bytes of it.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
