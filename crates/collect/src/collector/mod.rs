//! A plan carried out.

mod failures;
mod inputs;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::{self, Link};
use crate::metrics::{Counters, Metrics};
use crate::plan::{InputUnit, Plan, Settings};
use crate::processor::Shared;
use crate::registry::{FLUSH_INTERVAL, Registry, RegistryError};
use crate::state::{Board, State, States, Status, Unit};
use crate::{input, output};
use failures::Failures;
use inputs::RunningInput;
use outputs::RunningOutput;

/// How long a unit that is to stop may take, before the plan goes on without it.
const STOP_UNIT: Duration = Duration::from_secs(5);

/// How long the end waits for an output that is in trouble and acknowledges nothing.
const UNREACHABLE: Duration = Duration::from_secs(2);

/// A collector cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its positions.
    #[error("the collector cannot use its directory {}", directory.display())]
    Registry {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A task that was started broke down.
    #[error("the collector cannot be started")]
    Broken(#[source] tokio::task::JoinError),
}

/// Whether an input of this `type` can be collected here.
#[must_use]
pub fn handles(kind: &str) -> bool {
    input::definition(kind).is_some()
}

/// Whether there is an output of this `type`.
#[must_use]
pub fn handles_output(kind: &str) -> bool {
    output::KINDS.contains(&kind)
}

/// What is wrong with an output's settings, without running it; `None`: nothing that could be seen so.
#[must_use]
pub fn mistake_of_output(unit: &crate::plan::OutputUnit) -> Option<String> {
    output::build(unit).err().map(|mistake| mistake.to_string())
}

/// Carries out plans, one after the other.
#[derive(Debug)]
pub struct Collector {
    common: Common,
    running: Mutex<Running>,
    /// The tasks of the collector itself: they end last.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What all units share.
#[derive(Clone, Debug)]
struct Common {
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    board: Board,
    counters: Counters,
    machine: Arc<input::Machine>,
    hub: Arc<input::Hub>,
    notifier: Arc<input::Notifier>,
    processors: Arc<Shared>,
}

impl Common {
    fn parts(&self) -> link::Parts {
        link::Parts {
            registry: Arc::clone(&self.registry),
            board: self.board.clone(),
            counters: self.counters.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct Running {
    /// The machine's name, in each event.
    host_name: Arc<str>,
    links: BTreeMap<String, Arc<Link>>,
    outputs: BTreeMap<String, RunningOutput>,
    inputs: BTreeMap<String, RunningInput>,
    failures: Failures,
}

impl Collector {
    /// Opens the positions, and waits for a plan.
    ///
    /// # Errors
    /// [`StartError`]: the directory cannot be used.
    pub async fn start(settings: Settings) -> Result<Collector, StartError> {
        let directory = settings.data.clone();
        let opened = {
            let directory = directory.clone();
            tokio::task::spawn_blocking(move || Registry::open(&directory))
                .await
                .map_err(StartError::Broken)?
        };
        let (registry, warning) = opened.map_err(|source| StartError::Registry { directory, source })?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        let host_name = settings
            .host_name
            .clone()
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let common = Common {
            settings: Arc::new(settings),
            registry: Arc::new(registry),
            board: Board::new(),
            counters: Counters::default(),
            machine: Arc::default(),
            hub: Arc::default(),
            notifier: Arc::default(),
            processors: Arc::default(),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let board = common.board.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { board.publish().await }));
        tasks.spawn(stop.clone().run_until_cancelled_owned(flush(common.clone())));
        let running = Running { host_name: host_name.into(), ..Running::default() };
        Ok(Collector { common, running: Mutex::new(running), tasks, stop })
    }

    /// Calls the machine so from the next plan on: inputs that run under another name are started again by it.
    pub async fn name_host(&self, name: &str) {
        self.running.lock().await.host_name = name.into();
    }

    /// Makes what runs be what the plan says. What is the same goes on untouched; a unit that cannot be built is
    /// *Failed* with its reason, and stops no other.
    pub async fn apply(&self, plan: Plan) {
        let mut running = self.running.lock().await;
        running.failures.keep(&plan);
        self.stop_inputs(&mut running, &plan).await;
        self.apply_outputs(&mut running, &plan).await;
        let streams = plan.inputs.iter().flat_map(inputs::stream_ids).collect();
        let forgotten = self.common.registry.keep(&streams, crate::clock::unix_millis());
        if forgotten > 0 {
            tracing::info!(
                streams = forgotten,
                "forgot how far streams were read that left the policy long ago"
            );
        }
        let mut known = BTreeSet::new();
        for unit in plan.inputs {
            if known.insert(unit.id.clone()) {
                self.start_input(&mut running, unit);
            } else {
                tracing::warn!(id = unit.id, "the policy has an input twice: the first is used");
            }
        }
        drop(running);
        self.common.board.publish_now();
    }

    /// How everything is, told whenever it changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<Arc<States>> {
        self.common.board.subscribe()
    }

    /// What went where until now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.common.counters.snapshot()
    }

    /// Stops the inputs, gives outputs this long for what is on its way, and writes the positions. An output that is
    /// known to be in trouble, and acknowledges nothing, is not waited for that long: its events are on the disk, or
    /// are read again.
    pub async fn stop(&self, grace: Duration) {
        let mut running = self.running.lock().await;
        self.stop_inputs(&mut running, &Plan::default()).await;
        for link in running.links.values() {
            link.outlet().flush();
        }
        let sent = tokio::time::timeout(grace, self.all_sent(&running)).await;
        if !sent.unwrap_or_default() {
            tracing::warn!("events were on their way at the end: they are sent after the next start");
        }
        self.apply_outputs(&mut running, &Plan::default()).await;
        drop(running);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        write_positions(&self.common).await;
        self.common.board.publish_now();
    }

    /// Waits until outputs have settled all that is on its way. False: those that have not cannot now.
    async fn all_sent(&self, running: &Running) -> bool {
        let settled = || {
            let counts = self.common.counters.snapshot();
            let dead = counts.events_dead_lettered + counts.events_kept + counts.events_lost;
            counts.events_acknowledged + dead
        };
        let in_trouble =
            |name: &String| matches!(self.common.board.output(name), Some(State::Degraded | State::Failed));
        let (mut progress, mut since) = (settled(), tokio::time::Instant::now());
        loop {
            let waiting: Vec<&String> = running
                .links
                .iter()
                .filter_map(|(name, link)| (!link.outlet().is_idle()).then_some(name))
                .collect();
            if waiting.is_empty() {
                return true;
            }
            let now = settled();
            if now != progress || !waiting.into_iter().all(in_trouble) {
                (progress, since) = (now, tokio::time::Instant::now());
            } else if since.elapsed() >= UNREACHABLE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends at once, without finishing anything: no event is waited for, no position is written. What a killed process
    /// would do; for tests of what comes after.
    pub async fn abandon(&self) {
        let mut running = self.running.lock().await;
        self.stop.cancel();
        for output in running.outputs.values() {
            output.abandon();
        }
        for link in running.links.values() {
            link.close().await;
        }
        for input in running.inputs.values() {
            input.tasks.close();
            input.tasks.wait().await;
        }
        *running = Running::default();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stops inputs that the plan does not have, or has otherwise.
    async fn stop_inputs(&self, running: &mut Running, plan: &Plan) {
        let wanted: BTreeMap<&str, &InputUnit> =
            plan.inputs.iter().rev().map(|unit| (unit.id.as_str(), unit)).collect();
        let same = |id: &str, input: &RunningInput| {
            wanted
                .get(id)
                .is_some_and(|unit| **unit == input.unit && input.output == outputs::part(plan, &unit.output))
                && input.host_name == running.host_name
        };
        let going: Vec<String> =
            running.inputs.iter().filter(|(id, input)| !same(id, input)).map(|(id, _)| id.clone()).collect();
        let going: Vec<(String, RunningInput)> =
            going.into_iter().filter_map(|id| running.inputs.remove_entry(&id)).collect();
        for (id, input) in &going {
            let again = wanted.contains_key(id.as_str());
            let state = if again { State::Configuring } else { State::Stopping };
            self.common
                .board
                .unit(&Unit::Input(id.clone()), Status::new(state, "stopping what ran until now"));
            input.stop.cancel();
        }
        let deadline = tokio::time::Instant::now() + STOP_UNIT;
        for (id, input) in going {
            input.tasks.close();
            if tokio::time::timeout_at(deadline, input.tasks.wait()).await.is_err() {
                tracing::warn!(id, "an input does not stop; going on without it");
            }
            if !wanted.contains_key(id.as_str()) {
                self.common.board.remove(&Unit::Input(id));
            }
        }
    }
}

/// Writes positions to the disk for as long as the collector runs.
async fn flush(common: Common) {
    let mut interval = tokio::time::interval(FLUSH_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        write_positions(&common).await;
    }
}

async fn write_positions(common: &Common) {
    if !common.registry.is_dirty() {
        return;
    }
    let registry = Arc::clone(&common.registry);
    let problem = match tokio::task::spawn_blocking(move || registry.flush()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Some(format!("{error}: {source}"))
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(problem) = &problem {
        tracing::error!("{problem}");
    }
    common.board.storage("positions", problem.map(|problem| Status::new(State::Degraded, problem)));
}
