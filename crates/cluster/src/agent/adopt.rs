//! Taking over what is installed, and learning from systemd how it is.

use std::sync::Arc;
use std::time::Duration;

use fleet_unit::UnitName;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::decide::Actual;
use super::guard::guarded;
use super::reconciler::{Agent, Event};
use super::slot::Slot;
use crate::documents::TargetState;
use crate::systemd::{Error, InstalledUnit, Notice, Systemd, UnitState};

/// When systemd cannot be reached it is tried again after this long.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Of so many units at once systemd is asked how they are.
const ASK_AT_ONCE: usize = 16;

impl Agent {
    /// Takes over what a former agent of this machine has installed, as it is.
    pub(super) async fn adopt(&mut self) {
        while let Err(error) = self.try_adopt().await {
            warn!(error = &error as &dyn std::error::Error, "systemd cannot be asked yet");
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn try_adopt(&mut self) -> Result<(), Error> {
        // First subscribe, then read, or a change in between is missed.
        let notices = self.systemd.subscribe().await?;
        self.slots.clear();
        let installed = self.systemd.installed().await?;
        let systemd = Arc::clone(&self.systemd);
        let mut asked = stream::iter(installed.into_iter().map(|unit| {
            let systemd = Arc::clone(&systemd);
            async move {
                let state = guarded(systemd.state(&unit.name)).await.and_then(|state| state);
                (unit, state)
            }
        }))
        .buffered(ASK_AT_ONCE);
        let mut unread = Vec::new();
        while let Some((unit, state)) = asked.next().await {
            let state = match state {
                Ok(state) => Some(state),
                Err(error) if error.unreachable => return Err(error),
                // One unit that systemd does not answer for keeps none of the others from being adopted.
                Err(error) => {
                    warn!(unit = %unit.name, error = &error as &dyn std::error::Error, "state not read");
                    unread.push(unit.name.clone());
                    None
                }
            };
            let slot = Slot::adopted(adopted(&unit, state.as_ref()), state);
            self.slots.insert(unit.name, slot);
        }
        drop(asked);
        self.notices = Some(notices);
        let names: Vec<UnitName> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| self.publish(name));
        unread.iter().for_each(|name| self.read_state(name));
        if !names.is_empty() {
            info!(units = names.len(), "adopted what is installed");
        }
        Ok(())
    }

    /// Another subscriber, or the end of the bus, has ended our subscription.
    pub(super) fn subscribe_again(&mut self) {
        self.notices = None;
        let systemd = Arc::clone(&self.systemd);
        self.tasks.spawn(async move { Event::Subscribed(subscribe(&*systemd).await) });
    }

    /// Asks systemd how each unit is.
    pub(super) fn read_states(&mut self) {
        let installed = self.slots.iter().filter(|(_, slot)| slot.actual.is_some());
        let names: Vec<UnitName> = installed.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.read_state(name));
    }

    /// Asks systemd how a unit is, until it says so.
    pub(super) fn read_state(&mut self, name: &UnitName) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if std::mem::replace(&mut slot.reading, true) {
            // An answer that is on its way may be older than the reason to ask.
            slot.heard += 1;
            return;
        }
        let heard = slot.heard;
        let (systemd, permits, name) = (Arc::clone(&self.systemd), Arc::clone(&self.permits), name.clone());
        self.tasks.spawn(async move {
            let permit = permits.acquire().await.ok();
            let state = guarded(systemd.state(&name)).await.and_then(|state| state);
            drop(permit);
            if state.is_err() {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            Event::State(name, heard, state)
        });
    }
}

async fn subscribe(systemd: &dyn Systemd) -> mpsc::Receiver<Notice> {
    loop {
        match guarded(systemd.subscribe()).await.and_then(|notices| notices) {
            Ok(notices) => return notices,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "systemd cannot be asked");
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }
}

/// How far a unit is that somebody has installed: as its record says, or as it looks.
fn adopted(unit: &InstalledUnit, state: Option<&UnitState>) -> Actual {
    let current = match (unit.record, state) {
        (Some(record), _) => record.current,
        // What was started stays started, even if it has failed since.
        (None, Some(state)) if is_started(state) => TargetState::Launched,
        // Its installation was interrupted: the file is there, but systemd does not know it.
        (None, Some(state)) if state.load == "not-found" => TargetState::Inactive,
        // Starting what runs does nothing, so this is the safe guess.
        (None, _) => TargetState::Loaded,
    };
    let restarts = unit.record.map(|record| record.restarts);
    Actual { hash: unit.hash, current, restarts, noted: unit.record.is_some() }
}

fn is_started(state: &UnitState) -> bool {
    matches!(state.active.as_str(), "active" | "activating" | "reloading" | "refreshing" | "failed")
}

#[cfg(test)]
mod tests {
    use fleet_unit::UnitFile;

    use super::*;
    use crate::systemd::Record;

    fn state(load: &str, active: &str) -> UnitState {
        UnitState { load: load.to_owned(), active: active.to_owned(), sub: String::new() }
    }

    fn unit(record: Option<Record>) -> InstalledUnit {
        let file = UnitFile::parse("[Service]\nExecStart=/bin/true\n").unwrap();
        InstalledUnit { name: UnitName::parse("a.service").unwrap(), hash: file.hash(), record }
    }

    #[test]
    fn a_record_says_how_far_a_unit_is() {
        for current in [TargetState::Inactive, TargetState::Loaded, TargetState::Launched] {
            let actual =
                adopted(&unit(Some(Record { current, restarts: 2 })), Some(&state("loaded", "active")));
            assert_eq!((actual.current, actual.restarts, actual.noted), (current, Some(2), true));
        }
    }

    #[test]
    fn without_a_record_it_is_as_it_looks() {
        let cases = [
            ("loaded", "active", TargetState::Launched),
            ("loaded", "activating", TargetState::Launched),
            ("loaded", "failed", TargetState::Launched),
            // Somebody runs it, whatever systemd knows of its file: it is not stopped.
            ("not-found", "active", TargetState::Launched),
            ("loaded", "inactive", TargetState::Loaded),
            ("loaded", "deactivating", TargetState::Loaded),
            ("not-found", "inactive", TargetState::Inactive),
        ];
        for (load, active, current) in cases {
            let actual = adopted(&unit(None), Some(&state(load, active)));
            assert_eq!(
                (actual.current, actual.restarts, actual.noted),
                (current, None, false),
                "{load} {active}"
            );
        }
        assert_eq!(adopted(&unit(None), None).current, TargetState::Loaded);
    }
}
