use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fleet_access::audit::{
    ADMISSION, Audit, AuditBounds, AuditEntry, AuditQuery, COUNTED, Cursor, Deed, Doer, HIDDEN,
};
use fleet_access::documents::AUDIT;
use fleet_access::timestamp::Timestamp;
use fleet_store::decorate::Faults;
use fleet_store::{Expect, ListRequest, Write};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{World, now};

const SECOND: Duration = Duration::from_secs(1);

/// A server's trail and what writes it.
struct Running {
    audit: Audit,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(world: &World) -> Running {
        let (audit, writer) = Audit::new(&world.store);
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(writer.run(async {
            let _ = ended.await;
        }));
        Running { audit, end, task }
    }

    async fn stop(self) {
        self.end.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Writes an entry and waits for the store.
    async fn keep(&self, user: &str, kind: &str, object: &str, at: SystemTime) {
        let place = self.audit.admit().await.unwrap();
        let kept = place.keep_at(&doer(user), vec![deed(kind, object)], at);
        assert!(kept.written(Duration::from_secs(60)).await);
    }

    async fn objects(&self, query: &AuditQuery) -> Vec<String> {
        let page = self.audit.page(query, None, 1000).await.unwrap();
        assert_eq!((page.total, page.next), (page.entries.len(), None));
        page.entries.into_iter().map(|entry| entry.object).collect()
    }
}

fn doer(user: &str) -> Doer {
    Doer { user: user.to_owned(), remote: "192.0.2.7".to_owned(), status: 200 }
}

fn deed(kind: &str, object: &str) -> Deed {
    Deed { kind: kind.to_owned(), object: object.to_owned(), before: None, after: None }
}

fn clock(later: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(now().unix().unsigned_abs()) + later
}

#[tokio::test]
async fn an_entry_says_who_did_what_without_secrets() {
    let world = World::new();
    let running = Running::start(&world);
    let place = running.audit.admit().await.unwrap();
    let deed = Deed {
        before: Some(json!({"name": "main", "password": "hunter2"})),
        after: Some(json!({"name": "other", "password": "hunter3", "hosts": ["https://a:hunter4@h"]})),
        ..deed("output", "default")
    };
    assert!(place.keep_at(&doer("ann"), vec![deed], clock(SECOND)).written(60 * SECOND).await);
    let page = running.audit.page(&AuditQuery::default(), None, 10).await.unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((entry.user.as_str(), entry.remote.as_str(), entry.status), ("ann", "192.0.2.7", 200));
    assert_eq!((entry.kind.as_str(), entry.object.as_str()), ("output", "default"));
    assert_eq!(entry.timestamp, now() + SECOND);
    assert_eq!(entry.before, Some(json!({"name": "main", "password": HIDDEN})));
    let after = json!({"name": "other", "password": "*** (changed)", "hosts": ["https://a:***@h"]});
    assert_eq!(entry.after, Some(after));
    let stored = world.store.list(&AUDIT, ListRequest::all()).await.unwrap().documents;
    let text = std::str::from_utf8(&stored[0].body).unwrap();
    assert!(!text.contains("hunter"), "{text}");
    running.stop().await;
}

#[tokio::test]
async fn it_is_read_newest_first_by_time_user_kind_and_object() {
    let world = World::new();
    let (here, there) = (Running::start(&world), Running::start(&world));
    for (number, (user, kind)) in
        [("ann", "user"), ("bob", "user"), ("ann", "output"), ("ann", "user")].into_iter().enumerate()
    {
        let running = if number % 2 == 0 { &here } else { &there };
        let later = u32::try_from(number).unwrap() * SECOND;
        running.keep(user, kind, &number.to_string(), clock(later)).await;
    }
    let all = AuditQuery::default();
    assert_eq!(here.objects(&all).await, ["3", "2", "1", "0"]);
    let by = |user: &str| AuditQuery { user: Some(user.to_owned()), ..AuditQuery::default() };
    assert_eq!(there.objects(&by("ann")).await, ["3", "2", "0"]);
    assert_eq!(there.objects(&AuditQuery { kind: Some("user".to_owned()), ..by("ann") }).await, ["3", "0"]);
    assert_eq!(
        here.objects(&AuditQuery { object: Some("1".to_owned()), ..by("ann") }).await,
        [] as [&str; 0]
    );
    let (first, last) = (Some(now() + SECOND), Some(now() + 2 * SECOND));
    assert_eq!(here.objects(&AuditQuery { from: first, ..all.clone() }).await, ["3", "2", "1"]);
    assert_eq!(here.objects(&AuditQuery { to: last, ..all.clone() }).await, ["2", "1", "0"]);
    assert_eq!(here.objects(&AuditQuery { from: first, to: last, ..by("ann") }).await, ["2"]);
    assert_eq!(here.objects(&AuditQuery { from: last, to: first, ..all }).await, [] as [&str; 0]);
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn pages_hold_together_while_more_is_written_and_history_is_forgotten() {
    let world = World::new();
    let running = Running::start(&world);
    let write = async |from: u32, to: u32| {
        let place = running.audit.admit().await.unwrap();
        let deeds = (from..to).map(|number| deed("user", &number.to_string())).collect();
        assert!(place.keep_at(&doer("ann"), deeds, clock(from * SECOND)).written(60 * SECOND).await);
    };
    write(0, 25).await;
    let query = AuditQuery::default();
    let mut seen = Vec::new();
    let mut cursor: Option<Cursor> = None;
    for round in 0..10 {
        let page = running.audit.page(&query, cursor.as_ref(), 10).await.unwrap();
        assert_eq!(page.total, 25);
        seen.extend(page.entries.into_iter().map(|entry| entry.object));
        // What a client sends back is what it was sent.
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        write(100 + round, 101 + round).await;
        world.store.compact(Duration::ZERO).await.unwrap();
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(seen, expected);
    for text in
        ["", "x", "-1", "0-0", &format!("{}-1", "g".repeat(32)), &format!("{}-ffffff", "0".repeat(32))]
    {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
    running.stop().await;
}

#[tokio::test]
async fn an_export_is_whole_even_if_the_store_forgets_history_meanwhile() {
    let world = World::new();
    let running = Running::start(&world);
    for round in 0..13_u32 {
        let place = running.audit.admit().await.unwrap();
        let deeds = (0..100).map(|number| deed("user", &(round * 100 + number).to_string())).collect();
        place.keep_at(&doer("ann"), deeds, clock(round * SECOND)).written(60 * SECOND).await;
    }
    let mut export = running.audit.export(&AuditQuery::default());
    let mut seen: Vec<AuditEntry> = Vec::new();
    let mut parts = 0;
    while let Some(part) = export.next().await.unwrap() {
        parts += 1;
        seen.extend(part);
        running.keep("ann", "user", "later", clock(60 * SECOND)).await;
        world.store.compact(Duration::ZERO).await.unwrap();
    }
    assert_eq!(parts, 3);
    let objects: Vec<&str> = seen.iter().map(|entry| entry.object.as_str()).collect();
    let expected: Vec<String> = (0..1300).rev().map(|number| number.to_string()).collect();
    assert_eq!(objects, expected);
    running.stop().await;
}

#[tokio::test]
async fn while_the_store_is_away_entries_wait_and_then_nothing_may_be_changed() {
    let world = World::new();
    let running = Running::start(&world);
    world.faulty.set(Faults::DOWN);
    tokio::time::pause();
    let mut kept = Vec::new();
    let begin = tokio::time::Instant::now();
    let refused = loop {
        let at = tokio::time::Instant::now();
        match running.audit.admit().await {
            Ok(place) => kept.push(place.keep_at(
                &doer("ann"),
                vec![deed("user", &kept.len().to_string())],
                clock(SECOND),
            )),
            Err(_) => break at.elapsed(),
        }
    };
    world.faulty.set(Faults::NONE);
    // The longest pause of the writer is over.
    tokio::time::advance(5 * SECOND).await;
    tokio::time::resume();
    assert!((ADMISSION..ADMISSION + SECOND).contains(&refused), "{refused:?}");
    // The queue, and what the writer has in its hands.
    assert!((256..600).contains(&kept.len()), "{} within {:?}", kept.len(), begin.elapsed());
    let count = kept.len();
    let mut kept = kept.into_iter();
    assert!(kept.next().unwrap().written(60 * SECOND).await);
    world.faulty.set(Faults { answer_lost: 0.2, request_lost: 0.1, ..Faults::NONE });
    for kept in kept {
        assert!(kept.written(60 * SECOND).await);
    }
    world.faulty.set(Faults::NONE);
    let expected: Vec<String> = (0..count).rev().map(|number| number.to_string()).collect();
    assert_eq!(running.objects(&AuditQuery::default()).await, expected);
    running.stop().await;
}

/// Where the log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_cannot_be_written_before_the_end_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The test's runtime has one thread, this one.
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let running = Running::start(&world);
    let late = running.audit.admit().await.unwrap();
    world.faulty.set(Faults::DOWN);
    let place = running.audit.admit().await.unwrap();
    let kept =
        place.keep_at(&doer("ann"), vec![deed("user", "first"), deed("user", "second")], clock(SECOND));
    assert!(!kept.written(Duration::from_millis(1)).await);
    let audit = running.audit.clone();
    running.stop().await;
    assert!(
        !late.keep_at(&doer("bob"), vec![deed("user", "third")], clock(SECOND)).written(SECOND / 100).await
    );
    assert!(audit.admit().await.is_err());
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for object in ["first", "second", "third"] {
        let line = text.lines().find(|line| line.contains(object)).unwrap();
        assert!(line.contains("ERROR audit") && line.contains("2026-11-22T05:17:49Z"), "{line}");
    }
}

#[tokio::test]
async fn what_is_written_before_the_end_is_in_the_store() {
    let world = World::new();
    let running = Running::start(&world);
    let place = running.audit.admit().await.unwrap();
    let kept = place.keep_at(&doer("ann"), vec![deed("user", "last")], clock(SECOND));
    running.stop().await;
    assert!(kept.written(SECOND).await);
    assert_eq!(Running::start(&world).objects(&AuditQuery::default()).await, ["last"]);
}

#[tokio::test]
async fn the_trail_is_bounded_in_number_and_age() {
    let world = World::new();
    let running = Running::start(&world);
    for hour in 0..30_u32 {
        running.keep("ann", "user", &hour.to_string(), clock(hour * 3600 * SECOND)).await;
    }
    let at: Timestamp = now() + 30 * 3600 * SECOND;
    let bounds = AuditBounds { most: 1000, oldest: 20 * 3600 * SECOND };
    assert_eq!(running.audit.tidy(bounds, at, false).await.unwrap(), 11);
    assert_eq!(running.objects(&AuditQuery::default()).await.last().unwrap(), "11");
    assert_eq!(running.audit.tidy(bounds, at, true).await.unwrap(), 0);

    // Nothing was written since the last count: it is not counted again unless that is asked for.
    let few = AuditBounds { most: 5, ..bounds };
    assert_eq!(running.audit.tidy(few, at, false).await.unwrap(), 0);
    assert_eq!(running.audit.tidy(few, at, true).await.unwrap(), 14);
    assert_eq!(running.objects(&AuditQuery::default()).await, ["29", "28", "27", "26", "25"]);
    running.keep("ann", "user", "new", clock(31 * 3600 * SECOND)).await;
    assert_eq!(running.audit.tidy(few, at, false).await.unwrap(), 1);
    assert_eq!(running.audit.tidy(few, at, true).await.unwrap(), 0);
    running.stop().await;
}

#[tokio::test]
async fn more_than_can_be_counted_is_said_to_be_that_much() {
    let world = World::new();
    let running = Running::start(&world);
    for round in 0..103_u32 {
        let place = running.audit.admit().await.unwrap();
        let deeds = (0..100).map(|number| deed("user", &number.to_string())).collect();
        place.keep_at(&doer("ann"), deeds, clock(round * SECOND)).written(60 * SECOND).await;
    }
    let page = running.audit.page(&AuditQuery::default(), None, 3).await.unwrap();
    assert_eq!((page.entries.len(), page.total), (3, COUNTED));
    let next = running.audit.page(&AuditQuery::default(), page.next.as_ref(), 3).await.unwrap();
    assert_eq!((next.entries[0].object.as_str(), next.total), ("96", COUNTED));
    running.stop().await;
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_hides_no_other() {
    let world = World::new();
    let running = Running::start(&world);
    running.keep("ann", "user", "fine", clock(SECOND)).await;
    let garbage = Write::put("f".repeat(32), Expect::Absent, "{}");
    world.store.write(&AUDIT, garbage, None).await.unwrap();
    assert_eq!(running.objects(&AuditQuery::default()).await, ["fine"]);
    running.stop().await;
}
