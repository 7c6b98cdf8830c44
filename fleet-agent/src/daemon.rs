//! The running agent: from start to stop, enrolled or not.

mod late;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_component::supervisor::Platform;
use fleet_service::drain::{Drain, Drained};
use fleet_service::notify;
use fleet_service::signals::{Signal, Signals};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::agent::{Agent, Context, Ended};
use crate::config::Config;
use crate::control::{Ask, Control, Question, Questions, ServeError, Told};
use crate::enrolment;
use crate::health::Status;
use crate::install::secure_data;
use crate::logs::LogLevel;
use crate::paths::Paths;
use crate::standalone;
use crate::state::{Identity, Progress, SavedPolicy, StateError, StateStore, secure_directory};
use crate::workload::{self, State, Who};

/// What runs has so long to end.
const GRACE: Duration = Duration::from_secs(25);
/// Why an agent does nothing.
const LEFT: &str = "The agent has left its fleet: enroll it again with fleet-agent enroll";
const NEVER: &str = "The agent is not enrolled: run fleet-agent enroll, or put inputs and outputs into its configuration file";

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its data directory cannot be used.
    #[error("the data directory {} cannot be made or secured (--path.data)", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its state cannot be used.
    #[error("the agent's state cannot be used")]
    State(#[source] StateError),
    /// Its socket cannot be opened.
    #[error("the agent cannot be asked anything")]
    Control(#[source] ServeError),
    /// Signals cannot be handled.
    #[error("signals cannot be handled")]
    Signals(#[source] std::io::Error),
}

/// What to do when the agent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Exit,
    /// Start the program again, which may be another one by now.
    StartAgain,
}

/// What the agent is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files lie.
    pub paths: Paths,
    /// What people set on this machine.
    pub config: Config,
    /// What they said beside, for this run.
    pub overrides: Vec<String>,
    /// Its log's level.
    pub log_level: LogLevel,
    /// The file of its own log; `None`: it logs elsewhere.
    pub own_log: Option<PathBuf>,
    /// systemd's credentials.
    pub credentials: Option<PathBuf>,
    /// What its components are to be for.
    pub platform: Platform,
}

/// What was found of the state.
struct Loaded {
    identity: Option<Identity>,
    progress: Progress,
    policy: Option<SavedPolicy>,
    notes: Vec<String>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(options: Options) -> Result<After, DaemonError> {
    let paths = &options.paths;
    let is_for_group = make_directories(paths)?;
    let store =
        StateStore::open(&paths.state(), options.credentials.as_deref()).map_err(DaemonError::State)?;
    let mut signals = Signals::listen().map_err(DaemonError::Signals)?;
    let (control, mut questions) =
        Control::open(&paths.socket(), is_for_group).await.map_err(DaemonError::Control)?;
    let drain = Drain::new();
    drain.spawn("control socket", control.run(drain.token().clone()));
    drain.spawn("watchdog", notify::keep_watchdog(drain.token().clone()));
    let stop = drain.token().clone();
    let wait = async {
        loop {
            match signals.next().await {
                Signal::Terminate | Signal::Interrupt => break,
                Signal::Hangup | Signal::User1 => {}
            }
        }
        notify::stopping("stopping");
        stop.cancel();
        std::future::pending::<()>().await;
    };
    notify::ready("running");
    tracing::info!(version = crate::version::current(), pid = std::process::id(), "fleet-agent is running");
    let outcome = tokio::select! {
        outcome = turn(&options, &store, &mut questions, &drain) => outcome,
        () = wait => Ok(After::Exit),
    };
    match drain.finish(GRACE, &mut signals).await {
        Drained::Done => tracing::info!("fleet-agent has ended"),
        Drained::TimedOut(names) | Drained::Interrupted(names) => {
            tracing::warn!(tasks = names.join(", "), "fleet-agent ended with tasks that were still running");
        }
    }
    outcome
}

/// Makes the directories of what the agent keeps, for its user alone; whether its group may reach the socket.
fn make_directories(paths: &Paths) -> Result<bool, DaemonError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DaemonError::Data { path, source }
    };
    let is_for_group = secure_data(paths).map_err(failed(&paths.data))?;
    // One that was made by an agent before this one, or by a component, may be open to others.
    for path in [paths.collector(), paths.components(), paths.downloads()] {
        if path.is_dir() {
            secure_directory(&path).map_err(failed(&path))?;
        }
    }
    Ok(is_for_group)
}

