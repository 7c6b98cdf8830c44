//! The one writer: a thread that takes what is waiting, does it in one transaction, and answers when the
//! disk has it. It also ends leases and forgets old history.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::apply::{Batch, Held, Memory, from_revision};
use super::feed::{Event, Feed};
use super::schema::{self, Lock};
use crate::contract::{Action, Collection, Lease, LeaseId, Revision, Write};
use crate::error::{Error, ErrorKind, RenewError, WriteError};
use crate::samples::Samples;

/// How much history is kept for watches and pages, and how often the rest is forgotten.
const KEEP: Duration = Duration::from_secs(600);
const COMPACT_EVERY: Duration = Duration::from_secs(30);

/// How many old versions go at once: a write that comes meanwhile does not wait long.
const FORGET_CHUNK: usize = 500;

/// What one transaction takes at most.
const MAX_COMMANDS: usize = 512;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What callers ask of the writer.
pub(super) enum Request {
    Write { collection: i64, writes: Vec<Write>, while_held: Option<LeaseId> },
    Register(&'static Collection),
    Grant(Duration),
    Renew(LeaseId),
    Revoke(LeaseId),
    Compact(Duration),
}

/// What the writer answers.
pub(super) enum Answer {
    Written(Vec<Result<Revision, WriteError>>),
    Registered(i64),
    Granted(Lease),
    Renewed(Result<(), RenewError>),
    Done,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Whether it may have been done all the same.
    pub(super) unknown: bool,
    pub(super) kind: ErrorKind,
    pub(super) cause: Arc<rusqlite::Error>,
}

impl Refusal {
    /// As an error of the operation `of`.
    pub(super) fn into_error(self, of: impl Into<String>) -> Error {
        Error::caused_by(self.kind, of, self.cause)
    }
}

/// A request with the place in the queue that it holds until it is answered.
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer, Refusal>>,
    pub(super) place: OwnedSemaphorePermit,
}

impl Command {
    fn bytes(&self) -> usize {
        let Request::Write { writes, .. } = &self.request else { return 0 };
        let bytes = |write: &Write| match &write.action {
            Action::Put { body, .. } => body.len(),
            Action::Delete => 0,
        };
        writes.iter().map(bytes).sum()
    }
}

/// The writer's state. Ends when the queue's other end is dropped.
pub(super) struct Writer {
    connection: Connection,
    memory: Memory,
    samples: Samples,
    /// Versions up to here wait to be removed.
    forgetting: bool,
    next_compaction: Instant,
    feed: Feed,
    _lock: Lock,
}

impl Writer {
    pub(super) fn new(connection: Connection, lock: Lock, feed: Feed) -> rusqlite::Result<Writer> {
        let mut memory = Memory::default();
        memory.load(&connection, Instant::now())?;
        Ok(Writer {
            connection,
            memory,
            samples: Samples::default(),
            // Whatever the last run left over.
            forgetting: true,
            next_compaction: Instant::now(),
            feed,
            _lock: lock,
        })
    }

