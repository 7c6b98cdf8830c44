//! What the agent makes of what its tasks and systemd tell.

use std::error::Error as StdError;

use fleet_unit::UnitName;
use tracing::{debug, info, warn};

use super::decide::{Step, next_step};
use super::reconciler::{Agent, Event};
use super::work::Done;
use crate::documents::UnitDocument;
use crate::systemd::{Error, JobResult, Notice, UnitState};

impl Agent {
    pub(super) fn take(&mut self, event: Result<Event, tokio::task::JoinError>) {
        match event {
            Ok(Event::Fetched(names, Ok(documents))) => {
                for (name, document) in names.into_iter().zip(documents) {
                    self.take_file(name, document);
                }
            }
            Ok(Event::Fetched(names, Err(error))) => {
                let text = format!("fetch the unit file: {}", chain(&error));
                debug!(units = names.len(), error = text, "not fetched");
                for name in names {
                    self.postpone(&name, text.clone());
                }
            }
            Ok(Event::Stepped(name, step, done)) => self.take_step(&name, step, done),
            Ok(Event::JobEnded(name, job, step, result)) => self.take_job(&name, job, step, result),
            Ok(Event::State(name, heard, state)) => self.take_answer(&name, heard, state),
            Ok(Event::Subscribed(notices)) => {
                self.notices = Some(notices);
                self.read_states();
            }
            // Tasks guard what may panic in them.
            Err(error) => tracing::error!(%error, "a task of the agent failed"),
        }
    }

    fn take_file(&mut self, name: UnitName, document: Option<UnitDocument>) {
        let file = document.map(|document| document.file());
        match (file, self.desired.get(&name).cloned()) {
            (Some(file), Some(wanted)) if file.hash() == wanted.hash => match self.slots.get_mut(&name) {
                Some(slot) if slot.actual.is_some() => {
                    slot.fetched(file);
                    self.consider(&name);
                }
                _ => self.install(name, file, wanted),
            },
            // The unit was changed or destroyed meanwhile: the assignment will say so, or has said so.
            _ => self.postpone(&name, "fetch the unit file: it is another one now".to_owned()),
        }
    }

    /// A unit's file is not there now, for a reason that is not the unit's own.
    fn postpone(&mut self, name: &UnitName, error: String) {
        let wanted = self.desired.get(name);
        if let Some(slot) = self.slots.get_mut(name) {
            if wanted.is_some() && next_step(wanted, slot.actual.as_ref()).is_some() {
                let at = slot.postponed(error);
                self.retries.insert((at, name.clone()));
            } else {
                slot.succeeded();
            }
        }
        self.publish(name);
        self.loaded(name);
        self.consider(name);
    }

    fn take_step(&mut self, name: &UnitName, step: Step, done: Done) {
        let mut unsure = false;
        if let Some(slot) = self.slots.get_mut(name) {
            slot.actual = done.actual;
            if let Some(job) = done.job {
                slot.job += 1;
                let (name, number) = (name.clone(), slot.job);
                self.tasks.spawn(async move { Event::JobEnded(name, number, step, job.result.await.ok()) });
            }
            match done.error {
                None => {
                    match step {
                        Step::Note => debug!(unit = %name, "noted"),
                        _ => info!(unit = %name, ?step, "done"),
                    }
                    slot.succeeded_in(step);
                }
                Some(error) => {
                    let text = chain(&error);
                    warn!(unit = %name, ?step, error = text, "failed");
                    let at = slot.failed(text);
                    self.retries.insert((at, name.clone()));
                }
            }
            match (slot.actual, done.state) {
                (None, _) => {
                    slot.state = None;
                    slot.job += 1;
                }
                (Some(_), state) => unsure = step == Step::Load && !slot.learn(state),
            }
        }
        if unsure {
            self.read_state(name);
        }
        if step == Step::Load {
            self.loaded(name);
        }
        self.publish(name);
        self.consider(name);
    }

    fn take_job(&mut self, name: &UnitName, job: u64, step: Step, result: Option<JobResult>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if slot.job != job {
            return;
        }
        if let Some(JobResult::Failed(result)) = result {
            let verb = if step == Step::Restart { "restart" } else { "start" };
            warn!(unit = %name, result, "systemd could not {verb} it");
            slot.error = Some(format!("systemd could not {verb} it: {result}"));
            self.publish(name);
        }
    }

    pub(super) fn take_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Changed { unit, state } => {
                let Some(slot) = self.slots.get_mut(&unit) else { return };
                slot.heard += 1;
                slot.state = Some(state);
                self.publish(&unit);
            }
            Notice::Reset => self.read_states(),
        }
    }

    /// systemd answers how a unit is. What it has said of itself meanwhile may be newer.
    fn take_answer(&mut self, name: &UnitName, heard: u64, state: Result<UnitState, Error>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.reading = false;
        if slot.actual.is_none() {
            return;
        }
        match state {
            Ok(state) if slot.heard == heard => {
                slot.state = Some(state);
                self.publish(name);
            }
            Ok(_) => self.read_state(name),
            // A systemd that is away tells when it is back.
            Err(error) if error.unreachable && slot.heard == heard => {}
            Err(error) => {
                debug!(unit = %name, error = &error as &dyn StdError, "state not read, trying again");
                self.read_state(name);
            }
        }
    }
}

/// An error with its causes, for people.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
