//! What a component has to do itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::Agent;
use super::session::Session;
use crate::unit::{LogLevel, State, UnitKey};

/// What a component says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// The commit it was built from.
    pub build_hash: String,
    /// What else is to be told, such as its version.
    pub meta: BTreeMap<String, String>,
}

/// A unit that there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// What it is called.
    pub key: UnitKey,
    /// The type of the input or output.
    pub kind: String,
    /// How much it is to log.
    pub level: LogLevel,
    /// Its configuration: the policy's own map.
    pub config: Arc<Map<String, Value>>,
}

/// What is new of a unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// There should be one.
    Added(Unit),
    /// It should be different: its configuration, or how much it logs.
    Changed(Unit),
    /// It should stop, and [`Reporter::report`] that it has.
    Stop(UnitKey),
    /// It is gone, and is not spoken of any more.
    Removed(UnitKey),
}

/// What is new.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// Of units.
    pub changes: Vec<Change>,
    /// Of the agent.
    pub agent: Option<Agent>,
    /// Of the agent's switches (`{agent: {features: {...}}}`).
    pub features: Option<Map<String, Value>>,
    /// Of what the component may use.
    pub limits: Option<Map<String, Value>>,
}

impl News {
    /// Whether there is nothing new.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == News::default()
    }
}

/// Something to be done at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// By which unit.
    pub unit: UnitKey,
    /// What.
    pub name: String,
    /// With what.
    pub params: Map<String, Value>,
}

/// Of what files are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The component.
    Component {
        /// What is to be measured for them, such as `CPU` and `CONN`.
        metrics: Vec<String>,
    },
    /// One unit.
    Unit(UnitKey),
}

/// A file for whoever looks for the reason of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiagnosticFile {
    /// Its name for people.
    pub name: String,
    /// Its name as a file.
    pub filename: String,
    /// What is in it.
    pub description: String,
    /// Its media type.
    pub content_type: String,
    /// It; without secrets.
    pub content: Vec<u8>,
}

/// What a component has to do itself.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Takes what is new. One call follows the other; check-ins go on meanwhile.
    async fn changed(&self, news: News, reporter: &Reporter);

    /// Does something at once. What it returns goes to whoever asked; an error has words for them.
    async fn action(&self, action: Action) -> Result<Map<String, Value>, String> {
        drop(action);
        Err("action undefined".to_owned())
    }

    /// Files for whoever looks for the reason of something.
    async fn diagnostics(&self, scope: Scope) -> Vec<DiagnosticFile> {
        drop(scope);
        Vec::new()
    }
}

/// Says how units are. Clones are the same.
#[derive(Clone, Debug)]
pub struct Reporter {
    shared: Arc<Reported>,
}

#[derive(Debug)]
struct Reported {
    session: Mutex<Session>,
    changed: Notify,
}

impl Reporter {
    pub(super) fn new(session: Session) -> Reporter {
        Reporter { shared: Arc::new(Reported { session: Mutex::new(session), changed: Notify::new() }) }
    }

    /// How a unit is from now on. One that is gone is not spoken of.
    pub fn report(&self, unit: &UnitKey, state: State, message: impl Into<String>) {
        self.report_with(unit, state, message, None);
    }

    /// The same, with what else is to be told of it.
    pub fn report_with(
        &self,
        unit: &UnitKey,
        state: State,
        message: impl Into<String>,
        payload: Option<&Map<String, Value>>,
    ) {
        self.session().report(unit, state, message.into(), payload);
        self.shared.changed.notify_one();
    }

    /// How several units are from now on, in one message.
    pub fn report_all<'a>(
        &self,
        units: impl IntoIterator<Item = &'a UnitKey>,
        state: State,
        message: &str,
        payload: Option<&Map<String, Value>>,
    ) {
        let mut session = self.session();
        for unit in units {
            session.report(unit, state, message.to_owned(), payload);
        }
        drop(session);
        self.shared.changed.notify_one();
    }

    /// The units that there are.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        self.session().units()
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.shared.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was reported since this was called last.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    pub(super) fn wake(&self) {
        self.shared.changed.notify_one();
    }
}
