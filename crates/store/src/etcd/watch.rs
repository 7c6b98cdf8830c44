//! Watches: one stream each over the shared connection, resumed by revision.
//!
//! Where a stream resumes is decided by what was delivered, and by etcd's own progress notifications to this
//! watcher: the server sends those in order with the events. Neither the header of the `created` message nor
//! an answer to a progress request is trusted: both can run ahead of events (etcd issue 15220).

use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{EventType, WatchOptions, WatchStream};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::failure::{Failure, Remedy, What};
use super::session::Effect;
use super::{Etcd, from_revision, to_revision};
use crate::check;
use crate::contract::{Change, Changes, Collection, Document, Revision, Scope, Watch};
use crate::error::{Error, ErrorKind, WatchError};

/// How many `Changes` wait for a slow reader before the stream is no longer read.
const QUEUE: usize = 64;

/// The wait before the first new try, doubled for each that follows.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The longest wait between two tries.
const LAST_BACKOFF: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Result<Changes, WatchError>>;

impl Etcd {
    pub(super) async fn start_watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        check::scope(collection, &scope)?;
        let mut watcher = Watcher { etcd: self.clone(), collection, scope, after, open: None };
        let (sender, receiver) = mpsc::channel(QUEUE);
        match watcher.open().await {
            Ok(stream) => {
                tokio::spawn(watcher.run(sender, Some(stream)));
            }
            Err(Ended::Compacted) => {
                // Told by the watch itself, as when it happens later.
                let told = sender.send(Err(WatchError::Compacted)).await;
                debug_assert!(told.is_ok(), "the channel is new");
            }
            Err(Ended::Failed(failure)) => {
                return Err(failure.into_error(format!("watch {}", collection.name)));
            }
        }
        Ok(Watch::new(receiver))
    }
}

/// Why a stream ended.
#[derive(Debug)]
enum Ended {
    /// The revision to go on from is gone.
    Compacted,
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        match failure.what {
            // A backlog that cannot be taken in one message is as good as forgotten: a list takes it in parts.
            What::Compacted | What::ResponseTooLarge => Ended::Compacted,
            _ => Ended::Failed(failure),
        }
    }
}

struct Watcher {
    etcd: Etcd,
    collection: &'static Collection,
    scope: Scope,
    /// Everything up to here has been delivered.
    after: Revision,
    /// The changes of a revision whose end has not come yet.
    open: Option<Changes>,
}

