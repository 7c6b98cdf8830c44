//! Elections: one leader at a time, and what becomes of the writes of a former one.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::documents::{ASSIGNMENTS, ENGINE, LEADER, LeaderDocument};
use fleet_cluster::engine::leadership::{Leadership, campaign, resign};
use fleet_cluster::environment::Environment;
use fleet_cluster::heart::{Heart, heart};
use fleet_simulation::{Client, Condition, Link, Memory};
use fleet_store::{Expect, Store, Typed, Write, WriteError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::kit::{Kit, machine};

struct Candidate {
    number: u8,
    link: Link,
    store: Arc<dyn Store>,
    heart: Heart,
}

impl Candidate {
    fn new(memory: &Memory, number: u8) -> Candidate {
        let link = Link::new(u64::from(number));
        let store: Arc<dyn Store> = Arc::new(Client::new(memory, &link));
        let (heart, beating) = heart();
        tokio::spawn(beating.run(Arc::clone(&store)));
        Candidate { number, link, store, heart }
    }

    /// Campaigns until it leads.
    fn campaign(&self) -> JoinHandle<Leadership> {
        let (store, heart, number) = (Arc::clone(&self.store), self.heart.clone(), self.number);
        tokio::spawn(async move {
            let environment = Environment::seeded(u64::from(number));
            let engine = Typed::new(store, &ENGINE);
            loop {
                match campaign(&engine, &machine(number), "2.0.0", &heart, &environment).await {
                    Ok(leadership) => return leadership,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        })
    }
}

async fn elect(campaign: JoinHandle<Leadership>, limit: Duration) -> Leadership {
    timeout(limit, campaign).await.expect("it leads in time").unwrap()
}

fn fenced(number: u8) -> Write {
    Write::put(machine(number).0, Expect::Any, format!("{{\"by\":{number}}}"))
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_leads_and_the_next_when_it_resigns() {
    let kit = Kit::new();
    let candidates: Vec<_> = (1..=5).map(|number| Candidate::new(&kit.memory, number)).collect();
    let mut campaigns: Vec<_> = candidates.iter().map(Candidate::campaign).collect();
    for left in (1..=5).rev() {
        sleep(Duration::from_secs(30)).await;
        let winners: Vec<usize> = campaigns
            .iter()
            .enumerate()
            .filter(|(_, task)| task.is_finished())
            .map(|(index, _)| index)
            .collect();
        assert_eq!((winners.len(), campaigns.len()), (1, left));
        let leadership = campaigns.remove(winners[0]).await.unwrap();
        resign(&*kit.admin, leadership).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_resigns_is_followed_at_once_and_one_that_dies_soon() {
    let kit = Kit::new();
    let (one, two) = (Candidate::new(&kit.memory, 1), Candidate::new(&kit.memory, 2));
    let first = elect(one.campaign(), Duration::from_secs(1)).await;
    let campaign = two.campaign();
    sleep(Duration::from_secs(60)).await;
    assert!(!campaign.is_finished());
    resign(&*one.store, first).await.unwrap();
    let second = elect(campaign, Duration::from_millis(250)).await;
    let campaign = one.campaign();
    sleep(Duration::from_secs(60)).await;
    two.link.set(Condition::Silent);
    let _third = elect(campaign, Duration::from_millis(2700)).await;
    assert!(!matches!(second.pulse.health(), fleet_cluster::heart::Health::Held { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_a_former_leader_writes_is_refused() {
    let kit = Kit::new();
    let (one, two) = (Candidate::new(&kit.memory, 1), Candidate::new(&kit.memory, 2));
    let former = elect(one.campaign(), Duration::from_secs(1)).await;
    kit.store.write(&ASSIGNMENTS, fenced(1), Some(former.lease())).await.unwrap();
    one.link.set(Condition::Silent);
    let leader = elect(two.campaign(), Duration::from_secs(15)).await;
    one.link.set(Condition::Up);
    let late = one.store.write(&ASSIGNMENTS, fenced(1), Some(former.lease())).await;
    assert!(matches!(late, Err(WriteError::LeaseLost)), "{late:?}");
    two.store.write(&ASSIGNMENTS, fenced(2), Some(leader.lease())).await.unwrap();
}

/// A machine that leads again after trouble must not be overtaken by what it wrote before.
#[tokio::test(start_paused = true)]
async fn a_second_term_of_the_same_machine_fences_the_first() {
    let kit = Kit::new();
    let one = Candidate::new(&kit.memory, 1);
    let first = elect(one.campaign(), Duration::from_secs(1)).await;
    let begun = Instant::now();
    let second = elect(one.campaign(), Duration::from_secs(1)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "it does not wait for its own lease to end");
    let late = one.store.write(&ASSIGNMENTS, fenced(1), Some(first.lease())).await;
    assert!(matches!(late, Err(WriteError::LeaseLost)), "{late:?}");
    one.store.write(&ASSIGNMENTS, fenced(1), Some(second.lease())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_document_of_an_older_version_without_its_lease_gives_way_too() {
    let kit = Kit::new();
    let one = Candidate::new(&kit.memory, 1);
    let engine = Typed::new(Arc::clone(&kit.admin), &ENGINE);
    let old = LeaderDocument { machine: machine(1), version: "2.0.0".to_owned(), lease: None };
    engine.put(LEADER, &old, Expect::Absent, None, None).await.unwrap();
    elect(one.campaign(), Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_read_ends_no_election_for_good() {
    let kit = Kit::new();
    kit.memory.overwrite(&ENGINE, LEADER, "{\"machine\":7}");
    let one = Candidate::new(&kit.memory, 1);
    let begun = Instant::now();
    elect(one.campaign(), Duration::from_secs(10)).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "a leader whose word we do not understand may be there"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_without_the_store_and_somebody_does_when_it_is_back() {
    let kit = Kit::new();
    let one = Candidate::new(&kit.memory, 1);
    one.link.set(Condition::Silent);
    let campaign = one.campaign();
    sleep(Duration::from_secs(600)).await;
    assert!(!campaign.is_finished());
    one.link.set(Condition::Up);
    elect(campaign, Duration::from_secs(3)).await;
}
