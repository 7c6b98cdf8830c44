//! The cases, by what they are about, and what they share.

pub(crate) mod batches;
pub(crate) mod faults;
pub(crate) mod leases;
pub(crate) mod lists;
pub(crate) mod outages;
pub(crate) mod reads;
pub(crate) mod watches;
pub(crate) mod writes;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{
    Change, Changes, Collection, Document, Expect, Page, Revision, Store, Watch, Write, WriteError,
};
use tokio::time::{Instant, sleep, timeout};

/// What most cases write to.
pub(crate) static THINGS: Collection = Collection { name: "thing", indexed: &["kind", "place"] };

/// Another collection.
pub(crate) static OTHERS: Collection = Collection { name: "other-thing", indexed: &[] };

/// A body that tells `n`.
pub(crate) fn body(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

/// A body of exactly `size` bytes.
pub(crate) fn body_of_size(size: usize) -> String {
    let frame = "{\"text\":\"\"}".len();
    format!("{{\"text\":\"{}\"}}", "x".repeat(size - frame))
}

/// Puts without a condition.
pub(crate) async fn put(store: &Arc<dyn Store>, id: &str, text: impl Into<String>) -> Revision {
    let write = Write::put(id, Expect::Any, text.into());
    store.write(&THINGS, write, None).await.unwrap()
}

/// Deletes without a condition.
pub(crate) async fn delete(store: &Arc<dyn Store>, id: &str) -> Revision {
    store.write(&THINGS, Write::delete(id, Expect::Any), None).await.unwrap()
}

/// The body of a document, if there is one.
pub(crate) async fn text(store: &Arc<dyn Store>, id: &str) -> Option<String> {
    store.get(&THINGS, id).await.unwrap().map(|document| text_of(&document))
}

/// A document's body as text.
pub(crate) fn text_of(document: &Document) -> String {
    String::from_utf8(document.body.to_vec()).unwrap()
}

/// The ids of a page.
pub(crate) fn ids(page: &Page) -> Vec<&str> {
    page.documents.iter().map(|document| document.id.as_str()).collect()
}

/// The revision of a conflict; anything else is a failed test.
pub(crate) fn conflict<T: std::fmt::Debug>(result: Result<T, WriteError>) -> Option<Revision> {
    match result {
        Err(WriteError::Conflict { current }) => current,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

/// The next changes of a watch, within a bound.
pub(crate) async fn next(watch: &mut Watch) -> Changes {
    let next = timeout(Duration::from_secs(20), watch.next()).await.expect("the watch brings something");
    next.expect("the watch goes on").expect("the watch works")
}

/// Changes as text: `id=body` for a put, `-id` for a delete.
pub(crate) fn told(changes: &Changes) -> Vec<String> {
    let tell = |change: &Change| match change {
        Change::Put(document) => format!("{}={}", document.id, text_of(document)),
        Change::Delete { id } => format!("-{id}"),
    };
    changes.changes.iter().map(tell).collect()
}

/// The next so many changes as text, in order; revisions must grow.
pub(crate) async fn collect(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut last = Revision::ZERO;
    while all.len() < count {
        let changes = next(watch).await;
        assert!(changes.revision > last, "{} after {last}", changes.revision);
        last = changes.revision;
        all.extend(told(&changes));
    }
    all
}

/// Waits until a condition holds, within a bound.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Does something again until it works, within a bound: for what an engine refuses while it restarts.
pub(crate) async fn again<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    mut call: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < end, "not within 30 s: {error:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}
