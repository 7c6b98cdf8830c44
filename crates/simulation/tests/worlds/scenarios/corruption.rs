//! Documents that cannot be read: they stop nobody, and are mended where that is possible.

use std::time::Duration;

use fleet_cluster::documents::{
    ASSIGNMENTS, ENGINE, GLOBALS, GLOBALS_ID, LEADER, MACHINE_METADATA, MACHINES, TargetState, UNITS,
};
use fleet_simulation::Faults;
use fleet_simulation::systemd::Act;
use tokio::time::sleep;

use crate::world::{SOON, World, name, service, settings};

/// Longer than a leader waits until it reads everything again.
const READ_AGAIN: Duration = Duration::from_secs(62);

/// Two machines, with a plain unit on each and a global one.
async fn world() -> World {
    let mut world = World::new(1, 2, settings()).await;
    for unit in ["0.service", "1.service"] {
        world.start(&name(unit), &service("hello", "")).await;
    }
    world.start(&name("all.service"), &service("all", "Global=true")).await;
    world
}

/// Everything that may make somebody read a document again.
async fn live_on(world: &mut World) {
    sleep(READ_AGAIN).await;
    let leader = world.leader().expect("there is one");
    world.machines[leader].crash().await;
    world.machines[leader].start();
    sleep(Duration::from_secs(5)).await;
    world.machines[1 - leader].reload().await;
    sleep(READ_AGAIN).await;
}

