//! `get` and `get_many`.

use std::sync::Arc;

use fleet_store::{Collection, ErrorKind, Expect, ListRequest, Write, WriteError};

use super::{OTHERS, THINGS, body, ids, put, text};
use crate::harness::Harness;

pub(crate) async fn get_of_nothing(harness: Arc<dyn Harness>) {
    assert_eq!(harness.store().get(&THINGS, "a").await.unwrap(), None);
}

pub(crate) async fn get_shows_the_last_write(harness: Arc<dyn Harness>) {
    let (writer, reader) = (harness.store(), harness.store());
    for n in 0..20 {
        let revision = put(&writer, "a", body(n)).await;
        let document = reader.get(&THINGS, "a").await.unwrap().unwrap();
        assert_eq!((document.id.as_str(), document.revision), ("a", revision));
        assert_eq!(document.body, body(n));
    }
}

const ODD: &[&str] = &[
    "a/b",
    "a//b",
    "/",
    "//",
    " ",
    " a ",
    "a b",
    "%",
    "%2F",
    "%00",
    "ü",
    "日本語",
    "a\nb",
    "\t",
    "\u{1}",
    "\u{7f}",
    "'",
    "\"",
    "\\",
    "a'; DROP TABLE thing; --",
    "..",
    ".",
    "?",
    "*",
    "[a]",
    "_",
    "\u{10ffff}",
    "a\u{300}",
    "á",
    "hello@1.service",
    "$a",
    "{}",
    "😀",
];

pub(crate) async fn ids_may_hold_odd_characters(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let long = "é".repeat(256);
    let all: Vec<&str> = ODD.iter().copied().chain([long.as_str()]).collect();
    for (n, id) in all.iter().enumerate() {
        let write = Write::put(*id, Expect::Absent, body(n));
        store.write(&THINGS, write, None).await.unwrap_or_else(|error| panic!("{id:?}: {error:?}"));
    }
    for (n, id) in all.iter().enumerate() {
        assert_eq!(text(&store, id).await, Some(body(n)), "{id:?}");
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(ids(&store.list(&THINGS, ListRequest::all()).await.unwrap()), sorted);
}

pub(crate) async fn ids_that_are_refused(harness: Arc<dyn Harness>) {
    let store = harness.store();
    for id in ["", "a\0b", "\0", &"x".repeat(513)] {
        let error = store.get(&THINGS, id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{id:?}");
        let error = store.get_many(&THINGS, &["a".to_owned(), id.to_owned()]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{id:?}");
        let error = store.write(&THINGS, Write::put(id, Expect::Any, body(1)), None).await.unwrap_err();
        assert!(matches!(&error, WriteError::NotDone(error) if error.kind == ErrorKind::Invalid), "{id:?}");
    }
}

pub(crate) async fn collections_are_apart(harness: Arc<dyn Harness>) {
    let store = harness.store();
    put(&store, "a", body(1)).await;
    assert_eq!(store.get(&OTHERS, "a").await.unwrap(), None);
    store.write(&OTHERS, Write::put("a", Expect::Absent, body(2)), None).await.unwrap();
    assert_eq!(text(&store, "a").await, Some(body(1)));
    assert_eq!(store.list(&OTHERS, ListRequest::all()).await.unwrap().documents.len(), 1);
}

pub(crate) async fn reserved_collection_is_refused(harness: Arc<dyn Harness>) {
    static LEASES: Collection = Collection { name: "lease", indexed: &[] };
    let store = harness.store();
    assert_eq!(store.get(&LEASES, "a").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(store.list(&LEASES, ListRequest::all()).await.unwrap_err().kind, ErrorKind::Invalid);
}

pub(crate) async fn get_many_keeps_the_order(harness: Arc<dyn Harness>) {
    let store = harness.store();
    put(&store, "a", body(1)).await;
    put(&store, "b", body(2)).await;
    let wanted = ["b", "nothing", "a", "b"].map(str::to_owned);
    let found = store.get_many(&THINGS, &wanted).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|found| found.as_ref().map(|document| document.id.as_str())).collect();
    assert_eq!(found, [Some("b"), None, Some("a"), Some("b")]);
}

pub(crate) async fn get_many_of_many(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let all: Vec<String> = (0..700).map(|n| format!("id-{n}")).collect();
    let writes = all.iter().enumerate().map(|(n, id)| Write::put(id, Expect::Absent, body(n))).collect();
    for result in store.write_many(&THINGS, writes, None).await {
        result.unwrap();
    }
    let found = store.get_many(&THINGS, &all).await.unwrap();
    for (n, document) in found.iter().enumerate() {
        let document = document.as_ref().unwrap();
        assert_eq!((document.id.as_str(), &document.body[..]), (all[n].as_str(), body(n).as_bytes()));
    }
}

pub(crate) async fn get_many_of_nothing(harness: Arc<dyn Harness>) {
    assert_eq!(harness.store().get_many(&THINGS, &[]).await.unwrap(), []);
}

pub(crate) async fn bodies_are_kept_byte_for_byte(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let odd =
        "{ \"b\" : 1,\n\t\"a\":\"\\u00e9é\\u0000\", \"a\": 1e3, \"big\": 123456789012345678901234567890 } ";
    put(&store, "a", odd).await;
    assert_eq!(text(&store, "a").await.unwrap(), odd);
}
