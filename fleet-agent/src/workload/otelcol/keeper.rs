//! Sees to it that a collector runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_component::supervisor::foreign::{Foreign, Running, Starter};
use fleet_component::supervisor::{Launcher, LogKeys, LogOrigin};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::health::HealthCheck;
use super::output::Lines;
use super::{PROGRAM, Wanted};
use crate::policy::{COLLECTOR_ID, COLLECTOR_KIND};
use crate::state::{replace, secure_directory};
use crate::workload::{State, States, UnitState};

/// Waits before a collector that has ended is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that ran so long did not end at its start.
const STEADY: Duration = Duration::from_secs(60);
/// It has so long to send what it holds when it is told to stop.
const GRACE: Duration = Duration::from_secs(15);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// It may take so long until it says that it is well.
const START_MAX: Duration = Duration::from_secs(15);

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where the program may be: the first that is there is it.
    pub(super) programs: Vec<PathBuf>,
    /// Its own directory.
    pub(super) directory: PathBuf,
}

/// Sees to it that a collector runs.
#[derive(Debug)]
pub(super) struct Keeper {
    place: Place,
    wanted: watch::Receiver<Wanted>,
    states: watch::Sender<Arc<States>>,
    starter: Option<Starter>,
    lines: Arc<Lines>,
}

/// Why one does not run any more.
enum Ended {
    /// Another one is wanted, or none.
    Changed,
    /// It failed.
    Failed(String),
}

impl Keeper {
    pub(super) fn new(
        place: Place,
        wanted: watch::Receiver<Wanted>,
        states: watch::Sender<Arc<States>>,
    ) -> Keeper {
        Keeper { place, wanted, states, starter: None, lines: Arc::default() }
    }

    /// Runs until nobody can want anything any more.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let Some(config) = wanted else {
                self.states.send_replace(Arc::default());
                if self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let began = Instant::now();
            match self.run_one(&config).await {
                Ended::Changed => pause = FIRST_PAUSE,
                Ended::Failed(reason) => {
                    if began.elapsed() >= STEADY {
                        pause = FIRST_PAUSE;
                    }
                    tracing::warn!(reason, ?pause, "the OpenTelemetry collector does not run");
                    self.tell(State::Failed, reason);
                    tokio::select! {
                        changed = self.wanted.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            pause = FIRST_PAUSE;
                        }
                        () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    }
                }
            }
        }
    }

    /// Runs a collector to its end.
    async fn run_one(&mut self, config: &Map<String, Value>) -> Ended {
        let mut running = match self.start(config).await {
            Ok(running) => running,
            Err(reason) => return Ended::Failed(reason),
        };
        tracing::info!(pid = running.pid(), "the OpenTelemetry collector is started");
        let check = HealthCheck::of(config);
        let began = Instant::now();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once: it is given the time until the second.
        look.tick().await;
        loop {
            tokio::select! {
                exit = running.wait() => return Ended::Failed(self.describe(running.pid(), exit)),
                _ = self.wanted.changed() => {
                    stop(&mut running).await;
                    return Ended::Changed;
                }
                _ = look.tick() => {
                    let (state, message) = look_at(running.pid(), check.as_ref(), began).await;
                    self.tell(state, message);
                }
            }
        }
    }

    async fn start(&mut self, config: &Map<String, Value>) -> Result<Running, String> {
        let found = self.place.programs.iter().find(|program| program.is_file());
        let program = found.cloned().ok_or_else(|| {
            let looked: Vec<String> = self.place.programs.iter().map(|one| one.display().to_string()).collect();
            format!(
                "the policy is for an OpenTelemetry collector, and there is none: put one at {} (or set agent.otelcol.path)",
                looked.join(" or ")
            )
        })?;
        let directory = self.place.directory.clone();
        // JSON is YAML, too, and leaves nothing to guess.
        let text = serde_json::to_vec_pretty(config).map_err(|error| error.to_string())?;
        let file = directory.join("otelcol.yaml");
        let written = tokio::task::spawn_blocking({
            let (directory, file) = (directory.clone(), file.clone());
            move || secure_directory(&directory).and_then(|()| replace(&file, &text))
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| format!("the collector's configuration cannot be written: {error}"))?;
        self.lines.take_failure();
        let started = self.start_program(&program, &directory, &file).await;
        started.map_err(|error| format!("{} cannot be started: {error}", program.display()))
    }

    async fn start_program(&mut self, program: &Path, directory: &Path, file: &Path) -> io::Result<Running> {
        let starter = match &mut self.starter {
            Some(starter) => starter,
            none => none.insert(Starter::new(&Launcher::default()).await?),
        };
        let mut argument = std::ffi::OsString::from("--config=");
        argument.push(file);
        let keys = LogKeys {
            level_key: "level".to_owned(),
            time_key: "ts".to_owned(),
            message_key: "msg".to_owned(),
            ..LogKeys::default()
        };
        let foreign = Foreign {
            binary: program,
            arguments: vec![argument],
            directory,
            origin: LogOrigin {
                component: COLLECTOR_ID.to_owned(),
                kind: COLLECTOR_KIND.to_owned(),
                binary: PROGRAM.to_owned(),
            },
            keys,
            logs: Arc::clone(&self.lines) as _,
        };
        starter.start(foreign).await
    }

    fn describe(&self, pid: u32, exit: io::Result<std::process::ExitStatus>) -> String {
        let how = match exit {
            Ok(status) => status.to_string(),
            Err(error) => format!("it cannot be waited for: {error}"),
        };
        let failure = self.lines.take_failure();
        let words = if failure.is_empty() { String::new() } else { format!(": {failure}") };
        format!("the collector (process {pid}) has ended, {how}{words}")
    }

    fn tell(&self, state: State, message: String) {
        let unit = UnitState::new(state, message);
        self.states.send_if_modified(|states| {
            let is_news = states.inputs.get(COLLECTOR_ID) != Some(&unit);
            if is_news {
                let inputs = [(COLLECTOR_ID.to_owned(), unit)].into();
                *states = Arc::new(States { inputs, ..States::default() });
            }
            is_news
        });
    }
}

async fn look_at(pid: u32, check: Option<&HealthCheck>, began: Instant) -> (State, String) {
    let Some(check) = check else {
        return (
            State::Healthy,
            format!("running as process {pid}; it has no extension health_check to ask"),
        );
    };
    match check.ask().await {
        Ok(()) => (State::Healthy, format!("running as process {pid}")),
        Err(_) if began.elapsed() < START_MAX => (State::Starting, format!("starting as process {pid}")),
        Err(problem) => (State::Degraded, format!("running as process {pid}; {problem}")),
    }
}

async fn stop(running: &mut Running) {
    running.terminate();
    if timeout(GRACE, running.wait()).await.is_err() {
        tracing::warn!(
            pid = running.pid(),
            "the OpenTelemetry collector does not stop in time: it is killed"
        );
        running.kill();
        // One that cannot be killed waits in the kernel: nobody can wait for that.
        let _ = timeout(GRACE, running.wait()).await;
    }
}
