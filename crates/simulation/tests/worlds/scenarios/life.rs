//! The life of units while nothing is wrong.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_cluster::systemd::Operation;
use fleet_simulation::Script;
use fleet_simulation::systemd::{Act, Kind, Outcome};
use tokio::time::{Instant, sleep};

use crate::world::{SOON, World, check_empty, name, service, settings};

#[tokio::test(start_paused = true)]
async fn a_unit_is_started_stopped_and_destroyed() {
    let mut world = World::new(1, 3, settings()).await;
    let hello = name("hello.service");
    world.start(&hello, &service("hello", "")).await;
    assert_eq!(world.processes().len(), 1);
    world.admin.set_target(&hello, TargetState::Loaded).await;
    world.settle("stop", SOON).await;
    assert_eq!(world.processes().len(), 0);
    assert!(world.index_of(&hello).is_some());
    world.admin.set_target(&hello, TargetState::Inactive).await;
    world.settle("unload", SOON).await;
    assert_eq!(world.index_of(&hello), None);
    world.admin.destroy(&hello).await;
    world.settle("destroy", SOON).await;
    check_empty(&world.memory);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_unit_keeps_its_machine_and_runs_the_new_file() {
    let mut world = World::new(1, 3, settings()).await;
    let hello = name("hello.service");
    let machine = world.start(&hello, &service("one", "")).await;
    world.admin.put(&hello, &service("two", ""), TargetState::Launched).await;
    world.settle("replace", SOON).await;
    assert_eq!(world.index_of(&hello), Some(machine));
    assert_eq!((world.count(&hello, &Act::Began), world.count(&hello, &Act::Ended)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_request_restarts_a_unit_once_on_each_of_its_machines() {
    let mut world = World::new(1, 3, settings()).await;
    let (one, all) = (name("one.service"), name("all.service"));
    world.start(&one, &service("one", "")).await;
    world.start(&all, &service("all", "Global=true")).await;
    for requests in 1..=3 {
        world.admin.restart(&one).await;
        world.admin.restart(&all).await;
        world.settle("restart", SOON).await;
        assert_eq!(world.count(&one, &Act::Accepted(Operation::Restart)), requests);
        assert_eq!(world.count(&all, &Act::Accepted(Operation::Restart)), requests * 3);
    }
    // A machine that joins, and a unit that is moved, have nothing to catch up with.
    world.machines[1].reboot().await;
    world.machines[1].start();
    world.settle("reboot", Duration::from_secs(30)).await;
    assert_eq!(world.count(&one, &Act::Accepted(Operation::Restart)), 3);
    assert_eq!(world.count(&all, &Act::Accepted(Operation::Restart)), 9);
}

/// Nobody may notice that a unit was destroyed and made again at once. A restart of the new one is not taken for
/// one of the old one, and what was asked of the old one is not done to the new one.
#[tokio::test(start_paused = true)]
async fn a_restart_is_asked_of_one_unit_and_not_of_the_next_of_its_name() {
    for before in 0..3 {
        for after in 0..3 {
            let mut world = World::new(1, 1, settings()).await;
            let hello = name("hello.service");
            world.start(&hello, &service("hello", "")).await;
            for _ in 0..before {
                world.admin.restart(&hello).await;
                world.settle("restart", SOON).await;
            }
            let count = |world: &World| world.count(&hello, &Act::Accepted(Operation::Restart));
            let begins = |world: &World| world.count(&hello, &Act::Began);
            let (restarted, began) = (count(&world), begins(&world));
            // What happens meanwhile is seen in one piece.
            world.machines[0].crash().await;
            world.admin.destroy(&hello).await;
            world.admin.put(&hello, &service("hello", ""), TargetState::Launched).await;
            for _ in 0..after {
                world.admin.restart(&hello).await;
            }
            world.machines[0].start();
            world.settle("made again", SOON).await;
            let what = format!("{before} restarts before, {after} after");
            if after == 0 {
                assert_eq!(count(&world), restarted, "{what}");
            } else {
                assert_eq!(begins(&world), began + 1, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_what_is_not_started_starts_nothing_now_or_later() {
    let mut world = World::new(1, 2, settings()).await;
    let hello = name("hello.service");
    world.admin.put(&hello, &service("hello", ""), TargetState::Loaded).await;
    world.settle("load", SOON).await;
    world.admin.restart(&hello).await;
    world.settle("restart", SOON).await;
    assert_eq!(world.count(&hello, &Act::Began), 0);
    world.admin.set_target(&hello, TargetState::Launched).await;
    world.settle("start", SOON).await;
    assert_eq!(world.count(&hello, &Act::Began), 1);
    assert_eq!(world.count(&hello, &Act::Accepted(Operation::Restart)), 0);
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_is_not_started_again() {
    let mut world = World::new(1, 2, settings()).await;
    let (once, sick) = (name("once.service"), name("sick.service"));
    world.may_be_down.extend([once.clone(), sick.clone()]);
    world.scripts.set(&once, Script { kind: Kind::Oneshot, ..Script::default() });
    world.scripts.set(&sick, Script { start: Outcome::Fails, ..Script::default() });
    world.start(&once, &service("once", "")).await;
    world.start(&sick, &service("sick", "")).await;
    for index in 0..2 {
        world.machines[index].crash().await;
        world.machines[index].start();
        world.settle("a crash", SOON).await;
        world.machines[index].reload().await;
        world.settle("a reload", SOON).await;
    }
    sleep(Duration::from_secs(600)).await;
    world.settle("ten minutes", SOON).await;
    assert_eq!((world.count(&once, &Act::Began), world.count(&sick, &Act::Began)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_has_nothing_to_do_writes_nothing() {
    let mut world = World::new(1, 3, settings()).await;
    for index in 0..20 {
        world.start(&name(&format!("{index}.service")), &service("hello", "")).await;
    }
    let before = world.referee.ask(|seen| (seen.states, seen.derived, seen.leaders));
    sleep(Duration::from_secs(3600)).await;
    world.settle("an hour", SOON).await;
    assert_eq!(world.referee.ask(|seen| (seen.states, seen.derived, seen.leaders)), before);
}

#[tokio::test(start_paused = true)]
async fn many_units_are_started_and_destroyed_at_once() {
    const UNITS: usize = 500;
    let mut world = World::new(1, 3, settings()).await;
    for machine in &world.machines {
        machine.systemd.set_latency(Duration::from_millis(1)..=Duration::from_millis(3));
    }
    let names: Vec<_> = (0..UNITS).map(|index| name(&format!("u{index}.service"))).collect();
    let begun = Instant::now();
    for unit in &names {
        world.admin.put(unit, &service("hello", ""), TargetState::Launched).await;
    }
    world.settle("the start of many", SOON).await;
    assert_eq!(world.processes().len(), UNITS);
    assert!(begun.elapsed() < Duration::from_secs(2), "started after {:?}", begun.elapsed());
    // A few states on the way, not one for each thing that happens to any of them.
    let writes = world.referee.ask(|seen| seen.states);
    assert!(writes <= 4 * UNITS, "{writes} writes of states");
    let begun = Instant::now();
    for unit in &names {
        world.admin.destroy(unit).await;
    }
    world.settle("the end of many", SOON).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "destroyed after {:?}", begun.elapsed());
    check_empty(&world.memory);
}

#[tokio::test(start_paused = true)]
async fn units_follow_the_metadata_that_they_ask_for() {
    let mut world = World::new(1, 3, settings()).await;
    let hello = name("hello.service");
    let all = name("all.service");
    assert_eq!(world.start(&hello, &service("hello", "MachineMetadata=zone=0")).await, 1);
    world.start(&all, &service("all", "Global=true\nMachineMetadata=zone=0")).await;
    let third = world.machines[2].id.clone();
    world.admin.set_metadata(&world.machines[1].id, &[("zone", "1")]).await;
    world.settle("nobody fits", SOON).await;
    assert_eq!((world.index_of(&hello), world.index_of(&all)), (None, None));
    world.admin.set_metadata(&third, &[("zone", "0")]).await;
    world.settle("one fits", SOON).await;
    assert_eq!((world.index_of(&hello), world.index_of(&all)), (Some(2), Some(2)));
}
