//! How a part of an agent is: the states that agents, their collectors and their components have in common.
//!
//! An agent shows and reports the states of units that it carries out itself and of those that processes of others carry
//! out. They are the same states, so that there is one type of them, which none of these has to translate.
//!
//! What this crate must not know: whose states they are, how they are sent, why something is as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a unit is, or a stream or a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It is being started.
    #[default]
    Starting,
    /// It takes a configuration.
    Configuring,
    /// It does what it is for.
    Healthy,
    /// It does, but not all or not well.
    Degraded,
    /// It does not.
    Failed,
    /// It is being stopped.
    Stopping,
    /// It has stopped, as it should.
    Stopped,
}

impl State {
    /// The name that people and other programs know: upper case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "STARTING",
            State::Configuring => "CONFIGURING",
            State::Healthy => "HEALTHY",
            State::Degraded => "DEGRADED",
            State::Failed => "FAILED",
            State::Stopping => "STOPPING",
            State::Stopped => "STOPPED",
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, State::Degraded | State::Failed)
    }

    /// Whether it is trouble, and more than the other is.
    #[must_use]
    pub fn is_worse_than(self, other: State) -> bool {
        self.is_trouble() && self.severity() > other.severity()
    }

    /// How much it says of a whole that it is a state of a part of: a whole is as the part is of which this is highest.
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            State::Stopped => 0,
            State::Healthy => 1,
            State::Stopping => 2,
            State::Configuring => 3,
            State::Starting => 4,
            State::Degraded => 5,
            State::Failed => 6,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Stopped,
        State::Healthy,
        State::Stopping,
        State::Configuring,
        State::Starting,
        State::Degraded,
        State::Failed,
    ];

    #[test]
    fn states_are_written_by_their_names() {
        for state in ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(serde_json::from_value::<State>(state.name().into()).unwrap(), state);
            assert_eq!(state.to_string(), state.name());
        }
    }

    #[test]
    fn trouble_is_worse_than_all_else() {
        assert!(ALL.is_sorted_by(|one, other| one.severity() < other.severity()));
        for (state, other) in ALL.iter().flat_map(|state| ALL.iter().map(move |other| (state, other))) {
            if state.is_trouble() && !other.is_trouble() {
                assert!(state.severity() > other.severity(), "{state} {other}");
            }
        }
    }
}
