//! A collector that cannot be started yet: its directory is in the way, not mounted, or the disk is full.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use fleet_collect::Settings;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::collector::Collecting;
use super::{Common, State, States, UnitState, Workload};
use crate::fleet::Action;
use crate::policy::{Input, Output};

/// It is tried again this often.
const PAUSE: Duration = Duration::from_secs(10);

/// Fails the inputs of a collector until that can be started, and is that collector from then on.
#[derive(Debug)]
pub(super) struct Unavailable {
    reason: String,
    states: watch::Sender<Arc<States>>,
    current: Mutex<Current>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Current {
    /// What was asked for last, for when there is a collector.
    wanted: (Vec<Input>, Vec<Output>),
    common: Common,
    collecting: Option<Arc<Collecting>>,
}

impl Unavailable {
    pub(super) fn new(settings: Settings, reason: String) -> Arc<Unavailable> {
        let unavailable = Arc::new(Unavailable {
            reason,
            states: watch::Sender::new(Arc::default()),
            current: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let stop = unavailable.stop.clone();
        let trying = try_again(Arc::downgrade(&unavailable), settings);
        tokio::spawn(async move { stop.run_until_cancelled(trying).await });
        unavailable
    }

    async fn collecting(&self) -> Option<Arc<Collecting>> {
        self.current.lock().await.collecting.clone()
    }
}

/// Starts the collector as soon as that can be done, and passes on how it is.
async fn try_again(unavailable: Weak<Unavailable>, settings: Settings) {
    let collecting = loop {
        tokio::time::sleep(PAUSE).await;
        match Collecting::start(settings.clone()).await {
            Ok(collecting) => break collecting,
            Err(reason) => tracing::debug!(reason, "the collector cannot be started yet"),
        }
    };
    let mut told = collecting.states();
    {
        let Some(unavailable) = unavailable.upgrade() else { return };
        let mut current = unavailable.current.lock().await;
        let (inputs, outputs) = std::mem::take(&mut current.wanted);
        collecting.hear(&current.common).await;
        collecting.apply(inputs, outputs).await;
        current.collecting = Some(collecting);
        tracing::info!("the collector is started");
    }
    loop {
        let now = Arc::clone(&told.borrow_and_update());
        let Some(unavailable) = unavailable.upgrade() else { return };
        unavailable.states.send_replace(now);
        drop(unavailable);
        if told.changed().await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Workload for Unavailable {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn takes(&self, kind: &str) -> bool {
        fleet_collect::handles(kind)
    }

    async fn hear(&self, common: &Common) {
        let mut current = self.current.lock().await;
        current.common.clone_from(common);
        if let Some(collecting) = &current.collecting {
            collecting.hear(common).await;
        }
    }

    async fn apply(&self, inputs: Vec<Input>, outputs: Vec<Output>) {
        let mut current = self.current.lock().await;
        if let Some(collecting) = &current.collecting {
            return collecting.apply(inputs, outputs).await;
        }
        let failed = |input: &Input| (input.id.clone(), UnitState::new(State::Failed, self.reason.clone()));
        let states = States { inputs: inputs.iter().map(failed).collect(), ..States::default() };
        current.wanted = (inputs, outputs);
        self.states.send_replace(Arc::new(states));
    }

    fn states(&self) -> watch::Receiver<Arc<States>> {
        self.states.subscribe()
    }

    async fn act(&self, action: &Action) -> Result<Value, String> {
        match self.collecting().await {
            Some(collecting) => collecting.act(action).await,
            None => Err(self.reason.clone()),
        }
    }

    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)> {
        match self.collecting().await {
            Some(collecting) => collecting.diagnostics().await,
            None => Vec::new(),
        }
    }

    fn metrics(&self) -> String {
        // Whoever asks must not wait: one that is just being started has nothing to tell.
        let current = self.current.try_lock().ok();
        current.and_then(|current| Some(current.collecting.as_ref()?.metrics())).unwrap_or_default()
    }

    async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        if let Some(collecting) = self.collecting().await {
            collecting.stop(grace).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet_collect::AgentFacts;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_was_in_the_way_keeps_nobody_from_collecting_once_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("collect");
        std::fs::write(&data, "in the way").unwrap();
        let agent = AgentFacts {
            id: "a".to_owned(),
            version: "9.6.0".to_owned(),
            name: "here".to_owned(),
            ephemeral_id: "e".to_owned(),
        };
        let settings = Settings { data: data.clone(), agent, host_name: Some("here".to_owned()) };
        let reason = Collecting::start(settings.clone()).await.unwrap_err();
        tokio::time::pause();
        let unavailable = Unavailable::new(settings, reason);
        let config = json!({"streams": [{"id": "s", "paths": ["/no/such/*.log"]}]});
        let input = Input {
            id: "lines".to_owned(),
            kind: "filestream".to_owned(),
            output: "default".to_owned(),
            config: config.as_object().unwrap().clone(),
            own_output: None,
        };
        let console = json!({"path": directory.path(), "filename": "out"});
        let output = Output {
            name: "default".to_owned(),
            kind: "file".to_owned(),
            config: console.as_object().unwrap().clone(),
        };
        unavailable.apply(vec![input], vec![output]).await;
        let mut states = unavailable.states();
        assert_eq!(states.borrow_and_update().inputs["lines"].state, State::Failed);
        std::fs::remove_file(&data).unwrap();
        let well =
            |states: &Arc<States>| states.inputs.get("lines").is_some_and(|unit| unit.state != State::Failed);
        let waited = tokio::time::timeout(Duration::from_secs(600), states.wait_for(well)).await;
        assert!(waited.is_ok_and(|found| found.is_ok()), "{:?}", unavailable.states().borrow());
        unavailable.stop(Duration::ZERO).await;
    }
}
