//! More units on one machine than one document holds.

use std::time::Duration;

use fleet_cluster::documents::{ASSIGNMENTS, GLOBALS, GLOBALS_ID, TargetState};
use fleet_simulation::{Faults, Settings};
use fleet_unit::UnitName;
use tokio::time::sleep;

use crate::world::{SOON, TTL, World, check_empty, name, service, settings};

/// So many units are more than a document holds here.
const UNITS: usize = 40;

/// The largest document here, in bytes.
const DOCUMENT_MAX: usize = 1024;

fn small() -> Settings {
    Settings { document_max: DOCUMENT_MAX, ..settings() }
}

async fn put(world: &World, fleet: &str) -> Vec<UnitName> {
    let mut names = Vec::new();
    for number in 0..UNITS {
        let unit = name(&format!("{number}.service"));
        world.admin.put(&unit, &service("hello", fleet), TargetState::Launched).await;
        names.push(unit);
    }
    names
}

/// How many documents a set takes, none of them too large.
fn documents(world: &World, id: &str) -> usize {
    let documents = world.memory.documents(&ASSIGNMENTS).into_iter().chain(world.memory.documents(&GLOBALS));
    let sizes: Vec<usize> = documents
        .filter(|document| document.id.starts_with(id))
        .map(|document| document.body.len())
        .collect();
    // The head names its parts, each with 43 bytes.
    assert!(sizes.iter().all(|size| *size <= DOCUMENT_MAX * 2), "{sizes:?}");
    sizes.len()
}

#[tokio::test(start_paused = true)]
async fn many_units_of_one_machine_come_change_and_go() {
    let mut world = World::new(1, 2, small()).await;
    let id = world.machines[0].id.0.clone();
    let units = put(&world, &format!("MachineID={id}")).await;
    world.settle("they run", SOON).await;
    assert_eq!(world.processes().len(), UNITS);
    assert!(documents(&world, &id) > 4);
    assert!(world.referee.ask(|seen| seen.split));
    let before = world.processes();
    // One that comes or goes costs its part and the head, and touches no other.
    let writes = world.referee.ask(|seen| seen.derived);
    world.admin.destroy(&units[7]).await;
    world.settle("one goes", SOON).await;
    let writes = world.referee.ask(|seen| seen.derived) - writes;
    assert!(writes <= 3, "{writes} writes: a part, the head, and the old part");
    world.admin.restart(&units[8]).await;
    world.settle("one is restarted", SOON).await;
    let after = world.processes();
    for (key, process) in before.iter().filter(|((_, unit), _)| *unit != units[7] && *unit != units[8]) {
        assert_eq!(after.get(key), Some(process), "{key:?}");
    }
    // A daemon, and a leader, that begin with it.
    for machine in &mut world.machines {
        machine.crash().await;
        machine.start();
    }
    world.settle("restarted", SOON).await;
    assert_eq!(world.processes(), after);
    for unit in &units {
        world.admin.destroy(unit).await;
    }
    world.settle("all go", SOON).await;
    check_empty(&world.memory);
}

#[tokio::test(start_paused = true)]
async fn many_global_units_come_and_go() {
    let mut world = World::new(1, 2, small()).await;
    let units = put(&world, "Global=true").await;
    world.settle("they run", SOON).await;
    assert_eq!(world.processes().len(), UNITS * 2);
    assert!(documents(&world, GLOBALS_ID) > 4);
    let before = world.processes();
    for machine in &mut world.machines {
        machine.crash().await;
        machine.start();
    }
    world.settle("restarted", SOON).await;
    assert_eq!(world.processes(), before);
    for unit in &units {
        world.admin.destroy(unit).await;
    }
    world.settle("all go", SOON).await;
    check_empty(&world.memory);
}

/// Whoever reads while leaders write, die and are cut off meets every half of a set. Nothing is stopped for it.
#[tokio::test(start_paused = true)]
async fn half_a_set_stops_nothing() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, small()).await;
        let id = world.machines[0].id.0.clone();
        let units = put(&world, &format!("MachineID={id}")).await;
        world.settle("they run", SOON).await;
        let before = world.processes();
        for round in 0..6 {
            for machine in &world.machines {
                machine.link.set_faults(Faults {
                    latency: Duration::ZERO..=Duration::from_millis(20),
                    lost_requests: 0.05,
                    lost_answers: 0.1,
                    delayed_writes: 0.5,
                    delay_max: Duration::from_secs(1),
                    failing_watches: 0.05,
                });
            }
            for index in 0..5 {
                let other = name(&format!("other-{index}.service"));
                let fleet = format!("MachineID={id}");
                world.admin.put(&other, &service(&format!("{round}"), &fleet), TargetState::Launched).await;
                sleep(Duration::from_millis(40)).await;
            }
            let leader = world.leader().unwrap_or(0);
            world.machines[leader].crash().await;
            sleep(Duration::from_millis(100)).await;
            world.machines[0].crash().await;
            world.machines[0].start();
            sleep(Duration::from_secs(2)).await;
            world.machines[leader].start();
        }
        world.heal();
        world.settle("everything ends", SOON + TTL * 6).await;
        let after = world.processes();
        for unit in &units {
            let key = (0, unit.clone());
            assert_eq!(after.get(&key), before.get(&key), "{seed}: {unit}");
        }
    }
}

/// Parts that are damaged or gone: what runs goes on, and the leader writes them anew.
#[tokio::test(start_paused = true)]
async fn a_part_that_cannot_be_read_is_written_anew() {
    let mut world = World::new(1, 2, small()).await;
    let id = world.machines[0].id.0.clone();
    put(&world, &format!("MachineID={id}")).await;
    world.settle("they run", SOON).await;
    let before = world.processes();
    let is_part = |id: &str| id.contains('/');
    let part =
        world.memory.documents(&ASSIGNMENTS).into_iter().map(|document| document.id).find(|id| is_part(id));
    world.memory.overwrite(&ASSIGNMENTS, &part.expect("it is split"), "{\"units\":7}");
    world.machines[0].crash().await;
    world.machines[0].start();
    sleep(SOON).await;
    assert_eq!(world.processes(), before);
    sleep(Duration::from_secs(62)).await;
    world.settle("it is written anew", SOON).await;
    assert_eq!(world.processes(), before);
    // A part that nobody needs goes.
    world.memory.overwrite(&ASSIGNMENTS, &format!("{id}/0000"), "{\"units\":{}}");
    world.memory.overwrite(&ASSIGNMENTS, &format!("{}/0000", "f".repeat(32)), "{\"units\":{}}");
    sleep(Duration::from_secs(62)).await;
    world.settle("no litter", SOON).await;
    assert_eq!(world.processes(), before);
}
