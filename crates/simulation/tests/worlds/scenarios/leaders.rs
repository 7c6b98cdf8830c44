//! Leaders that die, are cut off, or only seem dead.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_simulation::{Condition, Faults};
use tokio::time::{Instant, sleep};

use crate::world::{SOON, TTL, World, name, service, settings};

/// The longest time without a leader after the last one has died.
const VACANCY_MAX: Duration = Duration::from_secs(3);

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_replaced_within_three_seconds() {
    let mut world = World::new(1, 3, settings()).await;
    for round in 0..10 {
        let old = world.leader().expect("there is one");
        world.machines[old].crash().await;
        let begun = Instant::now();
        let unit = name(&format!("{round}.service"));
        world.admin.put(&unit, &service("hello", ""), TargetState::Launched).await;
        // It may be placed on the machine of the old leader, which is not lost.
        while world.admin.get(&unit).await.is_none_or(|unit| unit.machine.is_none()) {
            assert!(begun.elapsed() < VACANCY_MAX, "{round}");
            sleep(Duration::from_millis(10)).await;
        }
        assert_ne!(world.leader(), Some(old));
        world.machines[old].start();
        world.settle("the old one is back", SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_writes_nothing_any_more() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, settings()).await;
        let old = world.leader().expect("there is one");
        // Whatever it sends is lost, or arrives much later.
        world.machines[old].link.set_faults(Faults {
            lost_requests: 1.0,
            delayed_writes: 1.0,
            delay_max: TTL,
            ..Faults::default()
        });
        for index in 0..5 {
            let unit = name(&format!("{index}.service"));
            world.admin.put(&unit, &service("hello", ""), TargetState::Launched).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert_ne!(world.leader(), Some(old));
        sleep(TTL * 2).await;
        world.heal();
        world.settle("it is back", SOON + TTL).await;
        // The referee has seen each write of an assignment: all were by the leader of that moment.
        assert_eq!(world.processes().len(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_watches_fail_neither_spins_nor_falls_asleep() {
    let mut world = World::new(1, 2, settings()).await;
    let leader = world.leader().expect("there is one");
    let latency = Duration::from_millis(1);
    let faults = Faults { latency: latency..=latency, failing_watches: 1.0, ..Faults::default() };
    world.machines[leader].link.set_faults(faults.clone());
    let before = world.machines[leader].link.requests();
    for round in 0..300 {
        let unit = name(&format!("{}.service", round % 30));
        world.admin.put(&unit, &service(&round.to_string(), ""), TargetState::Loaded).await;
        sleep(Duration::from_millis(200)).await;
    }
    // Each reading takes eight requests; without pauses there would be five in a second.
    let requests = world.machines[leader].link.requests() - before;
    assert!((400..2000).contains(&requests), "{requests} requests in a minute");
    assert_eq!(world.leader(), Some(leader));
    let unit = name("last.service");
    world.admin.put(&unit, &service("last", ""), TargetState::Launched).await;
    let begun = Instant::now();
    while world.admin.get(&unit).await.is_none_or(|unit| unit.machine.is_none()) {
        assert!(begun.elapsed() < Duration::from_millis(1500));
        sleep(Duration::from_millis(10)).await;
    }
    // One that fails after a while costs hardly anything.
    world.machines[leader].link.set_faults(Faults::default());
    world.settle("watches stand again", SOON).await;
    sleep(TTL).await;
    world.machines[leader].link.set_faults(faults);
    world.admin.destroy(&unit).await;
    sleep(Duration::from_millis(5)).await;
    world.heal();
    let again = name("again.service");
    world.admin.put(&again, &service("again", ""), TargetState::Launched).await;
    sleep(Duration::from_millis(100)).await;
    assert!(world.admin.get(&again).await.is_some_and(|unit| unit.machine.is_some()));
    world.settle("the end", SOON).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_way_at_once() {
    let mut world = World::new(1, 2, settings()).await;
    let old = world.leader().expect("there is one");
    world.machines[old].stop().await;
    sleep(Duration::from_millis(250)).await;
    assert_eq!(world.leader(), Some(1 - old));
    world.machines[old].start();
    world.settle("it is back", SOON).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_old_leader_left_half_done_the_new_one_finishes() {
    for moment in 0..40 {
        let mut world = World::new(moment, 3, settings()).await;
        let old = world.leader().expect("there is one");
        let latency = Duration::from_millis(5);
        world.machines[old].link.set_faults(Faults { latency: latency..=latency, ..Faults::default() });
        for index in 0..3 {
            let unit = name(&format!("{index}.service"));
            world.admin.put(&unit, &service("hello", ""), TargetState::Launched).await;
        }
        sleep(Duration::from_millis(moment)).await;
        world.machines[old].link.set(Condition::Silent);
        let begun = Instant::now();
        while world.leader().is_none_or(|leader| leader == old) {
            assert!(begun.elapsed() < VACANCY_MAX, "{moment}");
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(1)).await;
        world.heal();
        world.settle("the new one", SOON).await;
        assert_eq!(world.processes().len(), 3);
    }
}
