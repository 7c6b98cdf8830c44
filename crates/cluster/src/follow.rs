//! Following one document.

use std::time::Duration;

use fleet_store::{Error, ErrorKind, Scope, Typed, TypedChange, WatchError};
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

/// Keeps `sender` at the document's content until nobody listens any more. A read error changes nothing, nor
/// does a document that cannot be understood: what was known last stays. If nothing was known it is
/// [`Known::Unreadable`]. Without `watches` it reads each `beat`.
pub async fn follow<T>(
    typed: Typed<T>,
    id: String,
    watches: bool,
    beat: Duration,
    environment: &Environment,
    sender: watch::Sender<Known<T>>,
) where
    T: Serialize + DeserializeOwned + PartialEq,
{
    loop {
        let round = async {
            let outcome = if watches {
                read_and_watch(&typed, &id, &sender).await
            } else {
                let outcome = read(&typed, &id, &sender).await;
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

async fn read<T>(typed: &Typed<T>, id: &str, sender: &watch::Sender<Known<T>>) -> Result<(), Error>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let found = typed.get(id).await?;
    tell(sender, found.map_or(Known::Absent, |versioned| Known::Present(versioned.value)));
    Ok(())
}

async fn read_and_watch<T>(typed: &Typed<T>, id: &str, sender: &watch::Sender<Known<T>>) -> Result<(), Error>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let listing = typed.list(Scope::Id(id.to_owned())).await?;
    let mut watch = typed.watch(Scope::Id(id.to_owned()), listing.revision).await?;
    if let Some(malformed) = listing.malformed.into_iter().next() {
        tell_unreadable(sender, id, &malformed.error);
    } else {
        let found = listing.values.into_iter().next();
        tell(sender, found.map_or(Known::Absent, |versioned| Known::Present(versioned.value)));
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
            Some(TypedChange::Put(versioned)) => tell(sender, Known::Present(versioned.value)),
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