    /// Works until there is nobody left to work for.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let first = match queue.recv_timeout(self.wait()) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut commands: Vec<Command> = Vec::new();
            let mut bytes = 0;
            let mut next = first;
            while let Some(command) = next.take() {
                bytes += command.bytes();
                commands.push(command);
                if commands.len() < MAX_COMMANDS && bytes < MAX_BYTES {
                    next = queue.try_recv().ok();
                }
            }
            self.serve(commands);
            self.keep_house();
        }
    }

    /// How long nothing is to be done by itself.
    fn wait(&self) -> Duration {
        if self.forgetting {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let lease = self.memory.leases.values().map(|held| held.ends).min();
        let next = lease.map_or(self.next_compaction, |lease| lease.min(self.next_compaction));
        next.saturating_duration_since(now)
    }

    fn serve(&mut self, commands: Vec<Command>) {
        let now = Instant::now();
        let expired = self.memory.leases.values().any(|held| held.ends <= now);
        if commands.is_empty() && !expired {
            return;
        }
        match self.transact(&commands, now) {
            Ok((answers, events)) => {
                self.feed.publish(events);
                for (command, answer) in commands.into_iter().zip(answers) {
                    // A caller that no longer waits does not need it.
                    let _ = command.answer.send(Ok(answer));
                    drop(command.place);
                }
            }
            Err(refusal) => {
                tracing::error!(error = ?refusal.cause, "a transaction of the embedded store failed");
                // What the failed transaction changed in memory is taken back.
                if let Err(error) = self.memory.load(&self.connection, now) {
                    tracing::error!(?error, "the embedded store cannot be read");
                }
                for command in commands {
                    let _ = command.answer.send(Err(refusal.clone()));
                    drop(command.place);
                }
            }
        }
    }

    fn transact(&mut self, commands: &[Command], now: Instant) -> Result<(Vec<Answer>, Vec<Event>), Refusal> {
        let not_done = |error| refusal(false, error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(not_done)?;
        let mut batch = Batch { transaction, memory: &mut self.memory, events: Vec::new() };
        batch.end_expired(now).map_err(not_done)?;
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(answer(&mut batch, &mut self.samples, &command.request, now).map_err(not_done)?);
        }
        // A commit that fails may have reached the disk.
        let events = batch.commit().map_err(|error| refusal(true, error))?;
        self.forgetting |= commands.iter().any(is_compaction);
        Ok((answers, events))
    }

    /// Forgets what is old enough, a little at a time.
    fn keep_house(&mut self) {
        let now = Instant::now();
        if now >= self.next_compaction {
            self.next_compaction = now + COMPACT_EVERY;
            if let Some(old) = self.samples.note(now.into(), self.memory.revision, KEEP) {
                self.memory.compacted = self.memory.compacted.max(old);
                self.forgetting = true;
            }
        }
        if self.forgetting {
            match self.forget() {
                Ok(more) => self.forgetting = more,
                Err(error) => {
                    tracing::warn!(?error, "old history of the embedded store was not removed");
                    self.forgetting = false;
                }
            }
        }
    }

    fn forget(&mut self) -> rusqlite::Result<bool> {
        let compacted = from_revision(self.memory.compacted);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // First nobody may ask for it, then it goes.
        let sql = "UPDATE state SET value = ?1 WHERE name = 'compacted' AND value <> ?1";
        transaction.prepare_cached(sql)?.execute([compacted])?;
        let sql = "DELETE FROM history WHERE key IN (SELECT key FROM history WHERE until <= ?1 LIMIT ?2)";
        let chunk = i64::try_from(FORGET_CHUNK).unwrap_or(i64::MAX);
        let removed = transaction.prepare_cached(sql)?.execute(params![compacted, chunk])?;
        transaction.commit()?;
        Ok(removed == FORGET_CHUNK)
    }
}

fn is_compaction(command: &Command) -> bool {
    matches!(command.request, Request::Compact(_))
}

fn refusal(unknown: bool, error: rusqlite::Error) -> Refusal {
    Refusal { unknown, kind: schema::kind(&error), cause: Arc::new(error) }
}

/// Does one request inside of the transaction.
fn answer(
    batch: &mut Batch<'_, '_>,
    samples: &mut Samples,
    request: &Request,
    now: Instant,
) -> rusqlite::Result<Answer> {
    Ok(match request {
        Request::Write { collection, writes, while_held } => {
            let each = writes.iter().map(|write| batch.write(*collection, write, *while_held));
            Answer::Written(each.collect::<rusqlite::Result<_>>()?)
        }
        Request::Register(collection) => Answer::Registered(batch.register(collection)?),
        Request::Grant(ttl) => Answer::Granted(Lease { id: batch.grant(*ttl, now)?, ttl: *ttl }),
        Request::Renew(lease) => Answer::Renewed(match batch.memory.leases.get_mut(lease) {
            Some(Held { ttl, ends }) => {
                *ends = now + *ttl;
                Ok(())
            }
            None => Err(RenewError::Lost),
        }),
        Request::Revoke(lease) => {
            batch.end_lease(*lease)?;
            Answer::Done
        }
        Request::Compact(keep) => {
            if let Some(old) = samples.note(now.into(), batch.memory.revision, *keep) {
                batch.memory.compacted = batch.memory.compacted.max(old);
            }
            Answer::Done
        }
    })
}