impl Watcher {
    async fn run(mut self, sender: Sender, mut stream: Option<WatchStream>) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let ended = match stream.take() {
                Some(stream) => match self.follow(stream, &sender, &mut backoff).await {
                    Ok(()) => return,
                    Err(ended) => ended,
                },
                None => match self.open().await {
                    Ok(opened) => {
                        stream = Some(opened);
                        continue;
                    }
                    Err(ended) => ended,
                },
            };
            // The rest of a revision that was cut off comes again as a whole.
            self.open = None;
            let error = match ended {
                Ended::Compacted => WatchError::Compacted,
                Ended::Failed(failure) if is_final(&failure) => {
                    WatchError::Failed(failure.into_error(format!("watch {}", self.collection.name)))
                }
                Ended::Failed(failure) => {
                    let error = failure.into_error("watch");
                    tracing::debug!(collection = self.collection.name, error = ?error, "a watch reconnects");
                    let wait = backoff.mul_f64(rand::random_range(0.5..1.0));
                    backoff = (backoff * 2).min(LAST_BACKOFF);
                    tokio::select! {
                        () = sleep(wait) => continue,
                        () = sender.closed() => return,
                    }
                }
            };
            // Whether anyone still listens does not matter: this watch is over.
            let _ = sender.send(Err(error)).await;
            return;
        }
    }

    /// Starts a stream after the last delivered revision, and waits until the server has taken it.
    async fn open(&mut self) -> Result<WatchStream, Ended> {
        match self.try_open().await {
            // Where a token has expired, etcd refuses the watch inside of the stream.
            Err(Ended::Failed(failure)) if failure.remedy == Remedy::Login => {
                self.etcd.session.reauthenticate().await?;
                self.try_open().await
            }
            result => result,
        }
    }

    async fn try_open(&mut self) -> Result<WatchStream, Ended> {
        let range = self.etcd.keys.range(self.collection, &self.scope);
        let mut options = WatchOptions::new()
            .with_start_revision(from_revision(self.after).saturating_add(1))
            .with_progress_notify()
            .with_fragment();
        if let Some(end) = range.end {
            options = options.with_range(end);
        }
        let opened = self.etcd.session.call(Effect::Idempotent, || {
            let (mut watches, key) = (self.etcd.session.watches(), range.start.clone());
            let options = options.clone();
            async move {
                let mut stream = watches.watch(key, Some(options)).await?;
                let first = stream.message().await?;
                Ok((stream, first))
            }
        });
        let (stream, first) = opened.await?;
        let Some(first) = first.map(|first| first.0) else {
            return Err(Failure::message("the watch ended as it began").into());
        };
        check_cancelled(&first)?;
        let at = to_revision(first.header.as_ref().map_or(0, |header| header.revision));
        // A member may lag behind; a cluster may not: then its history was lost or replaced.
        if at < self.after && self.etcd.current_revision().await? < self.after {
            return Err(Ended::Compacted);
        }
        Ok(stream)
    }

    /// Delivers what the stream brings. `Ok`: nobody listens any more.
    async fn follow(
        &mut self,
        mut stream: WatchStream,
        sender: &Sender,
        backoff: &mut Duration,
    ) -> Result<(), Ended> {
        loop {
            let message = tokio::select! {
                message = stream.message() => message.map_err(Failure::from)?,
                () = sender.closed() => return Ok(()),
            };
            let Some(response) = message.map(|message| message.0) else {
                return Err(Failure::message("the watch's stream ended").into());
            };
            check_cancelled(&response)?;
            *backoff = FIRST_BACKOFF;
            for changes in self.take(response)? {
                let revision = changes.revision;
                if sender.send(Ok(changes)).await.is_err() {
                    return Ok(());
                }
                self.after = revision;
            }
        }
    }

    /// The revisions that are complete with this response.
    fn take(&mut self, response: PbWatchResponse) -> Result<Vec<Changes>, Failure> {
        let mut complete = Vec::new();
        let progress = response.events.is_empty() && response.watch_id >= 0 && !response.created;
        for event in response.events {
            let Some((revision, change)) = self.change(event)? else { continue };
            if revision <= self.after {
                continue;
            }
            match &mut self.open {
                Some(open) if open.revision == revision => open.changes.push(change),
                open => {
                    complete.extend(open.replace(Changes { revision, changes: vec![change] }));
                }
            }
        }
        // With a fragment, the last revision may go on in the next message.
        if !response.fragment {
            complete.extend(self.open.take());
        }
        if progress && self.open.is_none() {
            let at = to_revision(response.header.map_or(0, |header| header.revision));
            self.after = self.after.max(at);
        }
        Ok(complete)
    }

    fn change(&self, event: PbEvent) -> Result<Option<(Revision, Change)>, Failure> {
        let Some(pair) = event.kv else { return Err(Failure::nonsense("an event without its key")) };
        let Some(id) = self.etcd.keys.id(self.collection, &pair.key) else {
            return Err(Failure::nonsense("an event of a foreign key"));
        };
        let revision = to_revision(pair.mod_revision);
        let change = if event.r#type == EventType::Delete as i32 {
            Change::Delete { id }
        } else {
            let body = pair.value.into();
            Change::Put(Document { id, revision, body })
        };
        Ok(Some((revision, change)))
    }
}

/// Trouble that another try from the same revision cannot mend.
fn is_final(failure: &Failure) -> bool {
    matches!(failure.kind, ErrorKind::Invalid | ErrorKind::Corrupt)
}

fn check_cancelled(response: &PbWatchResponse) -> Result<(), Ended> {
    if response.compact_revision > 0 {
        return Err(Ended::Compacted);
    }
    if response.canceled {
        return Err(Failure::message(&response.cancel_reason).into());
    }
    Ok(())
}
