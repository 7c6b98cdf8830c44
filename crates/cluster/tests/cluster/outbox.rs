//! Publishing states: few writes, nothing lost, nothing ended too early.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::Outbox;
use fleet_cluster::documents::{STATES, StateDocument, TargetState, state_id};
use fleet_cluster::environment::Environment;
use fleet_cluster::presence::Membership;
use fleet_simulation::{Condition, Faults};
use fleet_store::{Expect, LeaseId, Typed};
use fleet_unit::UnitName;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::kit::{Kit, file, machine, name, until};

const TTL: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(2);

struct Published {
    kit: Kit,
    outbox: Outbox,
    membership: watch::Sender<Membership>,
}

fn begin() -> Published {
    let kit = Kit::new();
    let outbox = Outbox::default();
    let (membership, receiver) = watch::channel(Membership::Joining);
    let (store, publisher) = (Arc::clone(&kit.store), outbox.clone());
    tokio::spawn(async move {
        let environment = Environment::seeded(1);
        publisher.publish(&store, &machine(1), receiver, &environment).await;
    });
    Published { kit, outbox, membership }
}

fn state(sub: &str) -> StateDocument {
    StateDocument {
        machine: machine(1),
        hash: file("one").hash(),
        current: TargetState::Launched,
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: sub.to_owned(),
        restarts: 0,
        error: None,
    }
}

impl Published {
    async fn lease(&self) -> LeaseId {
        self.kit.admin.grant(TTL).await.unwrap().id
    }

    fn join(&self, lease: LeaseId, former: Option<LeaseId>) {
        self.membership.send_replace(Membership::Member { lease, former });
    }

    async fn there(&self, unit: &UnitName) -> Option<String> {
        let states: Typed<StateDocument> = Typed::new(Arc::clone(&self.kit.admin), &STATES);
        let found = states.get(&state_id(unit.as_str(), &machine(1))).await.unwrap();
        found.map(|found| found.value.sub)
    }

