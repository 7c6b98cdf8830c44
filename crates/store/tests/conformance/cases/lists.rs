//! `list`: order, scopes, pages, filters.

use std::sync::Arc;

use fleet_store::{ErrorKind, Expect, ListRequest, Scope, Store, Write};
use tokio::task::JoinSet;

use super::{THINGS, body, body_of_size, delete, ids, put};
use crate::harness::Harness;

async fn fill(store: &Arc<dyn Store>, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        put(store, name, body(n)).await;
    }
}

async fn fill_many(store: &Arc<dyn Store>, count: usize, make: impl Fn(usize) -> String) {
    let writes = (0..count).map(|n| Write::put(format!("id-{n:05}"), Expect::Any, make(n))).collect();
    for result in store.write_many(&THINGS, writes, None).await {
        result.unwrap();
    }
}

/// All pages of a request, each with at most `limit` documents.
async fn pages(store: &Arc<dyn Store>, request: ListRequest, limit: usize) -> Vec<Vec<String>> {
    let mut request = ListRequest { limit: Some(limit), ..request };
    let mut pages = Vec::new();
    let mut revision = None;
    loop {
        let page = store.list(&THINGS, request.clone()).await.unwrap();
        assert!(page.documents.len() <= limit);
        assert_eq!(*revision.get_or_insert(page.revision), page.revision);
        pages.push(ids(&page).into_iter().map(str::to_owned).collect());
        match page.next {
            Some(next) => request.page = Some(next),
            None => return pages,
        }
    }
}

pub(crate) async fn of_nothing(harness: Arc<dyn Harness>) {
    let page = harness.store().list(&THINGS, ListRequest::all()).await.unwrap();
    assert!(page.documents.is_empty() && page.next.is_none());
}

pub(crate) async fn all_in_byte_order(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill(&store, &["b", "a", "B", "a/b", "a b", "aé", "ab", "a\u{10ffff}"]).await;
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    assert_eq!(ids(&page), ["B", "a", "a b", "a/b", "ab", "aé", "a\u{10ffff}", "b"]);
    assert_eq!(page.next, None);
    let newest = page.documents.iter().map(|document| document.revision).max().unwrap();
    assert!(page.revision >= newest);
}

pub(crate) async fn by_prefix(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill(&store, &["a", "a/1", "a/2", "a0", "b/1"]).await;
    let list = async |prefix: &str| {
        let page = store.list(&THINGS, ListRequest::prefix(prefix)).await.unwrap();
        ids(&page).join(",")
    };
    assert_eq!(list("a/").await, "a/1,a/2");
    assert_eq!(list("a").await, "a,a/1,a/2,a0");
    assert_eq!(list("").await, "a,a/1,a/2,a0,b/1");
    assert_eq!(list("c").await, "");
}

pub(crate) async fn by_id(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill(&store, &["a", "a/1"]).await;
    let request = |id: &str| ListRequest { scope: Scope::Id(id.to_owned()), ..ListRequest::all() };
    assert_eq!(ids(&store.list(&THINGS, request("a")).await.unwrap()), ["a"]);
    assert!(store.list(&THINGS, request("b")).await.unwrap().documents.is_empty());
    let limited = ListRequest { limit: Some(1), ..request("a") };
    let page = store.list(&THINGS, limited).await.unwrap();
    assert_eq!((ids(&page), &page.next), (vec!["a"], &None));
}

pub(crate) async fn prefix_edges(harness: Arc<dyn Harness>) {
    let store = harness.store();
    let last = "\u{10ffff}";
    let names =
        [last, &format!("{last}{last}"), &format!("{last}a"), "a", &format!("a{last}"), "b", "%", "_x", "xx"];
    fill(&store, &names).await;
    let count =
        async |prefix: &str| store.list(&THINGS, ListRequest::prefix(prefix)).await.unwrap().documents.len();
    assert_eq!(count(last).await, 3);
    assert_eq!(count(&format!("{last}{last}")).await, 1);
    assert_eq!(count(&format!("a{last}")).await, 1);
    assert_eq!(count("a").await, 2);
    // No wildcards.
    assert_eq!(count("%").await, 1);
    assert_eq!(count("_").await, 1);
    assert_eq!(count("x").await, 1);
}

pub(crate) async fn pages_join_up(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 25, body).await;
    let all: Vec<String> = (0..25).map(|n| format!("id-{n:05}")).collect();
    for limit in [1, 4, 5, 24, 25, 26] {
        let pages = pages(&store, ListRequest::all(), limit).await;
        assert_eq!(pages.len(), 25_usize.div_ceil(limit), "limit {limit}");
        assert_eq!(pages.concat(), all, "limit {limit}");
    }
    let some = pages(&store, ListRequest::prefix("id-0001"), 3).await;
    assert_eq!(some.concat(), all[10..20]);
}

