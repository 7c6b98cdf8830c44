//! An OpenTelemetry collector as a component: the sections of the policy that are for one become its configuration.
//!
//! The program is not ours. It lies in the folder of components, or where the configuration or the environment says;
//! it is started with `--config`, watched, started again when it ends, and started anew when its sections change.

mod health;
mod keeper;
mod output;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{State, States, UnitState, Workload};
use crate::fleet::Action;
use crate::paths::Paths;
use crate::policy::{COLLECTOR_KIND, Input, Output};
use keeper::{Keeper, Place};

/// The name of the program.
pub(super) const PROGRAM: &str = "otelcol";
/// The variable that says where it is.
const VARIABLE: &str = "FLEET_AGENT_OTELCOL";

/// What is wanted of the collector.
type Wanted = Option<Arc<Map<String, Value>>>;

/// Runs a collector. Nothing is started before a policy has sections for one.
#[derive(Debug)]
pub(super) struct Otelcol {
    place: Place,
    wanted: watch::Sender<Wanted>,
    states: watch::Sender<Arc<States>>,
    keeper: OnceCell<AbortOnDropHandle<()>>,
    token: CancellationToken,
}

impl Otelcol {
    /// `given`: where the configuration says that the program is. `folders`: where it is looked for otherwise.
    pub(super) fn new(paths: &Paths, given: Option<PathBuf>, folders: Vec<PathBuf>) -> Otelcol {
        let given = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from).or(given);
        let programs = match given {
            Some(program) => vec![program],
            None => folders.into_iter().map(|folder| folder.join(PROGRAM)).collect(),
        };
        Otelcol {
            place: Place { programs, directory: paths.data.join(PROGRAM) },
            wanted: watch::Sender::new(None),
            states: watch::Sender::new(Arc::default()),
            keeper: OnceCell::new(),
            token: CancellationToken::new(),
        }
    }
}

#[async_trait]
impl Workload for Otelcol {
    fn name(&self) -> &'static str {
        PROGRAM
    }

    fn takes(&self, kind: &str) -> bool {
        kind == COLLECTOR_KIND
    }

    async fn apply(&self, inputs: Vec<Input>, _outputs: Vec<Output>) {
        let wanted = inputs.into_iter().next();
        if wanted.is_none() && self.keeper.get().is_none() {
            return;
        }
        if let Some(input) = &wanted {
            // Whoever asks right after this sees that it is on its way.
            self.states.send_if_modified(|states| {
                let is_new = !states.inputs.contains_key(&input.id);
                if is_new {
                    let starting = UnitState::new(State::Starting, "Starting");
                    let inputs = [(input.id.clone(), starting)].into();
                    *states = Arc::new(States { inputs, ..States::default() });
                }
                is_new
            });
        }
        let config = wanted.map(|input| Arc::new(input.config));
        self.wanted.send_if_modified(|before| {
            let is_other = *before != config;
            *before = config;
            is_other
        });
        self.keeper
            .get_or_init(async || {
                let keeper = Keeper::new(self.place.clone(), self.wanted.subscribe(), self.states.clone());
                let run = self.token.clone().run_until_cancelled_owned(keeper.run());
                AbortOnDropHandle::new(tokio::spawn(async move {
                    run.await;
                }))
            })
            .await;
    }

    fn states(&self) -> watch::Receiver<Arc<States>> {
        self.states.subscribe()
    }

    async fn act(&self, _action: &Action) -> Result<Value, String> {
        Err("an OpenTelemetry collector takes no actions".to_owned())
    }

    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)> {
        let Some(config) = self.wanted.borrow().clone() else { return Vec::new() };
        let shown = crate::policy::Redactor::of(&config).policy(&config);
        vec![("otelcol.yaml".to_owned(), crate::diagnostics::yaml(&Value::Object(shown)))]
    }

    fn metrics(&self) -> String {
        String::new()
    }

    async fn stop(&self, grace: Duration) {
        self.wanted.send_replace(None);
        if self.keeper.get().is_some() {
            let mut states = self.states.subscribe();
            // When the time is over, it is killed with the task.
            let _ = tokio::time::timeout(grace, states.wait_for(|states| states.inputs.is_empty())).await;
        }
        self.token.cancel();
    }
}
