//! What commands can ask of a cluster, whichever way leads to it.

use fleet_protocol::fleet_v1::{ExplainedState, Explanation, Machine, Unit, UnitState};
use fleet_unit::{Requirements, UnitFile, UnitName};
use thiserror::Error;

use super::transport::TransportError;

/// What people want of a unit, and what its machine has made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobState {
    Inactive,
    Loaded,
    Launched,
}

impl JobState {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            JobState::Inactive => "inactive",
            JobState::Loaded => "loaded",
            JobState::Launched => "launched",
        }
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How far the restarts of a unit are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RestartProgress {
    /// How many restarts were asked for.
    pub(crate) requested: u64,
    /// How many each machine that has to do it has carried out.
    pub(crate) done: Vec<u64>,
}

impl RestartProgress {
    /// What an explanation says of it. A unit that is on one machine may have left traces on others.
    pub(crate) fn of(explanation: &Explanation) -> RestartProgress {
        let concerned = |state: &&ExplainedState| {
            if explanation.global {
                state.current_state == "launched"
            } else {
                state.machine_id == explanation.machine_id
            }
        };
        RestartProgress {
            requested: explanation.restarts,
            done: explanation.states.iter().filter(concerned).map(|state| state.restarts).collect(),
        }
    }

    /// Whether every machine has carried out `count` restarts.
    pub(crate) fn has_done(&self, count: u64) -> bool {
        !self.done.is_empty() && self.done.iter().all(|done| *done >= count)
    }
}

/// What the API says when there is no such unit; an unknown path is a 404 in other words.
const NO_SUCH_UNIT: &str = "unit does not exist";

/// A request that failed.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// No answer.
    #[error("{method} {url:?}")]
    Request {
        method: String,
        url: String,
        #[source]
        source: TransportError,
    },
    /// The API said no. The words are those of the library that the original used.
    #[error("{}", refusal(*code, message, body))]
    Refused { code: u16, message: String, body: String },
    /// The API answered with something else than was asked for.
    #[error("{method} {url:?}: the answer cannot be read")]
    Answer {
        method: String,
        url: String,
        #[source]
        source: fleet_protocol::fleet_v1::DecodeError,
    },
    /// The request cannot be written.
    #[error("the request for {name} cannot be written")]
    Encode {
        name: String,
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { code: 404, .. })
    }

    /// Whether asking again cannot help: the server refuses us, or it and we do not trust each other.
    ///
    /// 404 is for the one who asked to judge; 408 and 429 invite another try (RFC 9110, 15.5.9; RFC 6585, 4).
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            ClientError::Refused { code, .. } => {
                (400..500).contains(code) && !matches!(code, 404 | 408 | 429)
            }
            ClientError::Request { source, .. } => source.is_of_tls(),
            ClientError::Answer { .. } | ClientError::Encode { .. } => false,
        }
    }

    /// Whether the server knows no such request: it is an older one.
    pub(crate) fn is_unsupported(&self) -> bool {
        match self {
            ClientError::Refused { code: 404, message, .. } => message != NO_SUCH_UNIT,
            ClientError::Refused { code: 405 | 501, .. } => true,
            _ => false,
        }
    }
}

fn refusal(code: u16, message: &str, body: &str) -> String {
    if message.is_empty() {
        format!("googleapi: got HTTP response code {code} with body: {body}")
    } else {
        format!("googleapi: Error {code}: {message}")
    }
}

/// A cluster.
#[async_trait::async_trait]
pub(crate) trait Cluster: Send + Sync {
    /// Its machines, in the order of their ids.
    async fn machines(&self) -> Result<Vec<Machine>, ClientError>;
    /// Its units, in the order of their names.
    async fn units(&self) -> Result<Vec<Unit>, ClientError>;
    /// One unit.
    async fn unit(&self, name: &str) -> Result<Option<Unit>, ClientError>;
    /// The states of units on machines, in the order of unit and machine: of all, or of one unit.
    async fn states(&self, name: Option<&str>) -> Result<Vec<UnitState>, ClientError>;
    /// Creates a unit or replaces its options.
    async fn create(&self, unit: &Unit) -> Result<(), ClientError>;
    /// Says what is wanted of a unit.
    async fn set_target(&self, name: &str, target: JobState) -> Result<(), ClientError>;
    /// Removes a unit; says whether there was one.
    async fn destroy(&self, name: &str) -> Result<bool, ClientError>;
    /// Asks for a restart where the unit runs; says whether the server can do that.
    async fn restart(&self, name: &str) -> Result<bool, ClientError>;
    /// Why a unit is where it is, or nowhere. `None`: there is no such unit, or the server cannot say.
    async fn explain(&self, name: &str) -> Result<Option<Explanation>, ClientError>;
    /// How far the restarts of a unit are. `None`: there is no such unit, or the server cannot say.
    async fn restart_progress(&self, name: &str) -> Result<Option<RestartProgress>, ClientError> {
        Ok(self.explain(name).await?.as_ref().map(RestartProgress::of))
    }
    /// How many requests may be under way at the same time.
    fn concurrency(&self) -> usize;
}

/// Whether a unit runs on every machine that fits.
///
/// Only that option is read: a cluster of an older fleet may hold units whose other options are refused today.
pub(crate) fn is_global(unit: &Unit) -> bool {
    let options = unit.options.iter().filter(|option| option.section == "X-Fleet" && option.name == "Global");
    let file = UnitFile::from_options(options.cloned().collect());
    UnitName::parse(&unit.name)
        .ok()
        .and_then(|name| Requirements::of(&name, &file).ok())
        .is_some_and(|requirements| requirements.global)
}
