//! Concurrent requests for one unit, checked against a sequential model: there is an order of them, one that
//! respects which was over before which began, in which each gets the answer that it got.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_store::decorate::{Faults, Faulty};
use fleet_store::embedded::Embedded;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, body, sleep};

const UNIT: &str = "a.service";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// A file, perhaps with a state.
    Submit(u32, Option<&'static str>),
    /// A state.
    Want(&'static str),
    Destroy,
    Restart,
    Get,
    List,
}

/// The unit as a client sees it: file, state, and how many restarts.
type Unit = Option<(u32, &'static str, u64)>;

/// A request with its answer, and when it began and ended.
#[derive(Clone, Debug)]
struct Done {
    ask: Ask,
    status: u16,
    /// What a read has shown.
    seen: Option<Value>,
    began: u64,
    ended: u64,
    /// Another asked the same at the same time, and may have come first unnoticed: of two who remove a unit,
    /// both are told that it is gone, and, where answers of the store are lost, of two who make the same unit
    /// both may be told that it is made.
    beside_same: bool,
}

const STATES: &[&str] = &["inactive", "loaded", "launched"];

fn ask() -> impl Strategy<Value = Ask> {
    let state = || prop::sample::select(STATES);
    prop_oneof![
        4 => (1..4u32, prop::option::of(state())).prop_map(|(file, state)| Ask::Submit(file, state)),
        3 => state().prop_map(Ask::Want),
        2 => Just(Ask::Destroy),
        2 => Just(Ask::Restart),
        3 => Just(Ask::Get),
        1 => Just(Ask::List),
    ]
}

/// Whether `done` may have happened to `unit` at one moment, and what the unit is then. More than one outcome
/// is possible only where the store's answer was lost.
fn step(unit: Unit, done: &Done) -> Vec<Unit> {
    let expected: (u16, Unit) = match (done.ask, unit) {
        (Ask::Submit(file, state), None) => (201, Some((file, state.unwrap_or("inactive"), 0))),
        (Ask::Submit(file, state), Some((there, _, restarts))) if file != there => {
            (201, Some((file, state.unwrap_or("inactive"), restarts)))
        }
        (Ask::Submit(_, state), Some((_, there, _)))
            if done.beside_same && done.status == 201 && state.unwrap_or("inactive") == there =>
        {
            (201, unit)
        }
        (Ask::Submit(_, None), Some(_)) => (409, unit),
        (Ask::Submit(_, Some(state)) | Ask::Want(state), Some((file, _, restarts))) => {
            (204, Some((file, state, restarts)))
        }
        (Ask::Want(_), None) => (409, None),
        (Ask::Destroy, None) if done.beside_same && done.status == 204 => (204, None),
        (Ask::Destroy | Ask::Restart, None) => (404, None),
        (Ask::Destroy, Some(_)) => (204, None),
        (Ask::Restart, Some((file, "launched", restarts))) => (204, Some((file, "launched", restarts + 1))),
        (Ask::Restart, Some(_)) => (409, unit),
        (Ask::Get, None) => (404, None),
        (Ask::Get, Some(_)) | (Ask::List, _) => (200, unit),
    };
    let shown = unit.map(|(file, state, _)| json!([state, sleep(file)]));
    match done.status {
        // Perhaps it was done, perhaps not.
        503 => vec![unit, expected.1],
        status if status != expected.0 => vec![],
        _ if done.seen.is_some() && done.seen != Some(json!(shown)) => vec![],
        _ => vec![expected.1],
    }
}

/// Whether there is an order (Wing and Gong's search, with the states that were met remembered).
fn has_order(history: &[Done]) -> bool {
    let mut met = HashSet::new();
    let mut open = vec![(0u64, None)];
    while let Some((taken, unit)) = open.pop() {
        if taken.count_ones() as usize == history.len() {
            return true;
        }
        let is_left = |index: &usize| taken & (1 << index) == 0;
        let left = || (0..history.len()).filter(is_left);
        // Only what began before anything left had ended can be next.
        let first_end = left().map(|index| history[index].ended).min().unwrap_or(u64::MAX);
        for index in left().filter(|index| history[*index].began < first_end) {
            for after in step(unit, &history[index]) {
                let next = (taken | 1 << index, after);
                if met.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    false
}

async fn carry_out(world: &World, ask: Ask) -> (u16, Option<Value>) {
    let reply = match ask {
        Ask::Submit(file, Some(state)) => world.put(UNIT, body(state, file)).await,
        Ask::Submit(file, None) => world.put(UNIT, json!({"options": sleep(file)})).await,
        Ask::Want(state) => world.put(UNIT, json!({"desiredState": state})).await,
        Ask::Destroy => world.delete(UNIT).await,
        Ask::Restart => world.restart(UNIT).await,
        Ask::Get => world.get("/units/a.service").await,
        Ask::List => world.get("/units").await,
    };
    let pair = |unit: &Value| json!([unit["desiredState"], unit["options"]]);
    let seen = match ask {
        Ask::Get if reply.status == 200 => Some(pair(&reply.json())),
        Ask::List if reply.status == 200 => Some(reply.json()["units"].get(0).map_or(Value::Null, pair)),
        _ => None,
    };
    (reply.status.as_u16(), seen)
}

/// Runs clients beside each other, through two fleetds, and notes what they saw.
async fn run(clients: Vec<Vec<Ask>>, faults: Faults) -> Vec<Done> {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(&directory.path().join("fleet.db")).unwrap();
    let store = Arc::new(Faulty::new(Arc::new(embedded), 7, faults));
    let worlds = [World::over(store.clone()), World::over(store)];
    let clock = AtomicU64::new(0);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    let run_client = |(number, asks): (usize, Vec<Ask>)| {
        let (world, tick) = (&worlds[number % worlds.len()], &tick);
        async move {
            let mut history = Vec::new();
            for ask in asks {
                let began = tick();
                let (status, seen) = carry_out(world, ask).await;
                history.push(Done { ask, status, seen, began, ended: tick(), beside_same: false });
            }
            history
        }
    };
    let histories = futures_util::future::join_all(clients.into_iter().enumerate().map(run_client)).await;
    let mut history = histories.concat();
    let all = history.clone();
    for done in &mut history {
        let is_idempotent =
            done.ask == Ask::Destroy || (faults != Faults::NONE && matches!(done.ask, Ask::Submit(..)));
        let overlaps = |other: &Done| other.began < done.ended && done.began < other.ended;
        let same = |other: &&Done| other.ask == done.ask && other.began != done.began;
        done.beside_same = is_idempotent && all.iter().filter(same).any(overlaps);
    }
    history
}

fn check(clients: Vec<Vec<Ask>>, faults: Faults) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut history = runtime.block_on(run(clients, faults));
    history.sort_by_key(|done| done.began);
    prop_assert!(has_order(&history), "no order explains {history:#?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_happen_one_after_the_other(
        clients in prop::collection::vec(prop::collection::vec(ask(), 1..8), 2..6),
    ) {
        check(clients, Faults::NONE)?;
    }

    #[test]
    fn so_they_do_when_answers_of_the_store_are_lost(
        clients in prop::collection::vec(prop::collection::vec(ask(), 1..6), 2..4),
    ) {
        check(clients, Faults { refused: 0.02, answer_lost: 0.05, ..Faults::NONE })?;
    }
}

/// The check itself can tell a right history from a wrong one.
#[test]
fn a_history_without_an_order_is_found() {
    let done = |ask, status, began, ended| Done { ask, status, seen: None, began, ended, beside_same: false };
    let make = done(Ask::Submit(1, None), 201, 0, 1);
    assert!(has_order(&[make.clone(), done(Ask::Get, 200, 2, 3)]));
    assert!(!has_order(&[make.clone(), done(Ask::Get, 404, 2, 3)]), "a read that is stale");
    assert!(has_order(&[make.clone(), done(Ask::Get, 404, 0, 3)]), "at the same time");
    assert!(!has_order(&[make.clone(), done(Ask::Submit(1, None), 201, 0, 3)]), "made twice");
    assert!(!has_order(&[make.clone(), done(Ask::Destroy, 204, 2, 9), done(Ask::Destroy, 204, 10, 11)]));
    let mut twice = [make, done(Ask::Destroy, 204, 2, 9), done(Ask::Destroy, 204, 3, 4)];
    twice[1].beside_same = true;
    assert!(has_order(&twice));
}
