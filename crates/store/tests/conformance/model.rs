//! Random histories: what a store answers to them is what a few lines over a map answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet_store::{
    Action, Change, Expect, LeaseId, ListRequest, RenewError, Revision, Scope, Store, Write, WriteError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::cases::{THINGS, body, next, put, text_of};
use crate::harness::{EmbeddedHarness, EtcdHarness, Flavour, Harness};

/// What the model remembers of a document: when it was written, what, on which lease.
type Entry = (Revision, String, Option<usize>);

/// A condition without the revisions that only a run knows.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Any,
    Absent,
    /// The document's current revision.
    Current,
    /// Some earlier revision.
    Stale,
}

#[derive(Clone, Debug)]
struct Step {
    id: u8,
    condition: Condition,
    /// `None`: a delete.
    put: Option<usize>,
    on: Option<u8>,
}

#[derive(Clone, Debug)]
enum Operation {
    Write(Step, Option<u8>),
    Batch(Vec<Step>, Option<u8>),
    Grant,
    Revoke(u8),
    Renew(u8),
    List(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        3 => Just(Condition::Any),
        2 => Just(Condition::Absent),
        3 => Just(Condition::Current),
        1 => Just(Condition::Stale),
    ];
    let put = prop_oneof![1 => Just(None), 3 => (0..100_usize).prop_map(Some)];
    let on = prop_oneof![3 => Just(None), 1 => (0..4_u8).prop_map(Some)];
    (0..5_u8, condition, put, on).prop_map(|(id, condition, put, on)| Step { id, condition, put, on })
}

fn operation() -> impl Strategy<Value = Operation> {
    let held = || prop_oneof![4 => Just(None), 1 => (0..4_u8).prop_map(Some)];
    prop_oneof![
        6 => (step(), held()).prop_map(|(step, held)| Operation::Write(step, held)),
        2 => (vec(step(), 0..8), held()).prop_map(|(steps, held)| Operation::Batch(steps, held)),
        2 => Just(Operation::Grant),
        1 => (0..4_u8).prop_map(Operation::Revoke),
        1 => (0..4_u8).prop_map(Operation::Renew),
        2 => proptest::option::of(1..4_usize).prop_map(Operation::List),
    ]
}

/// The store as it should be.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Entry>,
    leases: Vec<(LeaseId, bool)>,
    /// Every change: to which document, the new text or `None`; in order for each document.
    changes: Vec<(String, Option<String>)>,
    last: Revision,
}

impl Model {
    /// A lease by its number; one that was never granted is never held.
    fn lease(&self, number: u8) -> (LeaseId, bool) {
        self.leases.get(usize::from(number)).copied().unwrap_or((LeaseId(i64::from(number) + 77), false))
    }

    fn write(&self, step: &Step) -> Write {
        let id = format!("id-{}", step.id);
        let current = self.documents.get(&id).map_or(Revision(u64::MAX), |entry| entry.0);
        let expect = match step.condition {
            Condition::Any => Expect::Any,
            Condition::Absent => Expect::Absent,
            Condition::Current => Expect::Revision(current),
            Condition::Stale => Expect::Revision(Revision(current.0 - 1)),
        };
        let lease = step.on.map(|number| self.lease(number).0);
        match step.put {
            Some(n) => Write { id, expect, action: Action::Put { body: body(n).into(), lease } },
            None => Write::delete(id, expect),
        }
    }

    /// Checks one answer, and takes over what it did.
    fn check(&mut self, step: &Step, write: &Write, held: Option<u8>, answer: &Result<Revision, WriteError>) {
        let on = step.on.filter(|_| step.put.is_some());
        let lost = [held, on].into_iter().flatten().any(|number| !self.lease(number).1);
        let current = self.documents.get(&write.id).map(|entry| entry.0);
        let as_expected = match write.expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(wanted) => current == Some(wanted),
        };
        match answer {
            Err(WriteError::LeaseLost) => assert!(lost, "{write:?}"),
            Err(WriteError::Conflict { current: told }) => {
                assert!(!lost && !as_expected, "{write:?}");
                assert_eq!(*told, current);
            }
            Ok(revision) => {
                assert!(!lost && as_expected, "{write:?}");
                assert!(*revision >= self.last, "{revision} after {}", self.last);
                self.last = *revision;
                if let Some(n) = step.put {
                    let lease = on.map(usize::from);
                    self.documents.insert(write.id.clone(), (*revision, body(n), lease));
                    self.changes.push((write.id.clone(), Some(body(n))));
                } else if self.documents.remove(&write.id).is_some() {
                    self.changes.push((write.id.clone(), None));
                }
            }
            Err(error) => panic!("{write:?}: {error:?}"),
        }
    }
}

