//! Keeping leases alive, in paused time.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::heart::{Health, Heart, Pulse, heart};
use fleet_simulation::Condition;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::kit::Kit;

const TTL: Duration = Duration::from_secs(12);

struct Beats {
    kit: Kit,
    pulse: Pulse,
    heart: Heart,
    beating: JoinHandle<()>,
}

async fn begin() -> Beats {
    let kit = Kit::new();
    let (heart, beating) = heart();
    let beating = tokio::spawn(beating.run(Arc::clone(&kit.store)));
    let since = Instant::now();
    let lease = kit.store.grant(TTL).await.unwrap();
    let pulse = heart.keep(lease, since).await;
    Beats { kit, pulse, heart, beating }
}

fn held_until(pulse: &Pulse) -> Instant {
    match pulse.health() {
        Health::Held { until } => until,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_after_a_third_of_its_time() {
    let beats = begin().await;
    let begun = Instant::now();
    let requests = beats.kit.link.requests();
    for round in 0..100 {
        let until = begun + TTL / 3 * round + TTL;
        assert_eq!(held_until(&beats.pulse), until);
        sleep_until(begun + TTL / 3 * (round + 1) + Duration::from_millis(1)).await;
    }
    assert_eq!(beats.kit.link.requests() - requests, 100);
    assert_eq!(beats.kit.memory.leases(), [beats.pulse.lease()]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_runs_out() {
    let beats = begin().await;
    let lease = beats.pulse.lease();
    drop(beats.pulse);
    sleep(TTL + Duration::from_secs(1)).await;
    assert!(!beats.kit.memory.leases().contains(&lease));
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_follow_each_other_faster() {
    for condition in [Condition::Refusing, Condition::Silent] {
        let mut beats = begin().await;
        let begun = Instant::now();
        let requests = beats.kit.link.requests();
        beats.kit.link.set(condition);
        // The first attempt is after a third, and the others begin a twelfth apart.
        sleep_until(begun + TTL - Duration::from_millis(1)).await;
        let attempts = beats.kit.link.requests() - requests;
        assert!((6..=8).contains(&attempts), "{attempts}");
        assert!(matches!(beats.pulse.health(), Health::Held { .. }));
        // It is told that it is late in the moment when it is.
        let told = timeout(Duration::from_millis(10), beats.pulse.changed()).await;
        assert_eq!((told, Instant::now()), (Ok(Health::Late), begun + TTL));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_just_in_time_is_survived() {
    for condition in [Condition::Refusing, Condition::Silent] {
        let beats = begin().await;
        beats.kit.link.set(condition);
        // The attempt under way may have to run into its time-out of a second first.
        sleep(TTL - TTL / 12 - Duration::from_millis(1100)).await;
        beats.kit.link.set(Condition::Up);
        sleep(TTL).await;
        assert!(matches!(beats.pulse.health(), Health::Held { .. }), "{condition:?}");
        assert_eq!(beats.kit.memory.leases(), [beats.pulse.lease()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_lease_that_still_stands_is_held_again() {
    let mut beats = begin().await;
    beats.kit.memory.freeze();
    beats.kit.link.set(Condition::Silent);
    beats.pulse.faltered().await;
    assert_eq!(beats.pulse.health(), Health::Late);
    sleep(TTL * 10).await;
    assert_eq!(beats.pulse.health(), Health::Late);
    beats.kit.memory.thaw();
    beats.kit.link.set(Condition::Up);
    sleep(Duration::from_secs(3)).await;
    assert!(held_until(&beats.pulse) > Instant::now() + TTL / 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_lost_for_good() {
    let mut beats = begin().await;
    beats.kit.admin.revoke(beats.pulse.lease()).await.unwrap();
    beats.pulse.faltered().await;
    assert_eq!(beats.pulse.health(), Health::Lost);
    assert_eq!(beats.pulse.changed().await, Health::Lost);
    let requests = beats.kit.link.requests();
    sleep(TTL * 10).await;
    assert_eq!(beats.kit.link.requests(), requests, "nobody asks for it any more");
}

#[tokio::test(start_paused = true)]
async fn without_a_heart_a_lease_counts_as_lost() {
    let mut beats = begin().await;
    beats.beating.abort();
    beats.pulse.faltered().await;
    assert_eq!(beats.pulse.health(), Health::Lost);
    let lease = beats.kit.store.grant(TTL).await.unwrap();
    let mut late = beats.heart.keep(lease, Instant::now()).await;
    late.faltered().await;
    assert_eq!(late.health(), Health::Lost);
}

#[tokio::test(start_paused = true)]
async fn one_lease_in_trouble_does_not_hold_up_another() {
    let beats = begin().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let lease = beats.kit.store.grant(TTL).await.unwrap();
        others.push(beats.heart.keep(lease, Instant::now()).await);
    }
    beats.kit.admin.revoke(others[0].lease()).await.unwrap();
    drop(others.pop());
    sleep(TTL * 3).await;
    assert!(matches!(beats.pulse.health(), Health::Held { .. }));
    let healths: Vec<bool> =
        others.iter().map(|pulse| matches!(pulse.health(), Health::Held { .. })).collect();
    assert_eq!(healths, [false, true, true]);
}
