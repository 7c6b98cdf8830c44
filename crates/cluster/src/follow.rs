//! Following one document.

use std::time::Duration;

use fleet_store::{Error, ErrorKind, Scope, Typed, TypedChange, Versioned, WatchError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{debug, error};

use crate::environment::Environment;

/// After trouble the document is read again after up to this long.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
/// The document is read again this often even when its watch tells nothing.
const REREAD_INTERVAL: Duration = Duration::from_secs(60);

/// What is known of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// It has not been read yet. Not the same as absent: nothing may be concluded from it.
    NotYet,
    /// There is one, but it cannot be understood, and nothing was known of it before.
    Unreadable,
    /// There is no such document.
    Absent,
    /// This is it.
    Present(T),
}

impl<T> Known<T> {
    /// The document; `None` when it is absent. `Err` when it is not known.
    pub fn known(&self) -> Result<Option<&T>, NotKnown> {
        match self {
            Known::NotYet | Known::Unreadable => Err(NotKnown),
            Known::Absent => Ok(None),
            Known::Present(value) => Ok(Some(value)),
        }
    }
}

/// The document has never been read.
#[derive(Clone, Copy, Debug)]
pub struct NotKnown;

/// Documents that can be followed.
pub trait Source: Send + Sync {
    /// What is watched.
    type Document: Serialize + DeserializeOwned + Send;
    /// What is told.
    type Value: PartialEq + Send + Sync;

    /// The documents.
    fn documents(&self) -> &Typed<Self::Document>;

    /// What a document of this id stands for. An error is a reason to read the document again.
    fn complete(
        &self,
        id: &str,
        document: Self::Document,
    ) -> impl Future<Output = Result<Self::Value, Error>> + Send;
}

impl<T: Serialize + DeserializeOwned + PartialEq + Send + Sync> Source for Typed<T> {
    type Document = T;
    type Value = T;

    fn documents(&self) -> &Typed<T> {
        self
    }

    async fn complete(&self, _: &str, document: T) -> Result<T, Error> {
        Ok(document)
    }
}

/// Keeps `sender` at the document's content until nobody listens any more. A read error changes nothing, nor
/// does a document that cannot be understood: what was known last stays. If nothing was known it is
/// [`Known::Unreadable`]. Without `watches` it reads each `beat`.
pub async fn follow<S: Source>(
    source: S,
    id: String,
    watches: bool,
    beat: Duration,
    environment: &Environment,
    sender: watch::Sender<Known<S::Value>>,
) {
    loop {
        let round = async {
            let outcome = if watches {
                read_and_watch(&source, &id, &sender).await
            } else {
                let outcome = read(&source, &id, &sender).await;
                tokio::time::sleep(beat).await;
                outcome
            };
            if let Err(trouble) = outcome {
                if trouble.kind == ErrorKind::Corrupt {
                    tell_unreadable(&sender, &id, &trouble);
                } else {
                    debug!(id, error = &trouble as &dyn std::error::Error, "not following now");
                }
                environment.pause_up_to(TROUBLE_PAUSE).await;
            }
        };
        tokio::select! {
            biased;
            () = sender.closed() => return,
            () = round => {}
        }
    }
}

async fn read<S: Source>(source: &S, id: &str, sender: &watch::Sender<Known<S::Value>>) -> Result<(), Error> {
    let found = source.documents().get(id).await?;
    take(source, id, found, sender).await
}

/// Tells what a document that was read stands for.
async fn take<S: Source>(
    source: &S,
    id: &str,
    found: Option<Versioned<S::Document>>,
    sender: &watch::Sender<Known<S::Value>>,
) -> Result<(), Error> {
    let known = match found {
        Some(versioned) => Known::Present(source.complete(id, versioned.value).await?),
        None => Known::Absent,
    };
    tell(sender, known);
    Ok(())
}

async fn read_and_watch<S: Source>(
    source: &S,
    id: &str,
    sender: &watch::Sender<Known<S::Value>>,
) -> Result<(), Error> {
    let typed = source.documents();
    let listing = typed.list(Scope::Id(id.to_owned())).await?;
    let mut watch = typed.watch(Scope::Id(id.to_owned()), listing.revision).await?;
    if let Some(malformed) = listing.malformed.into_iter().next() {
        tell_unreadable(sender, id, &malformed.error);
    } else {
        take(source, id, listing.values.into_iter().next(), sender).await?;
    }
    loop {
        let changes = match tokio::time::timeout(REREAD_INTERVAL, watch.next()).await {
            Ok(Some(Ok((_, changes)))) => changes,
            // It is time to read again.
            Err(_) => return Ok(()),
            Ok(Some(Err(error))) => return Err(watch_ended(id, error)),
            Ok(None) => {
                return Err(Error::new(ErrorKind::Unavailable, format!("watch {id}: the store is closed")));
            }
        };
        match changes.into_iter().next_back() {
            Some(TypedChange::Put(versioned)) => take(source, id, Some(versioned), sender).await?,
            Some(TypedChange::Delete { .. }) => tell(sender, Known::Absent),
            Some(TypedChange::Malformed(malformed)) => tell_unreadable(sender, id, &malformed.error),
            None => {}
        }
    }
}

fn watch_ended(id: &str, error: WatchError) -> Error {
    Error::caused_by(ErrorKind::Unavailable, format!("watch {id}"), error)
}

fn tell_unreadable<T>(
    sender: &watch::Sender<Known<T>>,
    id: &str,
    trouble: &(dyn std::error::Error + 'static),
) {
    error!(id, error = trouble, "a document cannot be read: what was known of it stays");
    sender.send_if_modified(|current| {
        let nothing_is_known = matches!(current, Known::NotYet);
        if nothing_is_known {
            *current = Known::Unreadable;
        }
        nothing_is_known
    });
}

fn tell<T: PartialEq>(sender: &watch::Sender<Known<T>>, known: Known<T>) {
    sender.send_if_modified(|current| {
        let changed = *current != known;
        if changed {
            *current = known;
        }
        changed
    });
}
