//! What the agent is told of its units. Whoever sets an agent up reads these words.

use fleet_component::component::Agent;
use fleet_component::unit::State;
use serde_json::{Map, Value};

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It is not there yet.
    Starting,
    /// It makes what its agent needs.
    Preparing {
        /// The policy of its agent.
        policy_id: String,
    },
    /// It serves.
    Serving {
        /// The policy of its agent.
        policy_id: String,
        /// What the agent enrols with.
        enrollment_token: String,
        /// Where documents are kept.
        store: String,
    },
    /// Another one takes over.
    Configuring,
    /// It cannot run.
    Failed(String),
}

/// The same in the words of the protocol.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) state: State,
    pub(super) message: String,
    pub(super) payload: Option<Map<String, Value>>,
}

impl Status {
    /// `is_alone`: one of the two units is not there.
    pub(super) fn said(&self, agent: &Agent, is_alone: bool) -> Said {
        let said = |state, message: &str| Said { state, message: message.to_owned(), payload: None };
        match self {
            Status::Starting if is_alone => {
                said(State::Starting, "Waiting for the other unit: an input and an output are needed")
            }
            Status::Starting => said(State::Starting, "Starting"),
            Status::Preparing { policy_id } => said(
                State::Starting,
                &format!("Waiting on policy with Fleet Server integration: {policy_id}"),
            ),
            Status::Configuring => said(State::Configuring, "Re-configuring"),
            Status::Failed(error) => said(State::Failed, &format!("Error - {error}")),
            Status::Serving { policy_id, enrollment_token, store } => {
                let running = format!("Running on policy with Fleet Server integration: {policy_id}");
                if !agent.id.is_empty() {
                    return said(State::Healthy, &format!("{running}; {store}"));
                }
                let missing = "missing config fleet.agent.id (expected during bootstrap process)";
                let token = ("enrollment_token".to_owned(), Value::from(enrollment_token.as_str()));
                Said {
                    payload: Some(Map::from_iter([token])),
                    ..said(State::Degraded, &format!("{running}; {missing}; {store}"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Status {
        Status::Serving {
            policy_id: "p".to_owned(),
            enrollment_token: "t".to_owned(),
            store: "store: embedded".to_owned(),
        }
    }

    #[test]
    fn an_agent_without_an_id_gets_what_it_enrols_with() {
        let said = serving().said(&Agent::default(), false);
        assert_eq!(said.state, State::Degraded);
        assert!(
            said.message.starts_with("Running on policy with Fleet Server integration: p; missing config")
        );
        assert_eq!(
            said.payload.and_then(|payload| payload.get("enrollment_token").cloned()),
            Some("t".into())
        );
    }

    #[test]
    fn an_agent_that_has_enrolled_is_told_no_secret() {
        let agent = Agent { id: "a".to_owned(), ..Agent::default() };
        let said = serving().said(&agent, false);
        assert_eq!((said.state, said.payload), (State::Healthy, None));
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let said = Status::Failed("cannot listen".to_owned()).said(&Agent::default(), false);
        assert_eq!((said.state, said.message.as_str()), (State::Failed, "Error - cannot listen"));
        assert!(Status::Starting.said(&Agent::default(), true).message.contains("other unit"));
    }
}
