//! How watches learn of commits, and how they catch up from the tables when they were not looking.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::read::{self, Missed};
use super::readers::Readers;
use crate::contract::{Change, Changes, Revision, Scope};
use crate::error::{Error, WatchError};

/// How many commits are kept for watches that are behind. Further behind, they read the tables.
const COMMITS: usize = 64;

/// Commits with more bytes than this are not kept: watches read them from the tables.
const MAX_COMMIT_BYTES: usize = 256 * 1024;

/// How many changes are read at once when catching up.
const CATCH_UP: usize = 256;

/// One change that was committed. Every change has a revision of its own.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) collection: i64,
    pub(super) revision: Revision,
    pub(super) change: Change,
}

/// What one commit changed.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    last: Revision,
    /// `None`: too much to keep.
    events: Option<Arc<[Event]>>,
}

/// The writer's end. Sending never waits.
#[derive(Debug)]
pub(super) struct Feed {
    sender: broadcast::Sender<Commit>,
}

impl Feed {
    pub(super) fn new() -> Feed {
        Feed { sender: broadcast::Sender::new(COMMITS) }
    }

    /// A new listener, for commits from now on.
    pub(super) fn listen(&self) -> broadcast::WeakSender<Commit> {
        self.sender.downgrade()
    }

    /// Tells of a commit, in the order of commits.
    pub(super) fn publish(&self, events: Vec<Event>) {
        let Some(last) = events.last().map(|event| event.revision) else { return };
        let bytes: usize = events.iter().map(Event::size).sum();
        let events = (bytes <= MAX_COMMIT_BYTES).then(|| Arc::from(events));
        // Nobody listening is no trouble.
        let _ = self.sender.send(Commit { last, events });
    }
}

impl Event {
    fn size(&self) -> usize {
        let body = match &self.change {
            Change::Put(document) => document.body.len(),
            Change::Delete { .. } => 0,
        };
        self.change.id().len() + body + size_of::<Event>()
    }
}

/// One watch's task.
pub(super) struct Follower {
    pub(super) readers: Arc<Readers>,
    pub(super) commits: broadcast::Receiver<Commit>,
    pub(super) collection: i64,
    pub(super) scope: Scope,
    pub(super) after: Revision,
    pub(super) sender: mpsc::Sender<Result<Changes, WatchError>>,
}

/// Why a follower stops.
enum Stop {
    /// Nobody listens, or the store was shut down.
    Quiet,
    /// There is something to tell.
    Error(WatchError),
}

impl Follower {
    pub(super) async fn run(mut self) {
        let sender = self.sender.clone();
        let stop = tokio::select! {
            stop = self.follow() => stop,
            () = sender.closed() => return,
        };
        if let Stop::Error(error) = stop {
            // Whether anyone still listens does not matter: this watch is over.
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn follow(&mut self) -> Stop {
        loop {
            if let Err(stop) = self.catch_up().await {
                return stop;
            }
            loop {
                match self.commits.recv().await {
                    Ok(commit) if commit.last <= self.after => {}
                    Ok(Commit { last, events: Some(events) }) => {
                        if self.deliver(&events).await.is_err() {
                            return Stop::Quiet;
                        }
                        self.after = last;
                    }
                    Ok(Commit { events: None, .. }) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return Stop::Quiet,
                }
            }
        }
    }

    async fn deliver(&self, events: &[Event]) -> Result<(), ()> {
        for event in events {
            let wanted = event.collection == self.collection
                && event.revision > self.after
                && self.scope.contains(event.change.id());
            if wanted {
                self.send(event.revision, event.change.clone()).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, revision: Revision, change: Change) -> Result<(), ()> {
        self.sender.send(Ok(Changes { revision, changes: vec![change] })).await.map_err(drop)
    }

    /// Reads everything after the last delivered revision from the tables.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        loop {
            let (collection, scope, after) = (self.collection, self.scope.clone(), self.after);
            let missed = self
                .readers
                .run("watch", move |transaction| {
                    read::missed(transaction, collection, &scope, after, CATCH_UP)
                })
                .await;
            let missed = missed.map_err(|error: Error| Stop::Error(WatchError::Failed(error)))?;
            let (changes, up_to) = match missed {
                Missed::Forgotten => return Err(Stop::Error(WatchError::Compacted)),
                Missed::Some(changes) => {
                    let up_to = changes.last().map(|(revision, _)| *revision);
                    (changes, up_to)
                }
                Missed::All { changes, now } => {
                    for (revision, change) in changes {
                        self.send(revision, change).await.map_err(|()| Stop::Quiet)?;
                    }
                    self.after = self.after.max(now);
                    return Ok(());
                }
            };
            for (revision, change) in changes {
                self.send(revision, change).await.map_err(|()| Stop::Quiet)?;
            }
            self.after = up_to.unwrap_or(self.after);
        }
    }
}
