//! How each unit and each of its streams is, for all to see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use fleet_health::State;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// How a unit or a stream is, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why, in words for an operator.
    pub message: String,
    /// More, for machines.
    pub payload: Map<String, Value>,
}

impl Status {
    /// A state with its reason, which is made one line: tables and logs show it as one.
    pub fn new(state: State, message: impl Into<String>) -> Status {
        Status { state, message: one_line(message.into()), payload: Map::new() }
    }
}

/// How an input or output is.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitStatus {
    /// The unit as a whole: the worst of its streams.
    pub status: Status,
    /// Each stream by its id; outputs have none.
    pub streams: BTreeMap<String, Status>,
}

/// How everything is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// Inputs by id.
    pub inputs: BTreeMap<String, UnitStatus>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, UnitStatus>,
    /// What is wrong with the collector's own files, by what they are: `positions`, or the queue of an output.
    pub storage: BTreeMap<String, Status>,
}

/// Which unit a status is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Input(String),
    Output(String),
}

/// Where states are written down, and read by [`Collector::states`](crate::Collector::states).
#[derive(Clone, Debug)]
pub(crate) struct Board {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    states: Mutex<States>,
    sender: watch::Sender<Arc<States>>,
    dirty: tokio::sync::Notify,
}

impl Board {
    pub(crate) fn new() -> Board {
        let shared = Shared {
            states: Mutex::default(),
            sender: watch::Sender::new(Arc::default()),
            dirty: tokio::sync::Notify::new(),
        };
        Board { shared: Arc::new(shared) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<States>> {
        self.shared.sender.subscribe()
    }

    /// Tells changes as they come. Many that come at once are told once: a plan of 200 inputs starts as one change.
    pub(crate) async fn publish(&self) {
        loop {
            self.shared.dirty.notified().await;
            tokio::task::yield_now().await;
            self.publish_now();
        }
    }

    /// Tells what has changed until now.
    pub(crate) fn publish_now(&self) {
        let states = Arc::new(self.lock().clone());
        self.shared.sender.send_if_modified(|told| {
            let changed = **told != *states;
            if changed {
                *told = states;
            }
            changed
        });
    }

    /// Sets a unit's status as a whole; its streams are forgotten.
    pub(crate) fn unit(&self, unit: &Unit, status: Status) {
        let mut states = self.lock();
        let entry = UnitStatus { status, streams: BTreeMap::new() };
        match unit {
            Unit::Input(id) => states.inputs.insert(id.clone(), entry),
            Unit::Output(name) => states.outputs.insert(name.clone(), entry),
        };
        drop(states);
        self.shared.dirty.notify_one();
    }

    /// Sets the status of a stream of an input, and with it the input's.
    pub(crate) fn stream(&self, input: &str, stream: &str, status: Status) {
        let mut states = self.lock();
        let Some(unit) = states.inputs.get_mut(input) else { return };
        if unit.streams.get(stream) == Some(&status) {
            return;
        }
        unit.streams.insert(stream.to_owned(), status);
        unit.status = summary(&unit.streams);
        drop(states);
        self.shared.dirty.notify_one();
    }

    /// Sets what is wrong with files of the collector's.
    pub(crate) fn storage(&self, what: &str, status: Option<Status>) {
        let mut states = self.lock();
        match status {
            Some(status) => states.storage.insert(what.to_owned(), status),
            None => states.storage.remove(what),
        };
        drop(states);
        self.shared.dirty.notify_one();
    }

    /// Forgets a unit.
    pub(crate) fn remove(&self, unit: &Unit) {
        let mut states = self.lock();
        match unit {
            Unit::Input(id) => states.inputs.remove(id),
            Unit::Output(name) => states.outputs.remove(name),
        };
        drop(states);
        self.shared.dirty.notify_one();
    }

    /// How an output is.
    pub(crate) fn output(&self, name: &str) -> Option<State> {
        self.lock().outputs.get(name).map(|output| output.status.state)
    }

    fn lock(&self) -> MutexGuard<'_, States> {
        self.shared.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many streams are named in the message of their input.
const MOST_NAMED: usize = 10;

/// An input is as its worst streams are; the message names them.
fn summary(streams: &BTreeMap<String, Status>) -> Status {
    let Some(worst) = streams.values().max_by_key(|status| status.state.severity()) else {
        return Status::new(State::Healthy, "has no streams");
    };
    if !worst.state.is_trouble() {
        return Status::new(worst.state, worst.message.clone());
    }
    let bad: Vec<_> = streams.iter().filter(|(_, status)| status.state == worst.state).collect();
    let mut named: Vec<String> =
        bad.iter().take(MOST_NAMED).map(|(id, status)| format!("{id}: {}", status.message)).collect();
    if bad.len() > MOST_NAMED {
        named.push(format!("and {} more streams", bad.len() - MOST_NAMED));
    }
    Status::new(worst.state, named.join("; "))
}

/// The lines of a text, one behind the other.
fn one_line(text: String) -> String {
    if !text.contains(['\n', '\r']) {
        return text;
    }
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_names_all_streams_that_are_as_bad_as_its_worst() {
        let failed = |id: usize| (format!("s{id:02}"), Status::new(State::Failed, "paths: is missing"));
        let mut streams = BTreeMap::from([
            ("ok".to_owned(), Status::new(State::Healthy, "reading")),
            ("slow".to_owned(), Status::new(State::Degraded, "cannot read")),
        ]);
        assert_eq!(summary(&streams).message, "slow: cannot read");
        streams.extend([failed(1), failed(2)]);
        assert_eq!(summary(&streams).message, "s01: paths: is missing; s02: paths: is missing");
        streams.extend((3..=12).map(failed));
        let summary = summary(&streams);
        assert_eq!(summary.state, State::Failed);
        assert!(
            summary.message.ends_with("s10: paths: is missing; and 2 more streams"),
            "{}",
            summary.message
        );
    }

    #[test]
    fn a_reason_of_several_lines_becomes_one() {
        let status = |message: &str| Status::new(State::Failed, message).message;
        assert_eq!(
            status("parse error:\r\n    (a\n\n    ^\nunclosed group\n"),
            "parse error: (a ^ unclosed group"
        );
        assert_eq!(status("  as it  is "), "  as it  is ");
    }
}
