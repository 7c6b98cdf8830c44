//! A component that is a service of the system: the agent has it installed and removed, and it connects by itself.
//!
//! It lives without the agent, too: when that ends, it goes on, and comes to the agent's successor for new credentials.
//! Nothing of it is ever killed; one that does not check in is failed.

mod door;
mod ledger;
mod life;
mod log_file;
mod operation;
mod place;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use async_trait::async_trait;
use prost::Message;
use rustix::process::geteuid;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use super::logs::LogReader;
use super::runtime::{Context, Leave, Runtime, Turn, Units, until};
use super::spec::{LogKeys, Operation, ServiceSpec};
use crate::unit::State;
use crate::wire;
use door::{Door, Grant};
pub(super) use ledger::left_behind;
use life::{Act, Life, Outcome};
use operation::Running;
use place::Place;

/// How long an operation that is under way may take when the agent ends.
pub(super) const GRACE: Duration = Duration::from_secs(25);

/// One service.
pub(super) struct ServiceRuntime {
    context: Context,
    spec: ServiceSpec,
    reader: LogReader,
    life: Life,
    place: Place,
    door: Option<Door>,
    operation: Option<Running>,
    pid: Option<u32>,
    /// What it writes is read until then.
    _reading: DropGuard,
}

impl ServiceRuntime {
    pub(super) fn new(context: Context, spec: ServiceSpec) -> ServiceRuntime {
        let reader = context.reader(LogKeys::default());
        let end = CancellationToken::new();
        if !spec.log.path.is_empty() {
            let reading = log_file::follow(spec.log.path.clone(), reader.clone());
            tokio::spawn(end.clone().run_until_cancelled_owned(reading));
        }
        ServiceRuntime {
            life: Life::new(&spec, Instant::now()),
            place: Place::of(&spec, &context.shared.settings.sockets),
            door: None,
            operation: None,
            pid: None,
            _reading: end.drop_guard(),
            context,
            spec,
            reader,
        }
    }

    async fn carry_out(&mut self, act: Act) -> Option<Turn> {
        match act {
            Act::Begin(operation) => self.begin(operation).await,
            Act::Skip(operation, outcome) => {
                let reason = format!("its spec file has no operations.{operation}");
                self.after(operation, outcome, &reason)
            }
            Act::Missed(misses) => {
                let message = format!("Degraded: the service missed {misses} check-in(s)");
                Some(Turn::new(State::Degraded, message, Units::AsTold))
            }
            Act::Lost(misses) => {
                warn!(component = self.context.named.id, misses, "a service does not check in");
                let message = format!(
                    "Failed: the service missed {misses} check-ins: see whether it runs, and comes to {}",
                    self.place
                );
                Some(Turn::new(State::Failed, message, Units::Same))
            }
            Act::Abort => {
                self.operation.iter_mut().for_each(Running::abort);
                None
            }
        }
    }

    async fn begin(&mut self, operation: Operation) -> Option<Turn> {
        if operation != Operation::Uninstall
            && let Err(turn) = self.open_door().await
        {
            return Some(turn);
        }
        if operation == Operation::Install {
            self.remember();
        }
        let begun = operation::begin(operation, &self.spec, &self.context).await;
        match begun {
            Ok(mut running) => {
                info!(
                    component = self.context.named.id,
                    pid = running.pid(),
                    "{operation} of a service begins"
                );
                running.read(&self.reader);
                self.operation = Some(running);
            }
            Err(error) => {
                let outcome = self.life.finished(operation, false, Instant::now());
                return self.after(operation, outcome, &format!("cannot be begun: {error}"));
            }
        }
        match operation {
            Operation::Uninstall => {
                let message = "Stopping: the service is uninstalled".to_owned();
                Some(Turn::new(State::Stopping, message, Units::Same))
            }
            // What has failed before is told until it does not any more.
            _ if self.life.has_failed() => None,
            Operation::Install => {
                let message = "Starting: the service is installed".to_owned();
                Some(Turn::new(State::Starting, message, Units::AsTold))
            }
            Operation::Check => {
                let message = "Starting: the service is checked".to_owned();
                Some(Turn::new(State::Starting, message, Units::AsTold))
            }
        }
    }

