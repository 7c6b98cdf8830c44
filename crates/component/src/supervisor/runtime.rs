//! What a runner needs of whatever carries its component out: a process of its own, or a service of the system.

use std::process::ExitStatus;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, Instant, sleep_until};

use super::endpoint::Endpoint;
use super::logs::{Levels, LogOrigin, LogReader};
use super::plan::Program;
use super::shared::{Named, Shared};
use super::spec::LogKeys;
use crate::unit::State;
use crate::wire;

/// Carries a component out.
///
/// What [`Runtime::act`] does is done to its end; it is [`Runtime::wait`] that is dropped when something else happens.
#[async_trait]
pub(super) trait Runtime: Send {
    /// Does what is due. Returns what has become of the component; `None`: nothing is due any more.
    async fn act(&mut self) -> Option<Turn>;

    /// Waits until something is due, or something has become of the component. May be dropped and called again.
    async fn wait(&mut self) -> Option<Turn>;

    /// The component has checked in. Returns what it is then; `None`: what was said of it is more important.
    fn checked_in(&mut self, observed: &wire::Observed) -> Option<String>;

    /// Whether there is somebody whose word counts.
    fn is_up(&self) -> bool;

    /// The component's process, if it is known.
    fn pid(&self) -> Option<u32>;

    /// Lets go of the component within this time.
    fn stop(&mut self, leave: Leave, grace: Duration);

    /// Whether it has.
    fn is_ended(&self) -> bool;
}

/// What carries a component out, of what its runner has.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) named: Named,
    pub(super) program: Arc<Program>,
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) levels: Levels,
}

impl Context {
    /// What takes the component's lines.
    pub(super) fn reader(&self, keys: LogKeys) -> LogReader {
        LogReader {
            origin: Arc::new(LogOrigin {
                component: self.named.id.clone(),
                kind: self.named.kind.clone(),
                binary: self.program.name.clone(),
            }),
            keys: Arc::new(keys),
            levels: self.levels.clone(),
            sink: Arc::clone(&self.shared.settings.logs),
        }
    }
}

/// How a component is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The agent ends, or runs it otherwise: what lives without an agent stays.
    Keep,
    /// It is not wanted any more: nothing of it stays.
    Remove,
}

/// What has become of a component.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) state: State,
    pub(super) message: String,
    pub(super) units: Units,
}

/// What that is to its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// They are as it says.
    AsTold,
    /// They are in the same state.
    Same,
    /// They are new: its process is.
    New,
    /// They are in the same state: its process is gone.
    Gone,
}

impl Turn {
    pub(super) fn new(state: State, message: String, units: Units) -> Turn {
        Turn { state, message, units }
    }
}

/// Waits for a moment; `None`: it never comes.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How a process has ended.
pub(super) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code '{code}'"),
        (None, Some(signal)) => format!("was ended by signal '{signal}'"),
        (None, None) => "exited".to_owned(),
    }
}