async fn turn(
    options: &Options,
    store: &StateStore,
    questions: &mut Questions,
    drain: &Drain,
) -> Result<After, DaemonError> {
    loop {
        let Loaded { identity, progress, policy, notes } = load(store).map_err(DaemonError::State)?;
        let Some(identity) = identity else {
            // One that has left a fleet does nothing of its own accord.
            if !progress.unenrolled && has_own_policy(&options.paths, store) {
                return Ok(standalone::run(options, store, notes, questions, drain).await);
            }
            let message = if progress.unenrolled { LEFT } else { NEVER };
            let told = watch::Sender::new(message.to_owned());
            let after = tokio::select! {
                () = late::enroll(options, store, &told) => After::StartAgain,
                after = without_fleet(told.subscribe(), &notes, questions, drain) => after,
            };
            match after {
                After::Exit => return Ok(After::Exit),
                After::StartAgain => continue,
            }
        };
        let who = Who { id: identity.id.clone(), is_standalone: false, platform: options.platform.clone() };
        let context = Context {
            paths: options.paths.clone(),
            store: store.clone(),
            log_level: options.log_level.clone(),
            default_level: if options.config.log_level.is_empty() {
                "info".to_owned()
            } else {
                options.config.log_level.clone()
            },
            own_log: options.own_log.clone(),
            certificate_lifetime: options
                .config
                .certificate_lifetime
                .unwrap_or(crate::fleet_server::LIFETIME),
            upgrade: options.config.upgrade.clone(),
            local: options.config.local.clone(),
            workloads: workload::start(&options.paths, &who, options.config.otelcol.clone()).await,
            notes,
        };
        match Agent::run(context, identity, progress, policy, questions, drain).await {
            Ended::Stopped => return Ok(After::Exit),
            Ended::Restart => return Ok(After::StartAgain),
            Ended::Left => {}
        }
    }
}

/// Whether the configuration file has a policy, and no enrolment is to be made first.
fn has_own_policy(paths: &Paths, store: &StateStore) -> bool {
    let is_delayed = matches!(enrolment::delayed(store), Ok(Some(_)));
    // One that cannot be read is told by who tries to use it.
    !is_delayed && !matches!(standalone::policy(&paths.config_file, 1), Ok(None))
}

fn load(store: &StateStore) -> Result<Loaded, StateError> {
    let mut notes = Vec::new();
    let mut note = |message: Option<String>| {
        if let Some(message) = message {
            tracing::error!("{message}");
            notes.push(message);
        }
    };
    let (identity, message) = store.load(Identity::NAME)?.split();
    note(message);
    let (progress, message) = store.load::<Progress>(Progress::NAME)?.split();
    note(message);
    let (policy, message) = store.load(SavedPolicy::NAME)?.split();
    note(message);
    Ok(Loaded { identity, progress: progress.unwrap_or_default(), policy, notes })
}

/// Waits for an enrolment: the agent does not end, for then it would be started again and again.
async fn without_fleet(
    mut told: watch::Receiver<String>,
    notes: &[String],
    questions: &mut Questions,
    drain: &Drain,
) -> After {
    told.mark_changed();
    let mut message = String::new();
    loop {
        let asked = tokio::select! {
            () = drain.token().cancelled() => return After::Exit,
            Ok(()) = told.changed() => {
                message.clone_from(&told.borrow_and_update());
                tracing::warn!("{message}");
                notify::status(&message);
                continue;
            }
            asked = questions.recv() => asked,
        };
        let Some(Question { ask, answer }) = asked else { return After::Exit };
        let (answered, is_over) = match ask {
            Ask::Status => (Told::Done(json!(status(&message, notes))), false),
            Ask::Inspect | Ask::Components => (Told::Done(Value::Object(Map::new())), false),
            Ask::MayUninstall { .. } => (Told::Done(Value::Null), false),
            Ask::Restart => (Told::Done(Value::Null), true),
            Ask::Diagnostics { .. } | Ask::Upgrade { .. } => (Told::Refused(message.to_owned()), false),
        };
        // Who asked may have gone.
        let _ = answer.send(answered);
        if is_over {
            return After::StartAgain;
        }
    }
}

fn status(message: &str, notes: &[String]) -> Status {
    Status {
        id: String::new(),
        version: crate::version::current().to_owned(),
        pid: std::process::id(),
        state: State::Stopped,
        message: message.to_owned(),
        fleet_state: State::Stopped,
        fleet_message: "Not enrolled".to_owned(),
        policy_id: String::new(),
        policy_revision: None,
        components: Vec::new(),
        notes: notes.to_vec(),
        upgrade_details: None,
    }
}
