//! Troubles of the store and losses of machines.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_cluster::node::Failure;
use fleet_simulation::{Condition, Settings};
use tokio::time::{Instant, sleep};

use crate::world::{SOON, TTL, World, check_empty, name, service, settings};

/// A cluster with three plain units and a global one.
async fn busy(machines: u8, settings: Settings) -> World {
    let mut world = World::new(1, machines, settings).await;
    for index in 0..3 {
        world.start(&name(&format!("{index}.service")), &service("hello", "")).await;
    }
    world.start(&name("all.service"), &service("all", "Global=true")).await;
    world
}

#[tokio::test(start_paused = true)]
async fn no_outage_of_the_store_touches_a_unit() {
    for machines in 2..=4 {
        for condition in [Condition::Refusing, Condition::Silent] {
            for (time, frozen) in [(TTL / 2, false), (TTL * 2, false), (TTL * 2, true), (TTL * 100, false)] {
                let mut world = busy(machines, settings()).await;
                let before = world.processes();
                if frozen {
                    world.memory.freeze();
                }
                world.set_links(condition);
                sleep(time).await;
                assert_eq!(world.processes(), before);
                world.set_links(Condition::Up);
                world.memory.thaw();
                world.settle("the end of an outage", SOON + TTL).await;
                // Machines that were waited for are not waited for any longer.
                sleep(TTL * 2).await;
                world.settle("a while later", SOON).await;
                assert_eq!(world.processes(), before, "{machines} {condition:?} {time:?} {frozen}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn daemons_that_start_during_an_outage_touch_nothing() {
    let mut world = busy(3, settings()).await;
    let before = world.processes();
    world.set_links(Condition::Silent);
    for machine in &mut world.machines {
        machine.crash().await;
        machine.start();
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.processes(), before);
    world.set_links(Condition::Up);
    world.settle("the end of an outage", SOON).await;
    sleep(TTL * 2).await;
    world.settle("a while later", SOON).await;
    assert_eq!(world.processes(), before);
}

#[tokio::test(start_paused = true)]
async fn a_lost_machine_loses_its_units_alone_and_gets_none_back() {
    for watches in [true, false] {
        let mut world = busy(3, Settings { watches, ..settings() }).await;
        // Long after the beginning, so that nobody thinks of an outage.
        sleep(TTL * 3).await;
        let lost = (world.leader().expect("there is one") + 1) % 3;
        let before = world.processes();
        world.machines[lost].reboot().await;
        let begun = Instant::now();
        while world.processes().len() < before.len() - 1 {
            assert!(begun.elapsed() < TTL * 2);
            sleep(Duration::from_millis(10)).await;
        }
        let took = begun.elapsed();
        world.settle("the loss of a machine", SOON).await;
        // Without watches the leader's beat passes, and then the agent's.
        let beats = if watches { Duration::ZERO } else { Duration::from_secs(4) };
        assert!(took < TTL + Duration::from_millis(500) + beats, "{took:?}, watches: {watches}");
        let after = world.processes();
        for (key, process) in before.iter().filter(|((machine, _), _)| *machine != lost) {
            assert_eq!(after.get(key), Some(process), "{key:?}");
        }
        world.machines[lost].start();
        world.settle("its return", SOON).await;
        let mut processes = world.processes();
        processes.retain(|(machine, unit), _| *machine != lost || unit.as_str() != "all.service");
        assert_eq!(processes, after);
    }
}

/// Waits until no unit of a lost machine is missing elsewhere, and tells how long that took since it was lost.
async fn moved(world: &World, units: usize, lost: Instant) -> Duration {
    while world.processes().len() < units {
        assert!(lost.elapsed() < TTL * 3, "{:?}", world.trouble());
        sleep(Duration::from_millis(10)).await;
    }
    lost.elapsed()
}

/// The longest time without a leader.
const VACANCY_MAX: Duration = Duration::from_secs(3);

/// Whoever leads when the loss shows has itself only just begun: that is no reason to wait once more.
#[tokio::test(start_paused = true)]
async fn a_lost_machine_is_not_waited_for_longer_because_daemons_were_restarted() {
    for restarted in (0..8).map(|half| TTL - Duration::from_millis(500 * half)) {
        let mut world = busy(3, settings()).await;
        sleep(TTL * 3).await;
        let before = world.processes().len();
        let lost = Instant::now();
        world.machines[2].power_off().await;
        sleep(restarted).await;
        for machine in &mut world.machines[..2] {
            machine.crash().await;
        }
        // The registration ends while nobody looks.
        sleep(Duration::from_secs(1)).await;
        world.machines[0].start();
        world.machines[1].start();
        let took = moved(&world, before - 1, lost).await;
        assert!(took < restarted.max(TTL - VACANCY_MAX) + VACANCY_MAX + Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_machine_is_not_waited_for_longer_because_a_newcomer_leads() {
    let mut newcomers = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, 5, settings()).await;
        world.machines[4].power_off().await;
        sleep(TTL * 3).await;
        for index in 0..4 {
            world.start(&name(&format!("{index}.service")), &service("hello", "")).await;
        }
        let leader = world.leader().expect("there is one");
        let other = (leader + 1) % 4;
        let unit =
            world.processes().into_keys().find(|(machine, _)| *machine == other).expect("it has one").1;
        let lost = Instant::now();
        world.machines[other].power_off().await;
        sleep(TTL - Duration::from_secs(3)).await;
        world.machines[4].start();
        sleep(Duration::from_secs(2)).await;
        world.machines[leader].power_off().await;
        while world.processes().keys().all(|(_, there)| *there != unit) {
            assert!(lost.elapsed() < TTL + VACANCY_MAX, "{seed}: {:?}", world.leader());
            sleep(Duration::from_millis(10)).await;
        }
        newcomers += usize::from(world.leader() == Some(4));
    }
    assert!(newcomers > 3, "{newcomers} of 20 newcomers have led");
}

/// After an outage in which everybody lost its registration some come back a moment later than others.
/// Restarted daemons, which find their own document again, do not take that for an old registration.
#[tokio::test(start_paused = true)]
async fn machines_that_are_late_after_an_outage_lose_nothing() {
    for (late, restarts) in [(0, false), (1, false), (2, true), (3, true)] {
        for delay in [Duration::from_secs(1), TTL / 2, TTL - Duration::from_secs(1)] {
            let mut world = busy(4, settings()).await;
            sleep(TTL * 3).await;
            let before = world.processes();
            world.set_links(Condition::Silent);
            sleep(TTL * 3).await;
            for machine in world.machines.iter().filter(|machine| machine.id != world.machines[late].id) {
                machine.link.set(Condition::Up);
            }
            sleep(delay / 2).await;
            if restarts {
                for index in (0..4).filter(|index| *index != late) {
                    world.machines[index].crash().await;
                    world.machines[index].start();
                }
            }
            sleep(delay / 2).await;
            world.machines[late].link.set(Condition::Up);
            world.settle("the late one is back", SOON + SOON).await;
            sleep(TTL * 2).await;
            assert_eq!(world.processes(), before, "{late}, {delay:?}, {restarts}");
        }
    }
}

/// Being registered while the store is away proves nothing: only time in which it answers counts.
#[tokio::test(start_paused = true)]
async fn a_machine_that_is_late_after_two_outages_loses_nothing() {
    for late in 0..3 {
        let mut world = busy(3, settings()).await;
        sleep(TTL * 3).await;
        let before = world.processes();
        world.set_links(Condition::Silent);
        sleep(TTL * 3).await;
        for index in (0..3).filter(|index| *index != late) {
            world.machines[index].link.set(Condition::Up);
        }
        // Time enough for the others to register, and then the store is away again, with its leases.
        sleep(Duration::from_millis(1500)).await;
        world.memory.freeze();
        world.set_links(Condition::Refusing);
        sleep(TTL * 2).await;
        world.memory.thaw();
        for index in (0..3).filter(|index| *index != late) {
            world.machines[index].link.set(Condition::Up);
        }
        sleep(Duration::from_secs(5)).await;
        world.machines[late].link.set(Condition::Up);
        world.settle("the late one is back", SOON + SOON).await;
        sleep(TTL * 2).await;
        assert_eq!(world.processes(), before, "{late}");
    }
}

/// A daemon without a heart would lose its registration again and again: it says so, and a new one takes over.
#[tokio::test(start_paused = true)]
async fn a_daemon_whose_heart_stops_ends_and_touches_nothing() {
    let mut world = busy(2, settings()).await;
    sleep(TTL).await;
    let before = world.processes();
    assert!(tokio::time::timeout(TTL * 3, world.machines[0].failed()).await.is_err());
    world.machines[0].stop_heart();
    let failure = tokio::time::timeout(Duration::from_secs(1), world.machines[0].failed()).await;
    assert_eq!(failure, Ok(Failure::Heart));
    world.machines[0].stop().await;
    world.machines[0].start();
    world.settle("a new daemon", SOON).await;
    sleep(TTL * 2).await;
    assert_eq!(world.processes(), before);
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_most_machines_is_waited_for_but_not_for_ever() {
    for watches in [true, false] {
        let mut world = busy(3, Settings { watches, ..settings() }).await;
        for lost in 0..2 {
            world.machines[lost].reboot().await;
        }
        world.settle("the loss of two machines", TTL * 3).await;
        assert_eq!(world.processes().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_lost_in_an_outage_is_waited_for_but_not_for_ever() {
    let mut world = busy(4, settings()).await;
    let lost = world.index_of(&name("0.service")).expect("it runs");
    world.set_links(Condition::Silent);
    world.machines[lost].reboot().await;
    sleep(TTL * 3).await;
    world.set_links(Condition::Up);
    sleep(TTL - Duration::from_secs(1)).await;
    assert_eq!(world.index_of(&name("0.service")), None, "it may be a moment late");
    world.settle("it is given up", SOON * 2).await;
    assert!(world.index_of(&name("0.service")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_cut_off_goes_on_and_gives_way_when_it_is_back() {
    let mut world = busy(3, settings()).await;
    sleep(TTL * 3).await;
    let cut = (world.leader().expect("there is one") + 1) % 3;
    let before = world.processes();
    world.machines[cut].link.set(Condition::Silent);
    sleep(TTL * 2).await;
    let meanwhile = world.processes();
    for (key, process) in &before {
        assert_eq!(meanwhile.get(key), Some(process), "{key:?}");
    }
    assert!(meanwhile.len() > before.len(), "the others have taken its units over");
    world.machines[cut].link.set(Condition::Up);
    world.settle("it is back", SOON).await;
    assert_eq!(world.processes().len(), before.len());
}

#[tokio::test(start_paused = true)]
async fn a_machine_hands_its_units_over_and_leaves() {
    let mut world = busy(3, settings()).await;
    let leaving = world.index_of(&name("0.service")).expect("it runs");
    assert!(world.machines[leaving].hand_over(Duration::from_secs(5)).await);
    assert!(world.machines[leaving].systemd.look().is_empty());
    assert_eq!(world.referee.ask(|seen| seen.lost.len()), 1, "it has left, and is not waited for");
    world.settle("the others have them", SOON).await;
    assert_eq!(world.processes().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_destroyed_while_a_machine_is_away_goes_when_it_is_back() {
    let mut world = busy(2, settings()).await;
    sleep(TTL * 3).await;
    world.machines[0].link.set(Condition::Silent);
    for unit in ["0.service", "1.service", "2.service", "all.service"] {
        world.admin.destroy(&name(unit)).await;
    }
    sleep(TTL * 2).await;
    assert!(!world.processes().is_empty(), "it does not know yet");
    world.machines[0].link.set(Condition::Up);
    world.settle("it is back", SOON).await;
    assert!(world.processes().is_empty());
    check_empty(&world.memory);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_fits_nowhere_waits_and_a_lost_one_that_fits_nowhere_stays() {
    let mut world = World::new(1, 2, settings()).await;
    let only = name("only.service");
    let id = world.machines[0].id.to_string();
    assert_eq!(world.start(&only, &service("only", &format!("MachineID={id}"))).await, 0);
    sleep(TTL * 3).await;
    let before = world.processes();
    world.machines[0].link.set(Condition::Silent);
    sleep(TTL * 2).await;
    world.machines[0].link.set(Condition::Up);
    world.settle("it is back", SOON).await;
    // Nothing would have been gained by taking it away.
    assert_eq!(world.processes(), before);
    let nowhere = name("nowhere.service");
    world.admin.put(&nowhere, &service("x", "MachineMetadata=zone=9"), TargetState::Launched).await;
    world.settle("it waits", SOON).await;
    assert_eq!(world.index_of(&nowhere), None);
}
