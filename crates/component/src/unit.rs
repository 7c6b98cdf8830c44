//! What both halves speak of: units, their states, levels of logging.

use std::fmt;

pub use fleet_health::State;
use serde::{Deserialize, Serialize};

use crate::wire;

/// The state of a message. What this version does not know counts as failed: it is certainly not well.
pub(crate) fn state_from_wire(number: i32) -> State {
    match wire::UnitState::try_from(number) {
        Ok(wire::UnitState::Starting) => State::Starting,
        Ok(wire::UnitState::Configuring) => State::Configuring,
        Ok(wire::UnitState::Healthy) => State::Healthy,
        Ok(wire::UnitState::Degraded) => State::Degraded,
        Ok(wire::UnitState::Stopping) => State::Stopping,
        Ok(wire::UnitState::Stopped) => State::Stopped,
        Ok(wire::UnitState::Failed) | Err(_) => State::Failed,
    }
}

/// The number of a state in messages.
pub(crate) fn state_to_wire(state: State) -> i32 {
    let state = match state {
        State::Starting => wire::UnitState::Starting,
        State::Configuring => wire::UnitState::Configuring,
        State::Healthy => wire::UnitState::Healthy,
        State::Degraded => wire::UnitState::Degraded,
        State::Failed => wire::UnitState::Failed,
        State::Stopping => wire::UnitState::Stopping,
        State::Stopped => wire::UnitState::Stopped,
    };
    state.into()
}

/// Which half of a pipeline a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitKind {
    /// It gathers something, or serves something.
    Input,
    /// It is where that goes.
    Output,
}

impl UnitKind {
    /// That of a message; `None`: a kind that this version does not know.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<UnitKind> {
        match wire::UnitType::try_from(number).ok()? {
            wire::UnitType::Input => Some(UnitKind::Input),
            wire::UnitType::Output => Some(UnitKind::Output),
        }
    }

    /// The number in messages.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        match self {
            UnitKind::Input => wire::UnitType::Input.into(),
            UnitKind::Output => wire::UnitType::Output.into(),
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnitKind::Input => "input",
            UnitKind::Output => "output",
        })
    }
}

/// What names a unit in its component: an input and an output may share an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitKey {
    /// Which half of the pipeline.
    pub kind: UnitKind,
    /// Its id.
    pub id: String,
}

impl UnitKey {
    /// An input.
    pub fn input(id: impl Into<String>) -> UnitKey {
        UnitKey { kind: UnitKind::Input, id: id.into() }
    }

    /// An output.
    pub fn output(id: impl Into<String>) -> UnitKey {
        UnitKey { kind: UnitKind::Output, id: id.into() }
    }
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// How much is logged. The later, the more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may.
    #[serde(alias = "warn")]
    Warning,
    /// And what goes on.
    #[default]
    Info,
    /// And what that consists of.
    Debug,
    /// And all the rest.
    Trace,
}

impl LogLevel {
    /// By its name in policies and in lines of logs, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<LogLevel> {
        const NAMES: [(&str, LogLevel); 10] = [
            ("critical", LogLevel::Error),
            ("fatal", LogLevel::Error),
            ("panic", LogLevel::Error),
            ("error", LogLevel::Error),
            ("err", LogLevel::Error),
            ("warning", LogLevel::Warning),
            ("warn", LogLevel::Warning),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| *level)
    }

    /// That of a message; one that is not known is the default.
    #[must_use]
    pub fn from_wire(number: i32) -> LogLevel {
        match wire::Verbosity::try_from(number) {
            Ok(wire::Verbosity::Error) => LogLevel::Error,
            Ok(wire::Verbosity::Warn) => LogLevel::Warning,
            Ok(wire::Verbosity::Debug) => LogLevel::Debug,
            Ok(wire::Verbosity::Trace) => LogLevel::Trace,
            Ok(wire::Verbosity::Info) | Err(_) => LogLevel::Info,
        }
    }

    /// The number in messages.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        let level = match self {
            LogLevel::Error => wire::Verbosity::Error,
            LogLevel::Warning => wire::Verbosity::Warn,
            LogLevel::Info => wire::Verbosity::Info,
            LogLevel::Debug => wire::Verbosity::Debug,
            LogLevel::Trace => wire::Verbosity::Trace,
        };
        level.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_the_same_in_messages() {
        for number in 0..7 {
            assert_eq!(state_to_wire(state_from_wire(number)), number);
        }
        assert_eq!(state_from_wire(99), State::Failed);
    }

    #[test]
    fn levels_are_known_by_all_their_names() {
        assert_eq!(LogLevel::parse("WARN"), Some(LogLevel::Warning));
        assert_eq!(LogLevel::parse("warning"), Some(LogLevel::Warning));
        assert_eq!(LogLevel::parse("loud"), None);
        assert!(LogLevel::Trace > LogLevel::Error);
        for number in 0..5 {
            assert_eq!(LogLevel::from_wire(number).to_wire(), number);
        }
    }
}
