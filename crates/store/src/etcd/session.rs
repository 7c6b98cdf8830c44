//! One call to etcd, from the wait for a connection to the answer: its time bound, the login, and the second
//! try where it is certain to be harmless.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, KvClient, WatchClient};
use futures_util::FutureExt;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::util::BoxCloneSyncService;

use super::connection::Connection;
use super::failure::{Failure, Remedy, What};
use super::options::Credentials;
use super::transport::{Transport, Wire};
use crate::error::{Error, ErrorKind};

/// The largest message taken from etcd: a watch's backlog can be large. What is larger is asked for in parts.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// How many calls may be under way at once; more wait.
const MAX_CALLS: usize = 128;

/// Whether a call may be done twice without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing, or nothing more the second time.
    Idempotent,
    /// It must not be done a second time unless the first is certainly not done.
    Once,
}

/// A client with all that its calls share.
pub(super) struct Session {
    transport: Arc<Transport>,
    client: Client,
    credentials: Option<Credentials>,
    timeout: Duration,
    calls: Semaphore,
    /// Counts logins: 0 is before the first.
    login: AtomicU64,
    logging_in: Mutex<()>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that has not connected yet.
    pub(super) fn new(
        transport: Arc<Transport>,
        credentials: Option<Credentials>,
        timeout: Duration,
    ) -> Result<Session, Error> {
        let channel = Channel::Custom(BoxCloneSyncService::new(Wire(Arc::clone(&transport))));
        // A member that lost its leader must say so instead of waiting for one: there are other members.
        let options = ConnectOptions::new().with_require_leader(true);
        // Without a user to log in there is nothing to wait for.
        let client = Client::from_channel(channel, Some(options)).now_or_never();
        let client = match client {
            Some(Ok(client)) => client,
            Some(Err(error)) => {
                return Err(Error::caused_by(ErrorKind::Invalid, "set up the etcd client", error));
            }
            None => return Err(Error::new(ErrorKind::Invalid, "set up the etcd client: it waits")),
        };
        Ok(Session {
            transport,
            client,
            credentials,
            timeout,
            calls: Semaphore::new(MAX_CALLS),
            login: AtomicU64::new(0),
            logging_in: Mutex::new(()),
        })
    }

    /// Calls of keys and transactions.
    pub(super) fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(MAX_MESSAGE)
    }

    /// Watches.
    pub(super) fn watches(&self) -> WatchClient {
        self.client.watch_client().max_decoding_message_size(MAX_MESSAGE)
    }

    /// Everything else.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Does one call. `operation` starts it, once for each try.
    pub(super) async fn call<T, F>(&self, effect: Effect, operation: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.timeout;
        let _permit = match timeout_at(deadline, self.calls.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(Failure::busy()),
        };
        let mut tries = self.transport.len();
        let mut may_login = self.credentials.is_some();
        loop {
            let (connection, login) = self.connected(deadline).await?;
            let failure = match self.attempt(&connection, deadline, operation()).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let harmless = failure.not_done || effect == Effect::Idempotent;
            let again = match failure.remedy {
                Remedy::None => false,
                Remedy::Again => harmless,
                Remedy::AnotherMember => self.transport.prefer_another(&connection) && harmless,
                Remedy::Login => {
                    let first = std::mem::take(&mut may_login);
                    if first {
                        self.renew_login(&connection, deadline, login).await?;
                    }
                    first
                }
            };
            if !again || tries == 0 || Instant::now() >= deadline {
                return Err(failure);
            }
            tries -= 1;
        }
    }

    /// A connection, logged in if there is a user, and the count of logins it was made with.
    async fn connected(&self, deadline: Instant) -> Result<(Arc<Connection>, u64), Failure> {
        let connection = match timeout_at(deadline, self.transport.ready()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(Failure::connect(error)),
            Err(_) => return Err(Failure::no_connection(self.timeout)),
        };
        let login = self.login.load(Ordering::Acquire);
        if login == 0 && self.credentials.is_some() {
            self.renew_login(&connection, deadline, 0).await?;
        }
        Ok((connection, self.login.load(Ordering::Acquire)))
    }

    /// Logs in, unless another call has done so since `stale`.
    async fn renew_login(
        &self,
        connection: &Arc<Connection>,
        deadline: Instant,
        stale: u64,
    ) -> Result<(), Failure> {
        let Some(credentials) = self.credentials.clone() else { return Ok(()) };
        let Ok(_guard) = timeout_at(deadline, self.logging_in.lock()).await else {
            return Err(Failure::no_connection(self.timeout));
        };
        if self.login.load(Ordering::Acquire) != stale {
            return Ok(());
        }
        let mut client = self.client.clone();
        let user = (credentials.username, credentials.password);
        let result = self.attempt(connection, deadline, client.update_user(Some(user))).await;
        match result {
            // A server without users takes every call without a token.
            Err(failure) if failure.what != What::AuthNotEnabled => {
                // Whatever became of the login, the call behind it has not been sent.
                return Err(failure.certainly_not_done());
            }
            Ok(()) | Err(_) => {}
        }
        self.login.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// One try, until the deadline. A member that is silent for two fifths of the time is put to the question
    /// for as long again, so that before the deadline it is known whether to leave it.
    async fn attempt<T>(
        &self,
        connection: &Arc<Connection>,
        deadline: Instant,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let patience = deadline.saturating_duration_since(started) * 2 / 5;
        let mut call = std::pin::pin!(call);
        let early = timeout_at(started + patience, &mut call).await;
        let result = match early {
            Ok(result) => result,
            Err(_) => {
                if !connection.heard_since(started) {
                    self.transport.suspect(connection, patience);
                }
                tokio::select! {
                    result = call => result,
                    () = sleep_until(deadline) => {
                        self.transport.timed_out(connection);
                        return Err(Failure::timeout(self.timeout));
                    }
                }
            }
        };
        connection.reset_timeouts();
        result.map_err(Failure::from)
    }

    /// Logs in anew: for a stream that was refused inside of itself.
    pub(super) async fn reauthenticate(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.timeout;
        let (connection, login) = self.connected(deadline).await?;
        self.renew_login(&connection, deadline, login).await
    }
}
