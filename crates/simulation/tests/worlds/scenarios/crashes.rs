//! A daemon that dies in the middle of something, at every moment of it.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_cluster::systemd::Operation;
use fleet_simulation::Script;
use fleet_simulation::systemd::Act;
use fleet_unit::UnitName;
use tokio::time::sleep;

use crate::world::{SOON, World, name, service, settings};

/// How long each step of a call to systemd takes here.
const STEP: Duration = Duration::from_millis(10);
/// The moments of a crash lie this far apart: each step is hit.
const APART: Duration = Duration::from_millis(5);
/// Everything that is begun here is done after so many moments.
const MOMENTS: u32 = 60;

/// One machine with a unit, in slow motion.
async fn slow(target: TargetState) -> (World, UnitName) {
    let mut world = World::new(1, 1, settings()).await;
    let unit = name("hello.service");
    world.scripts.set(&unit, Script { starting: STEP * 3, stopping: STEP * 3, ..Script::default() });
    world.admin.put(&unit, &service("one", ""), target).await;
    world.settle("the unit", SOON).await;
    world.machines[0].systemd.set_latency(STEP..=STEP);
    (world, unit)
}

/// The daemon crashes after so many moments. When it is back everything has to be as it should be.
async fn crash_after(world: &mut World, moments: u32) {
    sleep(APART * moments).await;
    world.machines[0].crash().await;
}

async fn come_back(world: &mut World, what: &str) {
    world.machines[0].start();
    world.settle(what, Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_start() {
    for moments in 0..MOMENTS {
        let (mut world, unit) = slow(TargetState::Inactive).await;
        world.admin.set_target(&unit, TargetState::Launched).await;
        crash_after(&mut world, moments).await;
        come_back(&mut world, &format!("start, {moments}")).await;
        assert_eq!(world.count(&unit, &Act::Began), 1, "{moments}");
        assert_eq!(world.count(&unit, &Act::Ended), 0, "{moments}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_replacement() {
    for moments in 0..MOMENTS {
        let (mut world, unit) = slow(TargetState::Launched).await;
        world.admin.put(&unit, &service("two", ""), TargetState::Launched).await;
        crash_after(&mut world, moments).await;
        come_back(&mut world, &format!("replacement, {moments}")).await;
        assert_eq!(world.count(&unit, &Act::Began), 2, "{moments}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_stop_that_is_taken_back() {
    for target in [TargetState::Loaded, TargetState::Inactive] {
        for moments in 0..MOMENTS {
            let (mut world, unit) = slow(TargetState::Launched).await;
            world.admin.set_target(&unit, target).await;
            crash_after(&mut world, moments).await;
            world.admin.set_target(&unit, TargetState::Launched).await;
            come_back(&mut world, &format!("{target:?}, {moments}")).await;
            assert_eq!(world.processes().len(), 1, "{target:?}, {moments}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_stop() {
    for target in [TargetState::Loaded, TargetState::Inactive] {
        for moments in 0..MOMENTS {
            let (mut world, unit) = slow(TargetState::Launched).await;
            world.admin.set_target(&unit, target).await;
            crash_after(&mut world, moments).await;
            come_back(&mut world, &format!("{target:?}, {moments}")).await;
            assert_eq!(world.count(&unit, &Act::Ended), 1, "{target:?}, {moments}");
        }
    }
}

/// systemd's acceptance of a job and our note of it cannot be one step: only between the two a crash makes a
/// request be carried out twice. It is never lost.
#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_restart() {
    let mut repeated = 0;
    for moments in 0..MOMENTS {
        let (mut world, unit) = slow(TargetState::Launched).await;
        let restarts = |world: &World| world.count(&unit, &Act::Accepted(Operation::Restart));
        world.admin.restart(&unit).await;
        crash_after(&mut world, moments).await;
        let record = world.machines[0].systemd.look()[&unit].record.expect("it was noted");
        let is_between = restarts(&world) == 1 && record.restarts == 0;
        repeated += u32::from(is_between);
        come_back(&mut world, &format!("restart, {moments}")).await;
        assert_eq!(restarts(&world), 1 + usize::from(is_between), "{moments}");
    }
    assert!(repeated <= 2, "{repeated} of {MOMENTS} crashes were just then");
}

#[tokio::test(start_paused = true)]
async fn again_and_again() {
    let (mut world, unit) = slow(TargetState::Inactive).await;
    world.admin.set_target(&unit, TargetState::Launched).await;
    for moments in 0..40 {
        crash_after(&mut world, moments % 7).await;
        world.machines[0].start();
    }
    world.settle("the last crash", SOON).await;
    assert_eq!(world.count(&unit, &Act::Ended), 0);
}

#[tokio::test(start_paused = true)]
async fn without_records_what_runs_is_adopted_and_a_restart_is_still_done_once() {
    let mut world = World::new(1, 1, settings()).await;
    let (runs, waits) = (name("runs.service"), name("waits.service"));
    world.start(&runs, &service("runs", "")).await;
    world.admin.restart(&runs).await;
    world.admin.put(&waits, &service("waits", ""), TargetState::Loaded).await;
    world.settle("both", SOON).await;
    let before = world.processes();
    world.machines[0].crash().await;
    for unit in [&runs, &waits] {
        world.machines[0].systemd.lose_record(unit);
    }
    come_back(&mut world, "adoption").await;
    assert_eq!(world.processes(), before);
    world.admin.restart(&runs).await;
    world.settle("a restart", SOON).await;
    assert_eq!(world.count(&runs, &Act::Accepted(Operation::Restart)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_made_while_the_daemon_was_away_is_carried_out_once() {
    let (mut world, unit) = slow(TargetState::Launched).await;
    world.machines[0].crash().await;
    world.admin.restart(&unit).await;
    come_back(&mut world, "a restart").await;
    assert_eq!(world.count(&unit, &Act::Accepted(Operation::Restart)), 1);
}