async fn play(store: &Arc<dyn Store>, operations: &[Operation]) {
    let start = put(store, "zz-start", body(0)).await;
    let mut model = Model { last: start, ..Model::default() };
    model.documents.insert("zz-start".to_owned(), (start, body(0), None));
    for operation in operations {
        run(store, &mut model, operation).await;
    }
    let everything = list(store, None).await;
    let wanted: Vec<(String, String)> =
        model.documents.iter().map(|(id, entry)| (id.clone(), entry.1.clone())).collect();
    assert_eq!(everything, wanted);
    follow(store, start, &model).await;
}

async fn run(store: &Arc<dyn Store>, model: &mut Model, operation: &Operation) {
    let held_by = |model: &Model, held: &Option<u8>| held.map(|number| model.lease(number).0);
    match operation {
        Operation::Write(step, held) => {
            let write = model.write(step);
            let answer = store.write(&THINGS, write.clone(), held_by(model, held)).await;
            model.check(step, &write, *held, &answer);
        }
        Operation::Batch(steps, held) => {
            // The revisions in the conditions are those from before the batch.
            let writes: Vec<Write> = steps.iter().map(|step| model.write(step)).collect();
            let answers = store.write_many(&THINGS, writes.clone(), held_by(model, held)).await;
            assert_eq!(answers.len(), writes.len());
            // Writes to different documents may be done in any order, each document's in theirs.
            let order: BTreeSet<&String> = writes.iter().map(|write| &write.id).collect();
            let last = model.last;
            for id in order {
                model.last = last;
                for ((step, write), answer) in steps.iter().zip(&writes).zip(&answers) {
                    if write.id == *id {
                        model.check(step, write, *held, answer);
                    }
                }
            }
            model.last = answers.iter().flatten().copied().max().unwrap_or(last).max(last);
        }
        Operation::Grant => {
            let lease = store.grant(Duration::from_secs(300)).await.unwrap();
            if model.leases.len() < 4 {
                model.leases.push((lease.id, true));
            } else {
                store.revoke(lease.id).await.unwrap();
            }
        }
        Operation::Revoke(number) => {
            store.revoke(model.lease(*number).0).await.unwrap();
            let number = usize::from(*number);
            if let Some(lease) = model.leases.get_mut(number) {
                lease.1 = false;
            }
            let gone = |entry: &Entry| entry.2 == Some(number);
            let ids: Vec<String> =
                model.documents.iter().filter(|(_, entry)| gone(entry)).map(|(id, _)| id.clone()).collect();
            for id in ids {
                model.documents.remove(&id);
                model.changes.push((id, None));
            }
        }
        Operation::Renew(number) => {
            let (lease, held) = model.lease(*number);
            match store.renew(lease).await {
                Ok(()) => assert!(held),
                Err(RenewError::Lost) => assert!(!held),
                Err(error) => panic!("{error:?}"),
            }
        }
        Operation::List(limit) => {
            let wanted: Vec<(String, String)> =
                model.documents.iter().map(|(id, entry)| (id.clone(), entry.1.clone())).collect();
            assert_eq!(list(store, *limit).await, wanted);
        }
    }
}

async fn list(store: &Arc<dyn Store>, limit: Option<usize>) -> Vec<(String, String)> {
    let mut request = ListRequest { limit, ..ListRequest::all() };
    let mut all = Vec::new();
    loop {
        let page = store.list(&THINGS, request.clone()).await.unwrap();
        all.extend(page.documents.iter().map(|document| (document.id.clone(), text_of(document))));
        match page.next {
            Some(next) => request.page = Some(next),
            None => return all,
        }
    }
}

/// Per document, the watch tells every change of the history in order.
async fn follow(store: &Arc<dyn Store>, start: Revision, model: &Model) {
    let mut watch = store.watch(&THINGS, Scope::Prefix("id-".to_owned()), start).await.unwrap();
    let mut seen: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    let (mut count, mut last) = (0, start);
    while count < model.changes.len() {
        let changes = next(&mut watch).await;
        assert!(changes.revision > last);
        last = changes.revision;
        for change in changes.changes {
            count += 1;
            let text = match &change {
                Change::Put(document) => Some(text_of(document)),
                Change::Delete { .. } => None,
            };
            seen.entry(change.id().to_owned()).or_default().push(text);
        }
    }
    assert!(watch.try_next().is_none());
    let mut wanted: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (id, text) in &model.changes {
        wanted.entry(id.clone()).or_default().push(text.clone());
    }
    assert_eq!(seen, wanted);
}

fn hold<H: Harness>(cases: u32, make: impl Fn() -> Option<H>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A failing seed is printed; there is no file to keep it in.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&vec(operation(), 0..40), |operations| {
        let Some(harness) = make() else { return Ok(()) };
        runtime.block_on(play(&harness.store(), &operations));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_embedded_store_is_as_its_model() {
    hold(48, EmbeddedHarness::new);
}

#[test]
fn etcd_is_as_its_model() {
    hold(48, || EtcdHarness::shared(Flavour::Plain));
}
