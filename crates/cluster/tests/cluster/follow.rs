//! Following one document through everything that may happen to it and to the store.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::documents::{MACHINE_METADATA, MetadataDocument};
use fleet_cluster::environment::Environment;
use fleet_cluster::follow::{Known, follow};
use fleet_simulation::{Condition, Faults};
use fleet_store::{Expect, Typed};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::kit::{Kit, until};

const ID: &str = "document";
const BEAT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(2);

type Seen = watch::Receiver<Known<MetadataDocument>>;

fn document(value: &str) -> MetadataDocument {
    MetadataDocument { values: [("key".to_owned(), Some(value.to_owned()))].into() }
}

fn begin(kit: &Kit, watches: bool) -> (Seen, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(Known::NotYet);
    let typed = Typed::new(Arc::clone(&kit.store), &MACHINE_METADATA);
    let task = tokio::spawn(async move {
        let environment = Environment::seeded(1);
        follow(typed, ID.to_owned(), watches, BEAT, &environment, sender).await;
    });
    (receiver, task)
}

async fn put(kit: &Kit, value: &str) {
    let typed = Typed::new(Arc::clone(&kit.admin), &MACHINE_METADATA);
    typed.put(ID, &document(value), Expect::Any, None, None).await.unwrap();
}

async fn delete(kit: &Kit) {
    let typed: Typed<MetadataDocument> = Typed::new(Arc::clone(&kit.admin), &MACHINE_METADATA);
    typed.delete(ID, Expect::Any, None).await.unwrap();
}

async fn sees(seen: &Seen, known: &Known<MetadataDocument>, limit: Duration) {
    until(&format!("{known:?}"), limit, || *seen.borrow() == *known).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_told_as_it_changes() {
    for watches in [true, false] {
        let kit = Kit::new();
        let (seen, _task) = begin(&kit, watches);
        assert_eq!(*seen.borrow(), Known::NotYet);
        let limit = if watches { Duration::from_millis(10) } else { BEAT + Duration::from_millis(10) };
        sees(&seen, &Known::Absent, limit).await;
        for value in ["one", "two"] {
            put(&kit, value).await;
            sees(&seen, &Known::Present(document(value)), limit).await;
        }
        delete(&kit).await;
        sees(&seen, &Known::Absent, limit).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_it_is_not_known_or_stays_as_it_was() {
    for watches in [true, false] {
        for condition in [Condition::Refusing, Condition::Silent] {
            let kit = Kit::new();
            kit.link.set(condition);
            put(&kit, "one").await;
            let (seen, _task) = begin(&kit, watches);
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(*seen.borrow(), Known::NotYet);
            kit.link.set(Condition::Up);
            sees(&seen, &Known::Present(document("one")), BEAT + SOON).await;
            kit.link.set(condition);
            delete(&kit).await;
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(*seen.borrow(), Known::Present(document("one")));
            kit.link.set(Condition::Up);
            sees(&seen, &Known::Absent, BEAT + SOON).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_changes_nothing() {
    for watches in [true, false] {
        let kit = Kit::new();
        kit.memory.overwrite(&MACHINE_METADATA, ID, "{\"values\":7}");
        let (seen, _task) = begin(&kit, watches);
        sleep(Duration::from_secs(300)).await;
        // That is something else than no document.
        assert_eq!(*seen.borrow(), Known::Unreadable);
        put(&kit, "one").await;
        sees(&seen, &Known::Present(document("one")), BEAT + SOON).await;
        kit.memory.overwrite(&MACHINE_METADATA, ID, "{\"values\":7}");
        sleep(Duration::from_secs(300)).await;
        assert_eq!(*seen.borrow(), Known::Present(document("one")));
        put(&kit, "two").await;
        sees(&seen, &Known::Present(document("two")), BEAT + SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_that_was_forgotten_meanwhile_is_no_loss() {
    let kit = Kit::new();
    let (seen, _task) = begin(&kit, true);
    sees(&seen, &Known::Absent, SOON).await;
    kit.link.set(Condition::Silent);
    put(&kit, "one").await;
    put(&kit, "two").await;
    kit.admin.compact(Duration::ZERO).await.unwrap();
    kit.link.set(Condition::Up);
    sees(&seen, &Known::Present(document("two")), SOON).await;
}

#[tokio::test(start_paused = true)]
async fn watches_that_fail_are_not_asked_for_again_at_once() {
    let kit = Kit::new();
    let latency = Duration::from_millis(1);
    kit.link.set_faults(Faults { latency: latency..=latency, failing_watches: 1.0, ..Faults::default() });
    put(&kit, "zero").await;
    let (seen, _task) = begin(&kit, true);
    sees(&seen, &Known::Present(document("zero")), SOON).await;
    let before = kit.link.requests();
    for round in 0..600 {
        put(&kit, &round.to_string()).await;
        sleep(Duration::from_millis(100)).await;
    }
    // A minute has passed; after each failure there was a pause of a quarter of a second on average.
    let requests = kit.link.requests() - before;
    assert!((100..800).contains(&requests), "{requests} requests in a minute");
    sees(&seen, &Known::Present(document("599")), SOON).await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    for watches in [true, false] {
        let kit = Kit::new();
        let (seen, task) = begin(&kit, watches);
        sees(&seen, &Known::Absent, SOON).await;
        drop(seen);
        tokio::time::timeout(SOON, task).await.unwrap().unwrap();
    }
}
