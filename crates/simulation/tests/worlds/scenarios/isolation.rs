//! One unit that misbehaves delays no other, and a systemd in trouble stops nothing.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_simulation::Script;
use fleet_simulation::systemd::{Act, Outcome};
use tokio::time::{Instant, sleep};

use crate::world::{SOON, World, name, service, settings};

/// Which call or job of the bad unit does not work.
const FLAWS: [fn(&mut Script) -> &mut Outcome; 4] = [
    |script| &mut script.install,
    |script| &mut script.uninstall,
    |script| &mut script.start,
    |script| &mut script.stop,
];

#[tokio::test(start_paused = true)]
async fn one_bad_unit_delays_no_other() {
    for outcome in [Outcome::Hangs, Outcome::Fails] {
        for flaw in FLAWS {
            let mut world = World::new(1, 1, settings()).await;
            let bad = name("bad.service");
            world.may_be_down.insert(bad.clone());
            world.start(&bad, &service("one", "")).await;
            let mut script = Script::default();
            *flaw(&mut script) = outcome;
            world.scripts.set(&bad, script);
            // This stops it, takes it away, installs it and starts it.
            world.admin.put(&bad, &service("two", ""), TargetState::Launched).await;
            sleep(Duration::from_millis(100)).await;
            let begun = Instant::now();
            for index in 0..10 {
                let good = name(&format!("{index}.service"));
                world.admin.put(&good, &service("good", ""), TargetState::Launched).await;
            }
            while world.processes().len() < 10 {
                assert!(begun.elapsed() < Duration::from_millis(1100), "{outcome:?}");
                sleep(Duration::from_millis(10)).await;
            }
            // Once it behaves, it is tried again within its back-off.
            sleep(Duration::from_secs(100)).await;
            world.scripts.mend();
            world.settle("it behaves again", Duration::from_secs(65)).await;
            assert_eq!(world.count(&name("0.service"), &Act::Ended), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_unit_shows_its_reason() {
    let mut world = World::new(1, 1, settings()).await;
    let bad = name("bad.service");
    world.scripts.set(&bad, Script { install: Outcome::Fails, ..Script::default() });
    world.admin.put(&bad, &service("one", ""), TargetState::Launched).await;
    sleep(SOON).await;
    let (states, _) = world.machines[0].outbox().expect("it runs").look();
    let state = &states[&bad];
    assert_eq!(state.current, TargetState::Inactive);
    assert!(state.error.as_deref().is_some_and(|error| error.contains("Access denied")), "{state:?}");
    world.scripts.mend();
    world.settle("it behaves again", Duration::from_secs(65)).await;
    let (states, _) = world.machines[0].outbox().expect("it runs").look();
    assert_eq!(states[&bad].error, None);
}

#[tokio::test(start_paused = true)]
async fn a_systemd_that_is_away_stops_nothing_and_its_notices_are_caught_up_with() {
    for resubscribe in [false, true] {
        let mut world = World::new(1, 1, settings()).await;
        let (one, two) = (name("one.service"), name("two.service"));
        world.start(&one, &service("one", "")).await;
        world.start(&two, &service("two", "")).await;
        world.machines[0].systemd.cut();
        if resubscribe {
            world.machines[0].systemd.end_subscription();
        }
        world.machines[0].systemd.kill(&two);
        world.may_be_down.insert(two.clone());
        sleep(Duration::from_secs(60)).await;
        world.machines[0].systemd.mend();
        world.settle("it is back", SOON).await;
        assert_eq!(world.count(&one, &Act::Ended), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_ends_at_once_while_systemd_is_away() {
    let mut world = World::new(1, 1, settings()).await;
    world.start(&name("one.service"), &service("one", "")).await;
    world.machines[0].systemd.cut();
    world.machines[0].systemd.end_subscription();
    sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    world.machines[0].stop().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // It also waits for systemd when it begins, and adopts what runs then.
    world.machines[0].start();
    sleep(Duration::from_secs(5)).await;
    world.machines[0].systemd.mend();
    world.settle("it is back", SOON).await;
    assert_eq!(world.count(&name("one.service"), &Act::Ended), 0);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_stops_slowly_does_not_hold_up_a_hand_over_of_the_others() {
    let mut world = World::new(1, 2, settings()).await;
    let (slow, quick) = (name("slow.service"), name("quick.service"));
    let at = world.start(&slow, &service("slow", "")).await;
    let id = world.machines[at].id.to_string();
    world.start(&quick, &service("quick", &format!("MachineOf={slow}"))).await;
    world.scripts.set(&slow, Script { stop: Outcome::Hangs, ..Script::default() });
    assert!(!world.machines[at].hand_over(Duration::from_secs(10)).await, "{id} waits for it");
    let left: Vec<_> = world.machines[at].systemd.look().into_keys().collect();
    assert_eq!(left, std::slice::from_ref(&slow));
    world.scripts.mend();
    world.machines[at].start();
    world.settle("it is back", Duration::from_secs(100)).await;
    assert_eq!(world.processes().len(), 2);
}
