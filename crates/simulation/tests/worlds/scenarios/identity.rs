//! Two machines with the same machine id.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_cluster::presence::Membership;
use fleet_simulation::Machine;
use tokio::time::sleep;

use crate::world::{SOON, TTL, World, name, service, settings};

#[tokio::test(start_paused = true)]
async fn a_second_machine_with_the_same_id_is_refused_and_runs_nothing() {
    let mut world = World::new(1, 1, settings()).await;
    world.start(&name("one.service"), &service("one", "")).await;
    world.start(&name("all.service"), &service("all", "Global=true")).await;
    let before = world.processes();
    let mut twin = Machine::boot(1, 99, &world.memory, &world.scripts, settings(), BTreeMap::new());
    twin.start();
    for _ in 0..100 {
        sleep(TTL / 10).await;
        assert!(twin.systemd.look().is_empty());
        assert!(matches!(twin.membership(), Some(Membership::Joining | Membership::Refused)));
    }
    assert_eq!(twin.membership(), Some(Membership::Refused));
    world.settle("the first one is not disturbed", SOON).await;
    assert_eq!(world.processes(), before);
    // When the first one has left it is free to have the id.
    world.machines[0].power_off().await;
    sleep(TTL + Duration::from_secs(2)).await;
    assert!(matches!(twin.membership(), Some(Membership::Member { .. })));
    assert_eq!(twin.systemd.look().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_takes_its_own_registration_over_at_once() {
    let mut world = World::new(1, 2, settings()).await;
    let one = name("one.service");
    let at = world.start(&one, &service("one", "")).await;
    let before = world.processes();
    for _ in 0..5 {
        world.machines[at].crash().await;
        world.machines[at].start();
        sleep(Duration::from_millis(10)).await;
        assert!(matches!(world.machines[at].membership(), Some(Membership::Member { .. })));
        world.settle("it is back", SOON).await;
    }
    assert_eq!(world.processes(), before);
    // Nothing is left of the leases of the former daemons but what two daemons and a leader hold.
    assert_eq!(world.referee.ask(|seen| seen.lost.len()), 0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.memory.leases().len(), 3);
}