#[tokio::test(start_paused = true)]
async fn an_assignment_is_written_anew() {
    let mut world = world().await;
    let before = world.processes();
    for machine in 0..2 {
        world.memory.overwrite(&ASSIGNMENTS, &world.machines[machine].id.0, "{\"units\":7}");
    }
    live_on(&mut world).await;
    world.settle("it is written anew", SOON).await;
    assert_eq!(world.processes(), before);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_of_a_machine_without_units_goes() {
    let mut world = World::new(1, 2, settings()).await;
    let stranger = "f".repeat(32);
    world.memory.overwrite(&ASSIGNMENTS, &world.machines[0].id.0, "{\"units\":7}");
    world.memory.overwrite(&ASSIGNMENTS, &stranger, "{\"units\":7}");
    world.machines[0].crash().await;
    world.machines[0].start();
    sleep(READ_AGAIN).await;
    world.start(&name("all.service"), &service("all", "Global=true")).await;
    assert_eq!(world.memory.documents(&ASSIGNMENTS), []);
}

#[tokio::test(start_paused = true)]
async fn the_global_units_are_written_anew() {
    let mut world = world().await;
    let before = world.processes();
    world.memory.overwrite(&GLOBALS, GLOBALS_ID, "{\"units\":7}");
    live_on(&mut world).await;
    world.settle("they are written anew", SOON).await;
    assert_eq!(world.processes(), before);
    world.admin.destroy(&name("all.service")).await;
    world.memory.overwrite(&GLOBALS, GLOBALS_ID, "{\"units\":7}");
    sleep(READ_AGAIN).await;
    world.settle("there are none any more", SOON).await;
    assert_eq!(world.memory.documents(&GLOBALS), []);
}

#[tokio::test(start_paused = true)]
async fn a_unit_runs_on_until_it_can_be_read_again() {
    for unit in ["0.service", "all.service"] {
        let mut world = world().await;
        let unit = name(unit);
        let good = world.admin.get(&unit).await.expect("it is there");
        let before = world.processes();
        world.memory.overwrite(&UNITS, unit.as_str(), "{\"options\":7}");
        live_on(&mut world).await;
        assert_eq!(world.processes(), before);
        // Others come and go meanwhile.
        let other = name("other.service");
        world.admin.put(&other, &service("other", ""), TargetState::Launched).await;
        sleep(SOON).await;
        assert_eq!(world.processes().len(), before.len() + 1);
        world.admin.destroy(&other).await;
        sleep(SOON).await;
        assert_eq!(world.processes(), before);
        world.admin.change(&unit, |_| Some(good.clone())).await;
        world.settle("it can be read again", SOON).await;
        assert_eq!(world.processes(), before);
        world.memory.overwrite(&UNITS, unit.as_str(), "{\"options\":7}");
        sleep(SOON).await;
        world.admin.destroy(&unit).await;
        world.settle("it is destroyed", SOON).await;
        assert_eq!(world.index_of(&unit), None);
    }
}

/// What the person who mends a unit writes may place it nowhere: then it runs on one machine all the same.
#[tokio::test(start_paused = true)]
async fn a_unit_that_is_mended_without_its_place_is_on_one_machine() {
    let mut world = world().await;
    let unit = name("0.service");
    world.memory.overwrite(&UNITS, unit.as_str(), "{\"options\":7}");
    sleep(SOON).await;
    world.admin.destroy(&unit).await;
    world.admin.put(&unit, &service("hello", ""), TargetState::Launched).await;
    world.settle("it is mended", SOON).await;
    assert_eq!(world.processes().keys().filter(|(_, other)| *other == unit).count(), 1);
}

/// The leader meets a document that became unreadable just when it wants to write it.
#[tokio::test(start_paused = true)]
async fn a_unit_that_cannot_be_read_any_more_is_not_taken_for_a_destroyed_one() {
    let mut world = world().await;
    let unit = name("zone.service");
    let at = world.start(&unit, &service("hello", "MachineMetadata=zone=1")).await;
    let latency = Duration::from_millis(50);
    for machine in &world.machines {
        machine.link.set_faults(Faults { latency: latency..=latency, ..Faults::default() });
    }
    // The leader hears first that the unit has to move, and only then that nobody can tell what it is.
    world.admin.set_metadata(&world.machines[at].id, &[("zone", "9")]).await;
    sleep(latency / 2).await;
    world.memory.overwrite(&UNITS, unit.as_str(), "{\"options\":7}");
    live_on(&mut world).await;
    assert_eq!(world.count(&unit, &Act::Ended), 0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_or_its_metadata_keeps_its_units() {
    for collection in [&MACHINES, &MACHINE_METADATA] {
        for machine in 0..2 {
            let mut world = world().await;
            let before = world.processes();
            world.memory.overwrite(collection, &world.machines[machine].id.0, "{\"values\":7,\"token\":7}");
            sleep(READ_AGAIN).await;
            let leader = world.leader().expect("there is one");
            world.machines[leader].crash().await;
            world.machines[leader].start();
            sleep(READ_AGAIN).await;
            assert_eq!(world.processes(), before, "{} of {machine}", collection.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_read_keeps_no_daemon_from_its_work() {
    let mut world = world().await;
    let before = world.processes();
    let id = world.machines[0].id.0.clone();
    world.machines[0].crash().await;
    world.memory.overwrite(&MACHINE_METADATA, &id, "{\"values\":7}");
    world.machines[0].start();
    sleep(SOON).await;
    assert_eq!(world.processes(), before);
    let there: Vec<_> = before.keys().filter(|(machine, _)| *machine == 0).collect();
    for (_, unit) in there {
        world.admin.destroy(unit).await;
    }
    sleep(SOON).await;
    assert!(world.processes().keys().all(|(machine, _)| *machine != 0), "it does what it is told");
}

#[tokio::test(start_paused = true)]
async fn the_leader_is_replaced_when_nobody_can_tell_who_it_is() {
    let mut world = world().await;
    let before = world.processes();
    world.memory.overwrite(&ENGINE, LEADER, "{\"machine\":7}");
    for machine in &mut world.machines {
        machine.reload().await;
    }
    let hello = name("hello.service");
    world.admin.put(&hello, &service("hello", ""), TargetState::Launched).await;
    world.settle("there is a leader again", Duration::from_secs(15)).await;
    world.admin.destroy(&hello).await;
    world.settle("it works", SOON).await;
    assert_eq!(world.processes(), before);
}
