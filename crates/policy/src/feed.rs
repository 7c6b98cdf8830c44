//! A collection in memory, followed through its watch.

use std::collections::HashSet;
use std::time::Duration;

use fleet_store::{Error, ErrorKind, ListRequest, Listing, Revision, Scope, Typed, TypedChange, WatchError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// After trouble the next attempt is made after this long, and twice that each time until [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Documents that are read at a time: what bounds the memory of reading a large collection.
const PAGE: usize = 500;

/// What keeps a collection in memory. Its owner may apply its own writes beside the feed: whatever is not newer
/// than what is known must change nothing.
pub trait View<T>: Send + Sync {
    /// A part of the collection, as it is at the revision of the listing.
    fn page(&self, listing: Listing<T>) -> impl Future<Output = Result<(), Error>> + Send;
    /// All pages are in: what is neither named in them nor newer than they are is gone.
    fn listed(&self, ids: &HashSet<String>, revision: Revision);
    /// All that happened up to this revision has been taken in. While pages come, which are in the order of ids,
    /// newer documents may be known than some that are not there yet.
    fn reached(&self, _revision: Revision) {}
    /// One change, in order.
    fn change(
        &self,
        revision: Revision,
        change: TypedChange<T>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Keeps `view` at the collection's content, for ever. `ready` is called once the first list is in. While the
/// store is away the view stays as it is.
pub async fn feed<T, V>(typed: Typed<T>, view: &V, ready: impl FnOnce() + Send)
where
    T: Serialize + DeserializeOwned + Send,
    V: View<T>,
{
    let mut ready = Some(ready);
    let mut pause = SHORTEST_PAUSE;
    let mut begun = false;
    loop {
        if let Err(error) = follow(&typed, view, &mut begun, &mut ready, &mut pause).await {
            warn!(
                collection = typed.collection().name,
                error = &error as &dyn std::error::Error,
                "cannot follow the store: what is known stays"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn follow<T, V>(
    typed: &Typed<T>,
    view: &V,
    begun: &mut bool,
    ready: &mut Option<impl FnOnce() + Send>,
    pause: &mut Duration,
) -> Result<(), Error>
where
    T: Serialize + DeserializeOwned + Send,
    V: View<T>,
{
    let is_first = !std::mem::replace(begun, true);
    let mut reached = read(typed, view, is_first).await?;
    view.reached(reached);
    let mut watch = typed.watch(Scope::All, reached).await?;
    if let Some(ready) = ready.take() {
        ready();
    }
    loop {
        match watch.next().await {
            Some(Ok((revision, changes))) => {
                *pause = SHORTEST_PAUSE;
                for change in changes {
                    view.change(revision, change).await?;
                }
                // A watch may repeat what the list showed.
                reached = reached.max(revision);
                view.reached(reached);
            }
            // The list is made again at once: the history was shortened, nothing is in trouble.
            Some(Err(WatchError::Compacted)) => return Ok(()),
            Some(Err(error)) => return Err(Error::caused_by(ErrorKind::Unavailable, "watch", error)),
            None => return Err(Error::new(ErrorKind::Unavailable, "watch: the store is closed")),
        }
    }
}

async fn read<T, V>(typed: &Typed<T>, view: &V, is_first: bool) -> Result<Revision, Error>
where
    T: Serialize + DeserializeOwned + Send,
    V: View<T>,
{
    let request = ListRequest { limit: Some(PAGE), ..ListRequest::all() };
    // Nothing can be gone of what was never known: a first reading needs no list of all ids.
    let mut ids = (!is_first).then(HashSet::new);
    let mut page = typed.page(request.clone()).await?;
    loop {
        let (listing, token) = page;
        let revision = listing.revision;
        if let Some(ids) = &mut ids {
            ids.extend(listing.values.iter().map(|versioned| versioned.id.clone()));
        }
        let Some(token) = token else {
            view.page(listing).await?;
            if let Some(ids) = &ids {
                view.listed(ids, revision);
            }
            return Ok(revision);
        };
        // The next page is on its way while this one is taken in.
        let next = typed.page(ListRequest { page: Some(token), ..request.clone() });
        let (next, ()) = tokio::try_join!(next, view.page(listing))?;
        page = next;
    }
}
