//! The way to one running systemd.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet_cluster::systemd::Operation;
use tokio::sync::{Mutex, Semaphore};
use zbus::names::OwnedUniqueName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, ObjectPath, OwnedObjectPath, connection};

use crate::bus::{JobProxy, ManagerProxy, ServiceProxy, UnitProxy};
use crate::error::CallError;

/// How long an answer is waited for: libdbus's own limit. Reloads of systemd, in which it answers nobody,
/// do not count.
const DEADLINE: Duration = Duration::from_secs(25);
/// In how many [`DEADLINE`]s in a row a reload may be under way before the wait ends all the same.
const RELOAD_DEADLINES: u32 = 12;
/// How many calls may be without an answer at once. dbus-daemon allows 128 of a connection unless it is told
/// otherwise, and refuses further ones; the session asks a few of its own.
const CALLS: usize = 96;
/// How many jobs are queued over one connection, see [`Connector::for_job`].
const JOBS: usize = 64;
/// New jobs take the place of older ones that contradict them.
const REPLACE: &str = "replace";

/// Makes connections to the message bus.
#[derive(Clone)]
pub(crate) struct Connector(Arc<dyn Fn() -> connection::Builder<'static> + Send + Sync>);

impl Connector {
    /// By these builders.
    pub(crate) fn new(
        builder: impl Fn() -> connection::Builder<'static> + Send + Sync + 'static,
    ) -> Connector {
        Connector(Arc::new(builder))
    }

    /// A new connection, within the deadline.
    pub(crate) async fn connect(
        &self,
        adapt: impl FnOnce(connection::Builder<'static>) -> connection::Builder<'static>,
    ) -> Result<Connection, CallError> {
        let connecting = tokio::time::timeout(DEADLINE, adapt((self.0)()).build());
        Ok(connecting.await.map_err(|_| CallError::Silent(DEADLINE))??)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

/// A connection, and the unique name that systemd has on the bus now. Calls go to that name, so that none can
/// reach a later systemd whose signals are not subscribed to yet.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    owner: OwnedUniqueName,
    /// Whether systemd has said that it is reloading.
    reloading: AtomicBool,
    calls: Semaphore,
    connector: Connector,
    jobs: Mutex<Option<JobConnection>>,
}

/// A connection that jobs are queued over, and how many more may be.
#[derive(Debug)]
struct JobConnection {
    connection: Connection,
    left: usize,
}

impl Link {
    /// The way to the systemd that is `owner` on the bus.
    pub(crate) fn new(connection: Connection, owner: OwnedUniqueName, connector: Connector) -> Link {
        Link {
            connection,
            owner,
            reloading: AtomicBool::new(false),
            calls: Semaphore::new(CALLS),
            connector,
            jobs: Mutex::new(None),
        }
    }

    /// systemd has said that it begins or has ended a reload.
    pub(crate) fn set_reloading(&self, reloading: bool) {
        self.reloading.store(reloading, Ordering::Relaxed);
    }

    /// The manager object.
    pub(crate) async fn manager(&self) -> Result<ManagerProxy<'_>, CallError> {
        self.manager_over(&self.connection).await
    }

    /// The object of a unit.
    pub(crate) async fn unit<'a>(&'a self, path: &'a ObjectPath<'a>) -> Result<UnitProxy<'a>, CallError> {
        let builder = UnitProxy::builder(&self.connection).destination(self.owner.as_ref()).path(path);
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }

    /// The object of a service.
    pub(crate) async fn service<'a>(
        &'a self,
        path: &'a ObjectPath<'a>,
    ) -> Result<ServiceProxy<'a>, CallError> {
        let builder = ServiceProxy::builder(&self.connection).destination(self.owner.as_ref()).path(path);
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }

    /// The object of a job.
    pub(crate) async fn job<'a>(&'a self, path: &'a ObjectPath<'a>) -> Result<JobProxy<'a>, CallError> {
        let builder = JobProxy::builder(&self.connection).destination(self.owner.as_ref()).path(path);
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }

    /// Makes a call, when it may be made, and waits for its answer, within the deadline.
    pub(crate) async fn answer<T>(
        &self,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, CallError> {
        let _permit = self.calls.acquire().await.map_err(|error| CallError::Away(error.to_string()))?;
        let mut call = pin!(call);
        for _ in 0..RELOAD_DEADLINES {
            match tokio::time::timeout(DEADLINE, &mut call).await {
                Ok(answer) => return Ok(answer?),
                Err(_) if self.reloading.load(Ordering::Relaxed) => {}
                Err(_) => return Err(CallError::Silent(DEADLINE)),
            }
        }
        Err(CallError::Silent(DEADLINE * RELOAD_DEADLINES))
    }

    /// Queues a job.
    pub(crate) async fn queue(&self, name: &str, operation: Operation) -> Result<OwnedObjectPath, CallError> {
        let connection = self.for_job().await?;
        let manager = self.manager_over(&connection).await?;
        match operation {
            Operation::Start => self.answer(manager.start_unit(name, REPLACE)).await,
            Operation::Stop => self.answer(manager.stop_unit(name, REPLACE)).await,
            Operation::Restart => self.answer(manager.restart_unit(name, REPLACE)).await,
        }
    }

    /// The connection to queue the next job over.
    ///
    /// systemd notes with each job which connection has asked for it, and adds a match rule of its own to
    /// the bus for that. The bus allows 512 (`max_match_rules_per_connection`). With one more, by a burst of
    /// starts or by starts that take long, systemd takes itself off the bus until D-Bus is restarted (seen with
    /// version 252). When a connection is closed, systemd removes the rules of its jobs; the jobs go on, and the
    /// signal of their end goes to every subscriber. So each connection asks for a few jobs only.
    async fn for_job(&self) -> Result<Connection, CallError> {
        let mut current = self.jobs.lock().await;
        if let Some(job) = current.as_mut()
            && let Some(left) = job.left.checked_sub(1)
            && !job.connection.is_closed()
        {
            job.left = left;
            return Ok(job.connection.clone());
        }
        // The one before is closed when the last call over it has been answered.
        *current = None;
        let connection = self.connector.connect(|builder| builder).await?;
        *current = Some(JobConnection { connection: connection.clone(), left: JOBS - 1 });
        Ok(connection)
    }

    async fn manager_over<'a>(&'a self, connection: &Connection) -> Result<ManagerProxy<'a>, CallError> {
        let builder = ManagerProxy::builder(connection).destination(self.owner.as_ref());
        Ok(builder.cache_properties(CacheProperties::No).build().await?)
    }
}
