//! What the agent says the server should be: an input unit and an output unit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fleet_component::component::{
    Agent, Change, DiagnosticFile, Handler, News, Reporter, Scope, StartUp, Unit,
};
use fleet_component::unit::{LogLevel, State, UnitKind};
use fleet_service::logging::Verbosity;
use tokio::sync::watch;
use tracing::Level;

use super::document::Document;
use super::status::Status;

/// The one type of inputs.
const INPUT: &str = "fleet-server";
/// The one type of outputs.
const OUTPUT: &str = "elasticsearch";

/// Both units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Units {
    pub(super) input: Unit,
    pub(super) output: Unit,
}

/// What is known at a moment.
#[derive(Clone, Debug, Default)]
struct Known {
    input: Option<Unit>,
    output: Option<Unit>,
    agent: Agent,
}

impl Known {
    fn units(&self) -> Option<Units> {
        Some(Units { input: self.input.clone()?, output: self.output.clone()? })
    }
}

/// What the agent says, and what it is told.
#[derive(Debug)]
pub(super) struct UnitsFeed {
    known: watch::Sender<Known>,
    told: Mutex<Told>,
    overrides: Vec<String>,
    /// The log's level, if there is a log.
    verbosity: Option<Verbosity>,
}

#[derive(Debug)]
struct Told {
    status: Status,
    /// There once the agent has said something.
    reporter: Option<Reporter>,
    /// What runs, for people.
    document: Option<Document>,
}

impl UnitsFeed {
    pub(super) fn new(start_up: &StartUp, overrides: Vec<String>, verbosity: Option<Verbosity>) -> UnitsFeed {
        let known = Known { agent: start_up.agent.clone(), ..Known::default() };
        UnitsFeed {
            known: watch::Sender::new(known),
            told: Mutex::new(Told { status: Status::Starting, reporter: None, document: None }),
            overrides,
            verbosity,
        }
    }

    /// The server logs as much as the unit does that logs most.
    fn set_level(&self, units: &[Unit]) {
        let Some(level) = units.iter().map(|unit| unit.level).max() else { return };
        let level = match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warning => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        };
        if let Some(verbosity) = &self.verbosity {
            verbosity.set_level(level);
        }
    }

    /// Both units, as soon as they are there.
    pub(super) async fn complete(&self) -> Units {
        let mut known = self.known.subscribe();
        loop {
            let units = known.borrow_and_update().units();
            if let Some(units) = units {
                return units;
            }
            // The sender is `self`.
            let _ = known.changed().await;
        }
    }

    /// Waits until the server should be another one than this.
    pub(super) async fn until_other(&self, document: &Document) {
        self.told().document = Some(document.clone());
        let mut known = self.known.subscribe();
        let _ = known.wait_for(|known| self.is_other(known, document)).await;
    }

    /// A unit that is missing is on its way, or the agent is about to stop the process.
    fn is_other(&self, known: &Known, document: &Document) -> bool {
        known.units().is_some_and(|units| self.document(&units) != *document)
    }

    /// What the server should be.
    pub(super) fn document(&self, units: &Units) -> Document {
        Document::of(units, &self.overrides)
    }

    /// The server that runs is not the one that is wanted now: nobody is told that it is well.
    fn notice_change(&self) {
        let mut told = self.told();
        let known = self.known.borrow();
        let runs_another = told.document.as_ref().is_some_and(|document| self.is_other(&known, document));
        if runs_another && matches!(told.status, Status::Serving { .. }) {
            told.status = Status::Configuring;
        }
    }

    /// The agent is told this of both units from now on.
    pub(super) fn tell(&self, status: Status) {
        self.told().status = status;
        self.report();
    }

    fn report(&self) {
        let told = self.told();
        let Some(reporter) = &told.reporter else { return };
        let known = self.known.borrow();
        let is_alone = known.input.is_none() || known.output.is_none();
        let said = told.status.said(&known.agent, is_alone);
        let units = [&known.input, &known.output].into_iter().flatten().map(|unit| &unit.key);
        reporter.report_all(units, said.state, &said.message, said.payload.as_ref());
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Handler for UnitsFeed {
    async fn changed(&self, news: News, reporter: &Reporter) {
        for change in &news.changes {
            // What it did is done by the unit that comes in its place, or the process is about to end.
            if let Change::Stop(unit) = change {
                reporter.report(unit, State::Stopped, "Stopped");
            }
        }
        let mut input = None;
        let mut output = None;
        let units = reporter.units();
        self.set_level(&units);
        for unit in units {
            let (place, kind) = match unit.key.kind {
                UnitKind::Input => (&mut input, INPUT),
                UnitKind::Output => (&mut output, OUTPUT),
            };
            if unit.kind != kind {
                let text =
                    format!("Error - the type of this unit is {:?}, and only {kind} is served", unit.kind);
                reporter.report(&unit.key, State::Failed, text);
            } else if place.is_some() {
                let text = format!("Error - there is another unit of the type {kind}: one is served");
                reporter.report(&unit.key, State::Failed, text);
            } else {
                *place = Some(unit);
            }
        }
        self.told().reporter = Some(reporter.clone());
        self.known.send_modify(|known| {
            (known.input, known.output) = (input, output);
            if let Some(agent) = news.agent {
                known.agent = agent;
            }
        });
        self.notice_change();
        self.report();
    }

    async fn diagnostics(&self, scope: Scope) -> Vec<DiagnosticFile> {
        if matches!(scope, Scope::Unit(_)) {
            return Vec::new();
        }
        let document = self.told().document.as_ref().map(Document::redacted).unwrap_or_default();
        // A tree of texts and numbers can be written.
        let content = serde_saphyr::to_string(&document).unwrap_or_default();
        vec![DiagnosticFile {
            name: "fleet-server".to_owned(),
            filename: "fleet-server.yml".to_owned(),
            description: "The configuration that the server runs with, without secrets".to_owned(),
            content_type: "application/yaml".to_owned(),
            content: content.into_bytes(),
        }]
    }
}

/// The feed that a guest holds.
pub(super) type Feed = Arc<UnitsFeed>;
