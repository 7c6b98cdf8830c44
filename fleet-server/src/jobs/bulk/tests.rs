//! Changes that were cut off, over a real store.

use fleet_policy::documents::{ACTIONS, Action};
use serde_json::json;

use super::*;
use crate::upkeep::tests::Bench;

const ACTION: &str = "11111111-1111-4111-8111-111111111111";

/// A bench with agents of these ids.
async fn with_agents(ids: &[&str]) -> Bench {
    let bench = Bench::new().await;
    for id in ids {
        bench.put(id, bench.old()).await;
    }
    bench
}

async fn ask(bench: &Bench, kind: &str, ids: &[&str]) {
    let now = bench.fleet.clock.now();
    let action = json!({"action_id": ACTION, "@timestamp": now, "type": kind, "data": {}});
    let action: Action = serde_json::from_value(action).unwrap();
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    bench.fleet.actions.create(ACTION, action, ids).await.unwrap();
    let fleet = Arc::clone(&bench.fleet);
    let (told, read) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { fleet.actions.follow(|| told.send(()).unwrap()).await });
    read.await.unwrap();
}

fn tagged(tag: &str) -> Change {
    Change::Tags { add: vec![tag.into()], remove: Vec::new() }
}

fn has(bench: &Bench, id: &str, tag: &str) -> bool {
    bench.fleet.agents.get(id).unwrap().agent.tags.iter().any(|known| **known == *tag)
}

async fn outcome(bench: &Bench) -> Option<Outcome> {
    let actions: Typed<Action> = Typed::new(Arc::clone(&bench.fleet.store), &ACTIONS);
    actions.get(ACTION).await.unwrap().unwrap().value.outcome
}

async fn left(bench: &Bench) -> usize {
    jobs(&bench.fleet).list(Scope::All).await.unwrap().values.len()
}

async fn round(bench: &Bench, lost_after: Duration) {
    let mut seen = HashMap::new();
    BulkKeeper::new(&bench.fleet).round(&mut seen, lost_after).await.unwrap();
}

#[tokio::test]
async fn what_a_server_began_another_one_ends_from_where_it_was() {
    let bench = with_agents(&["a", "b", "c"]).await;
    let mut begun = begin(&bench.fleet, ACTION, tagged("new")).await.unwrap();
    ask(&bench, "UPDATE_TAGS", &["a", "b", "c"]).await;
    // The first one was done when the server ended, and has lost the tag since.
    begun.job.done = 1;
    let expect = Expect::Revision(begun.revision);
    jobs(&bench.fleet).put(ACTION, &begun.job, expect, None, None).await.unwrap();

    round(&bench, Duration::from_secs(3600)).await;
    assert_eq!((has(&bench, "b", "new"), outcome(&bench).await), (false, None), "its server may be at it");
    round(&bench, Duration::ZERO).await;
    assert_eq!(
        (has(&bench, "a", "new"), has(&bench, "b", "new"), has(&bench, "c", "new")),
        (false, true, true)
    );
    assert_eq!(outcome(&bench).await.map(|outcome| (outcome.acked, outcome.failed)), Some((3, 0)));
    assert_eq!(left(&bench).await, 0);
}

#[tokio::test]
async fn a_server_stops_when_another_one_goes_on() {
    let bench = with_agents(&["a"]).await;
    let begun = begin(&bench.fleet, ACTION, tagged("new")).await.unwrap();
    ask(&bench, "UPDATE_TAGS", &["a"]).await;
    round(&bench, Duration::ZERO).await;
    assert!(has(&bench, "a", "new"));
    let ended = outcome(&bench).await;
    run(&bench.fleet, begun, ActionType::UpdateTags, &["a".to_owned()]).await;
    assert_eq!((outcome(&bench).await, left(&bench).await), (ended, 0));
}

#[tokio::test]
async fn a_change_without_its_action_is_forgotten() {
    let bench = with_agents(&["a"]).await;
    begin(&bench.fleet, ACTION, tagged("new")).await.unwrap();
    round(&bench, Duration::ZERO).await;
    assert_eq!((has(&bench, "a", "new"), left(&bench).await), (false, 0));
}

#[tokio::test]
async fn what_fails_again_and_again_is_told_as_failed() {
    let bench = with_agents(&["a", "b"]).await;
    let mut begun = begin(&bench.fleet, ACTION, tagged("new")).await.unwrap();
    ask(&bench, "UPDATE_TAGS", &["a", "b"]).await;
    (begun.job.done, begun.job.attempts) = (1, MOST_ATTEMPTS);
    let expect = Expect::Revision(begun.revision);
    jobs(&bench.fleet).put(ACTION, &begun.job, expect, None, None).await.unwrap();
    round(&bench, Duration::ZERO).await;
    assert_eq!(outcome(&bench).await.map(|outcome| (outcome.acked, outcome.failed)), Some((1, 1)));
    assert_eq!(left(&bench).await, 0);
}

#[test]
fn each_change_is_the_same_done_twice() {
    let at = Timestamp::from_unix(1_800_000_000);
    for change in [
        Change::Leave(at),
        Change::AskedToLeave(Some(at)),
        Change::Upgrade(Some(at)),
        tagged("new"),
        Change::Policy("other".into()),
    ] {
        let mut agent = Agent { active: true, ..Agent::default() };
        assert!(change.apply(&mut agent), "{change:?}");
        assert!(!change.apply(&mut agent), "{change:?}");
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
    let mut gone = Agent::default();
    assert!(!Change::AskedToLeave(Some(at)).apply(&mut gone), "who has left is not leaving");
}
