//! How units behave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_unit::UnitName;
use tokio::sync::watch;

/// What becomes of a call or a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    #[default]
    Works,
    /// It is refused, or fails.
    Fails,
    /// Nothing happens, until a time-out.
    Hangs,
}

/// What a unit's process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// It runs until it is stopped.
    #[default]
    Service,
    /// It does its work while it starts, and ends.
    Oneshot,
}

/// How a unit behaves, on every machine.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What its process does.
    pub kind: Kind,
    /// How long it takes to start.
    pub starting: Duration,
    /// How long it takes to stop.
    pub stopping: Duration,
    /// What becomes of its installation.
    pub install: Outcome,
    /// What becomes of its removal.
    pub uninstall: Outcome,
    /// What becomes of a start: a failing one leaves it `failed`.
    pub start: Outcome,
    /// What becomes of a stop: a failing one leaves it running.
    pub stop: Outcome,
}

/// The scripts of all units. Clones are the same scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    by_unit: Arc<watch::Sender<BTreeMap<UnitName, Script>>>,
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts { by_unit: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }
}

impl Scripts {
    /// From now on a unit behaves like this.
    pub fn set(&self, unit: &UnitName, script: Script) {
        self.by_unit.send_modify(|scripts| {
            scripts.insert(unit.clone(), script);
        });
    }

    /// From now on every call and every job works.
    pub fn mend(&self) {
        self.by_unit.send_modify(|scripts| {
            for script in scripts.values_mut() {
                let Script { kind, starting, stopping, .. } = script.clone();
                *script = Script { kind, starting, stopping, ..Script::default() };
            }
        });
    }

    /// How a unit behaves; one without a script works at once.
    pub fn of(&self, unit: &UnitName) -> Script {
        self.by_unit.borrow().get(unit).cloned().unwrap_or_default()
    }

    /// Waits until a unit's script is like this.
    pub(crate) async fn wait(&self, unit: &UnitName, like: impl Fn(&Script) -> bool) {
        let mut scripts = self.by_unit.subscribe();
        // The sender lives as long as `self`.
        let _ = scripts.wait_for(|scripts| scripts.get(unit).is_none_or(&like)).await;
    }
}