    /// It is there before the service is: that may come as soon as it is installed.
    async fn open_door(&mut self) -> Result<(), Turn> {
        if self.door.is_some() {
            return Ok(());
        }
        let (shared, endpoint) = (Arc::clone(&self.context.shared), Arc::clone(&self.context.endpoint));
        // The agent may have become another one since it was opened: it has an id from its enrolment on.
        let grant: Grant = Arc::new(move || shared.start_up(&endpoint.identity).encode_to_vec());
        match Door::open(&self.place, &self.context.named.id, grant).await {
            Ok(door) => {
                self.door = Some(door);
                Ok(())
            }
            Err(error) => {
                let pause = self.life.put_off(Instant::now());
                let why = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                warn!(
                    component = self.context.named.id,
                    error = &error as &dyn std::error::Error,
                    ?pause,
                    "a service cannot be met"
                );
                Err(Turn::new(State::Failed, format!("Failed: {why}"), Units::Same))
            }
        }
    }

    fn finished(&mut self, result: &Result<(), String>) -> Option<Turn> {
        let operation = self.operation.take()?.operation();
        let outcome = self.life.finished(operation, result.is_ok(), Instant::now());
        if operation == Operation::Uninstall && result.is_ok() {
            ledger::forget(&self.context.shared.settings.home, &self.context.named.id);
        }
        let reason = match result {
            Ok(()) => "succeeded",
            Err(reason) => reason,
        };
        info!(component = self.context.named.id, "{operation} of a service {reason}");
        self.after(operation, outcome, reason)
    }

    fn after(&mut self, operation: Operation, outcome: Outcome, reason: &str) -> Option<Turn> {
        match outcome {
            Outcome::GoesOn => None,
            Outcome::Serves => {
                self.remember();
                Some(if self.life.checked_in_lately(Instant::now()) {
                    Turn::new(State::Healthy, self.healthy(), Units::AsTold)
                } else {
                    let message = format!("Starting: the service is to come to {}", self.place);
                    Turn::new(State::Starting, message, Units::AsTold)
                })
            }
            Outcome::Failed(pause) => {
                warn!(
                    component = self.context.named.id,
                    ?pause,
                    "{operation} of a service {reason}: trying again"
                );
                let message = format!("Failed: {operation} of the service {reason}");
                Some(Turn::new(State::Failed, message, Units::Same))
            }
            Outcome::GaveUp => {
                error!(
                    component = self.context.named.id,
                    "a service is left behind: {operation} of it {reason}"
                );
                None
            }
        }
    }

    /// An agent that ends before the service leaves the policy must not leave it behind.
    fn remember(&self) {
        let home = &self.context.shared.settings.home;
        if let Err(error) = ledger::remember(home, &self.context.named, &self.context.program, &self.spec) {
            warn!(component = self.context.named.id, %error, "a service is not remembered: an agent after this one may leave it behind");
        }
    }

    fn healthy(&self) -> String {
        match self.pid {
            Some(pid) => format!("Healthy: communicating with pid '{pid}'"),
            None => "Healthy: communicating with the service".to_owned(),
        }
    }
}

/// Whether nobody but root and this process's user can have a file or folder be something else.
fn is_ours(metadata: &Metadata) -> bool {
    const WRITABLE_FOR_OTHERS: u32 = 0o022;
    let is_owner_good = [0, geteuid().as_raw()].contains(&metadata.uid());
    is_owner_good && metadata.mode() & WRITABLE_FOR_OTHERS == 0
}

#[async_trait]
impl Runtime for ServiceRuntime {
    async fn act(&mut self) -> Option<Turn> {
        while let Some(act) = self.life.poll(Instant::now()) {
            if let Some(turn) = self.carry_out(act).await {
                return Some(turn);
            }
        }
        None
    }

    async fn wait(&mut self) -> Option<Turn> {
        let result = tokio::select! {
            result = operation::end(self.operation.as_mut()) => result,
            () = until(self.life.deadline()) => return None,
        };
        self.finished(&result)
    }

    fn checked_in(&mut self, observed: &wire::Observed) -> Option<String> {
        self.life.checked_in(Instant::now());
        self.pid = u32::try_from(observed.pid).ok().filter(|pid| *pid > 0);
        self.life.is_serving().then(|| self.healthy())
    }

    fn is_up(&self) -> bool {
        !self.life.is_leaving()
    }

    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn stop(&mut self, leave: Leave, grace: Duration) {
        self.door = None;
        self.pid = None;
        self.life.stop(leave, Instant::now(), grace);
    }

    fn is_ended(&self) -> bool {
        self.life.is_ended()
    }
}