    fn count(&self) -> usize {
        self.kit.memory.documents(&STATES).len()
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_written_and_only_while_a_member() {
    let published = begin();
    let (a, b) = (name("a.service"), name("b.service"));
    published.outbox.set(&a, Some(state("running")));
    sleep(SOON).await;
    assert_eq!(published.kit.link.requests(), 0);
    published.join(published.lease().await, None);
    until("a is there", SOON, || published.count() == 1).await;
    assert_eq!(published.kit.link.requests(), 1);
    published.outbox.set(&a, Some(state("running")));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(published.kit.link.requests(), 1, "nothing has changed, and nothing is periodic");
    published.outbox.set(&b, Some(state("running")));
    published.outbox.set(&a, None);
    sleep(SOON).await;
    assert_eq!((published.there(&a).await, published.there(&b).await), (None, Some("running".to_owned())));
    assert_eq!(published.kit.link.requests(), 2, "both in one batch");
    published.membership.send_replace(Membership::Late);
    published.outbox.set(&b, Some(state("exited")));
    sleep(SOON).await;
    assert_eq!(published.there(&b).await.as_deref(), Some("running"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_takes_the_place_of_one_that_is_not_written_yet() {
    let published = begin();
    published.join(published.lease().await, None);
    published.kit.link.set(Condition::Refusing);
    let unit = name("a.service");
    for round in 0..1000 {
        published.outbox.set(&unit, Some(state(&round.to_string())));
        sleep(Duration::from_millis(1)).await;
    }
    let (states, unpublished) = published.outbox.look();
    assert_eq!((states.len(), unpublished), (1, vec![unit.clone()]));
    published.kit.link.set(Condition::Up);
    until("it is there", SOON, || published.count() == 1).await;
    assert_eq!(published.there(&unit).await.as_deref(), Some("999"));
    // What came and went meanwhile was never seen.
    published.kit.link.set(Condition::Refusing);
    published.outbox.set(&name("b.service"), Some(state("running")));
    published.outbox.set(&name("b.service"), None);
    published.kit.link.set(Condition::Up);
    sleep(SOON).await;
    assert_eq!(published.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn on_a_new_lease_everything_is_written_again() {
    let published = begin();
    let first = published.lease().await;
    published.join(first, None);
    for index in 0..300 {
        published.outbox.set(&name(&format!("{index}.service")), Some(state("running")));
    }
    until("all are there", SOON, || published.count() == 300).await;
    published.kit.admin.revoke(first).await.unwrap();
    assert_eq!(published.count(), 0);
    published.membership.send_replace(Membership::Joining);
    let second = published.lease().await;
    published.join(second, None);
    until("all are there again", SOON, || published.count() == 300).await;
}

#[tokio::test(start_paused = true)]
async fn a_former_lease_ends_only_when_everything_is_out() {
    let published = begin();
    let (former, lease) = (published.lease().await, published.lease().await);
    let is_there = || published.kit.memory.leases().contains(&former);
    published.kit.link.set(Condition::Refusing);
    published.join(lease, Some(former));
    published.outbox.set(&name("a.service"), Some(state("running")));
    sleep(SOON).await;
    assert!(is_there());
    // Published, but the agent has not told everything yet.
    published.kit.link.set(Condition::Up);
    until("a is there", SOON, || published.count() == 1).await;
    sleep(SOON).await;
    assert!(is_there());
    published.kit.link.set(Condition::Refusing);
    published.outbox.set(&name("b.service"), Some(state("running")));
    published.outbox.complete();
    sleep(SOON).await;
    assert!(is_there());
    published.kit.link.set(Condition::Up);
    until("the former lease ends", SOON, || !is_there()).await;
    assert_eq!(published.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_former_lease_does_not_end_when_the_new_one_is_lost_before_everything_is_out() {
    let published = begin();
    let (former, lease) = (published.lease().await, published.lease().await);
    published.kit.admin.revoke(lease).await.unwrap();
    published.outbox.set(&name("a.service"), Some(state("running")));
    published.outbox.complete();
    published.join(lease, Some(former));
    sleep(Duration::from_secs(60)).await;
    assert!(published.kit.memory.leases().contains(&former));
    let next = published.lease().await;
    published.join(next, None);
    until("a is there", SOON, || published.count() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_done_late_does_not_last() {
    for last in [Some(state("second")), None] {
        let published = begin();
        published.join(published.lease().await, None);
        let unit = name("a.service");
        published.kit.link.set_faults(Faults {
            lost_requests: 1.0,
            delayed_writes: 1.0,
            delay_max: Duration::from_secs(6),
            ..Faults::default()
        });
        published.outbox.set(&unit, Some(state("first")));
        sleep(Duration::from_millis(1100)).await;
        // The first write is still on its way when the second one is done.
        published.kit.link.set_faults(Faults::default());
        published.outbox.set(&unit, last.clone());
        sleep(Duration::from_secs(20)).await;
        assert_eq!(published.there(&unit).await, last.map(|last| last.sub));
        let requests = published.kit.link.requests();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(published.kit.link.requests(), requests, "it is written once more, not for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_less_and_less_often() {
    let published = begin();
    published.join(published.lease().await, None);
    let unit = name("a.service");
    published.outbox.set(&unit, Some(state("running")));
    until("it is there", SOON, || published.count() == 1).await;
    let asked = |since: u64| published.kit.link.requests() - since;
    for _ in 0..2 {
        published.kit.link.set(Condition::Refusing);
        let before = published.kit.link.requests();
        published.outbox.set(&unit, Some(state("exited")));
        sleep(Duration::from_secs(1)).await;
        assert!((3..=5).contains(&asked(before)), "{} in the first second", asked(before));
        sleep(Duration::from_secs(60)).await;
        let before = published.kit.link.requests();
        sleep(Duration::from_secs(300)).await;
        assert!((60..=120).contains(&asked(before)), "{} in five minutes", asked(before));
        published.kit.link.set(Condition::Up);
        until("it is there", Duration::from_secs(5), || published.outbox.look().1.is_empty()).await;
        published.outbox.set(&unit, Some(state("running")));
        sleep(SOON).await;
    }
}

/// A write of the former fleetd that arrives late puts a state back onto the lease that is ended then.
#[tokio::test(start_paused = true)]
async fn what_the_end_of_a_former_lease_takes_along_is_written_again() {
    let published = begin();
    let unit = name("a.service");
    let former = published.lease().await;
    published.outbox.set(&unit, Some(state("running")));
    published.outbox.complete();
    let way = Duration::from_millis(50);
    published.kit.link.set_faults(Faults { latency: way..=way, ..Faults::default() });
    published.join(published.lease().await, Some(former));
    // The state has been written, and the answer is there: the end of the former lease is on its way.
    sleep(way * 5 / 2).await;
    assert_eq!(published.there(&unit).await.as_deref(), Some("running"));
    let states = Typed::new(Arc::clone(&published.kit.admin), &STATES);
    let id = state_id(unit.as_str(), &machine(1));
    states.put(&id, &state("dead"), Expect::Any, Some(former), None).await.unwrap();
    sleep(SOON).await;
    assert_eq!(published.there(&unit).await.as_deref(), Some("running"));
    assert_eq!(published.kit.memory.leases().len(), 1);
}