pub(crate) async fn pages_are_true_at_one_revision(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 40, |_| body(0)).await;
    let writer = tokio::spawn({
        let store = harness.store();
        async move {
            for round in 1..20 {
                for n in 0..40 {
                    match n % 3 {
                        0 => put(&store, &format!("id-{n:05}"), body(round)).await,
                        1 => delete(&store, &format!("id-{n:05}")).await,
                        _ => put(&store, &format!("new-{round}-{n}"), body(round)).await,
                    };
                }
            }
        }
    });
    let first = store.list(&THINGS, ListRequest { limit: Some(7), ..ListRequest::all() }).await.unwrap();
    let mut documents = first.documents;
    let mut next = first.next;
    while let Some(token) = next.take() {
        let request = ListRequest { limit: Some(7), page: Some(token), ..ListRequest::all() };
        let page = store.list(&THINGS, request).await.unwrap();
        assert_eq!(page.revision, first.revision);
        assert!(page.documents.iter().all(|document| document.revision <= first.revision));
        documents.extend(page.documents);
        next = page.next;
    }
    writer.await.unwrap();
    // Following the history up to that revision gives the same.
    assert!(documents.is_sorted_by(|one, two| one.id < two.id));
    let again = ListRequest {
        page: Some(fleet_store::PageToken { revision: first.revision, after: "\u{1}".to_owned() }),
        ..ListRequest::all()
    };
    assert_eq!(store.list(&THINGS, again).await.unwrap().documents, documents);
}

pub(crate) async fn limit_of_all(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill(&store, &["a", "b", "c"]).await;
    let request = ListRequest { limit: Some(3), ..ListRequest::all() };
    let page = store.list(&THINGS, request).await.unwrap();
    assert_eq!((page.documents.len(), page.next), (3, None));
}

fn kind(n: usize) -> String {
    let place = if n.is_multiple_of(2) { "\"here\"" } else { "null" };
    format!("{{\"kind\":\"k{}\",\"place\":{place},\"n\":{n}}}", n % 5)
}

pub(crate) async fn filters(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 60, kind).await;
    put(&store, "odd-1", "{\"kind\":[\"k1\"]}").await;
    put(&store, "odd-2", "{\"kind\":{\"k1\":1}}").await;
    put(&store, "odd-3", "{}").await;
    let count = async |filter: Vec<(&'static str, String)>| {
        let request = ListRequest { filter, ..ListRequest::all() };
        store.list(&THINGS, request).await.unwrap().documents.len()
    };
    assert_eq!(count(vec![("kind", "k1".to_owned())]).await, 12);
    assert_eq!(count(vec![("kind", "k1".to_owned()), ("place", "here".to_owned())]).await, 6);
    assert_eq!(count(vec![("kind", "k1".to_owned()), ("kind", "k2".to_owned())]).await, 0);
    assert_eq!(count(vec![("place", "null".to_owned())]).await, 0);
    assert_eq!(count(vec![("kind", "k1' OR '1'='1".to_owned())]).await, 0);
    // What a document says now counts, not what it said.
    put(&store, "id-00001", kind(2)).await;
    delete(&store, "id-00006").await;
    assert_eq!(count(vec![("kind", "k1".to_owned())]).await, 10);
    let request = ListRequest { filter: vec![("kind", "k1".to_owned())], ..ListRequest::prefix("id-0001") };
    assert_eq!(ids(&store.list(&THINGS, request).await.unwrap()), ["id-00011", "id-00016"]);
}

pub(crate) async fn filtered_pages(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 60, kind).await;
    let request = ListRequest { filter: vec![("kind", "k3".to_owned())], ..ListRequest::all() };
    let pages = pages(&store, request, 5).await;
    let wanted: Vec<String> = (0..60).filter(|n| n % 5 == 3).map(|n| format!("id-{n:05}")).collect();
    assert_eq!(pages.concat(), wanted);
    assert_eq!(pages.len(), 3);
}

pub(crate) async fn fields_without_index_are_refused(harness: Arc<dyn Harness>) {
    let request = ListRequest { filter: vec![("n", "1".to_owned())], ..ListRequest::all() };
    assert_eq!(harness.store().list(&THINGS, request).await.unwrap_err().kind, ErrorKind::Invalid);
}

pub(crate) async fn limit_zero_is_refused(harness: Arc<dyn Harness>) {
    let request = ListRequest { limit: Some(0), ..ListRequest::all() };
    assert_eq!(harness.store().list(&THINGS, request).await.unwrap_err().kind, ErrorKind::Invalid);
}

pub(crate) async fn more_than_a_chunk(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 2500, body).await;
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    assert_eq!(page.documents.len(), 2500);
    assert!(page.documents.is_sorted_by(|one, two| one.id < two.id));
    let request = ListRequest { limit: Some(2400), ..ListRequest::all() };
    let page = store.list(&THINGS, request).await.unwrap();
    assert_eq!((page.documents.len(), page.next.is_some()), (2400, true));
}

pub(crate) async fn big_documents(harness: Arc<dyn Harness>) {
    let store = harness.store();
    fill_many(&store, 70, |_| body_of_size(1_000_000)).await;
    let page = store.list(&THINGS, ListRequest::all()).await.unwrap();
    assert_eq!(page.documents.len(), 70);
    assert!(page.documents.iter().all(|document| document.body.len() == 1_000_000));
    let all: Vec<String> = page.documents.into_iter().map(|document| document.id).collect();
    let found = store.get_many(&THINGS, &all).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

pub(crate) async fn shows_every_acknowledged_write(harness: Arc<dyn Harness>) {
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = harness.store();
        writers.spawn(async move {
            for n in 0..15 {
                let id = format!("{writer}-{n}");
                let revision = put(&store, &id, body(n)).await;
                let page = store.list(&THINGS, ListRequest::prefix(format!("{writer}-"))).await.unwrap();
                assert!(page.revision >= revision);
                assert_eq!(page.documents.len(), n + 1);
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}
