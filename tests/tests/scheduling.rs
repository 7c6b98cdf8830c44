//! Where units are placed: conflicts, company, replacement, metadata, pins and global units.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_tests::{
    Cluster, Failure, HarnessError, NotYet, Placement, TestResult, UnitState, fixture_text, holds,
    on_cluster, single, wait_for, with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);
/// How long something must not happen: several rounds of everything periodic in these clusters.
const A_WHILE: Duration = Duration::from_secs(4);

async fn start(cluster: &Cluster, units: &[&str]) -> Result<(), HarnessError> {
    cluster.fleetctl(with_fixtures(&["start", "--no-block"], units)).await?.success().map(drop)
}

/// A person can log in to each machine through `fleetctl`.
async fn log_in_everywhere(cluster: &Cluster) -> Result<(), HarnessError> {
    for machine in cluster.machines() {
        let args = ["--strict-host-key-checking=false", "ssh", &machine.id(), "uptime"];
        cluster.fleetctl(args).await?.success()?;
    }
    Ok(())
}

fn on_distinct_machines(placement: &Placement) -> bool {
    placement.values().collect::<BTreeSet<_>>().len() == placement.len()
}

/// TestScheduleMachineOf
#[test]
fn schedule_machine_of() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        log_in_everywhere(cluster).await?;
        for pair in 0..3 {
            start(cluster, &[&format!("ping.{pair}.service"), &format!("pong.{pair}.service")]).await?;
        }
        let m1 = cluster.machine(0)?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 6);
        let together = |placement: &Placement| {
            let pair = |n: i32| [format!("ping.{n}.service"), format!("pong.{n}.service")];
            placement.len() == 6 && (0..3).map(pair).all(|[ping, pong]| placement[&ping] == placement[&pong])
        };
        let before = cluster.wait_for_placement(m1, "three pairs run", together).await?;

        let lost = cluster.machine_with_id(&before["ping.1.service"])?;
        let args =
            ["--strict-host-key-checking=false", "ssh", &lost.id(), "sudo", "systemctl", "stop", "fleet"];
        cluster.fleetctl(args).await?.success()?;
        let other = cluster.another(lost)?;
        cluster.wait_for_machines(other, 2).await?;
        let elsewhere = |placement: &Placement| {
            together(placement) && placement["ping.1.service"] != before["ping.1.service"]
        };
        cluster.wait_for_placement(other, "the pair has moved together", elsewhere).await?;
        Ok(())
    })
}

/// TestScheduleConflicts
#[test]
fn schedule_conflicts() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        log_in_everywhere(cluster).await?;
        for number in 0..5 {
            start(cluster, &[&format!("conflict.{number}.service")]).await?;
        }
        let m1 = cluster.machine(0)?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 5);
        let apart = |placement: &Placement| placement.len() == 3 && on_distinct_machines(placement);
        cluster.wait_for_placement(m1, "three of five run, apart", apart).await?;
        holds("three of five run", A_WHILE, async || {
            let active = cluster.unit_states(m1).await?;
            let active: Vec<_> = active.into_iter().filter(|state| state.active == "active").collect();
            if active.len() == 3 { Ok(()) } else { Err(NotYet::saw(format!("{active:?}"))) }
        })
        .await?;
        Ok(())
    })
}

/// TestScheduleOneWayConflict
#[test]
fn schedule_one_way_conflict() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let m1 = cluster.machine(0)?;
        start(cluster, &["conflicts-with-hello.service"]).await?;
        let only = |name: &'static str| move |placement: &Placement| placement.keys().eq([name]);
        let first = only("conflicts-with-hello.service");
        cluster.wait_for_placement(m1, "the first runs", &first).await?;
        start(cluster, &["hello.service"]).await?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 2);
        holds("only the first runs", A_WHILE, async || {
            let states = cluster.unit_states(m1).await?;
            let hello = states.iter().any(|state| state.unit == "hello.service" && state.active == "active");
            if hello { Err(NotYet::saw(format!("{states:?}"))) } else { Ok(()) }
        })
        .await?;
        cluster.fleetctl(["destroy", "conflicts-with-hello.service"]).await?.success()?;
        cluster.wait_for_placement(m1, "only hello runs", only("hello.service")).await?;
        Ok(())
    })
}

/// TestScheduleMultipleConflicts
#[test]
fn schedule_multiple_conflicts() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        log_in_everywhere(cluster).await?;
        for number in 0..3 {
            start(cluster, &[&format!("conflict.multiple.{number}.service")]).await?;
        }
        let m1 = cluster.machine(0)?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 3);
        let apart = |placement: &Placement| placement.len() == 3 && on_distinct_machines(placement);
        cluster.wait_for_placement(m1, "all three run, apart", apart).await?;
        Ok(())
    })
}

/// TestScheduleReplace
#[test]
fn schedule_replace() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let m1 = cluster.machine(0)?;
        start(cluster, &["replace.0.service"]).await?;
        cluster.wait_for_active(m1, 1).await?;
        start(cluster, &["replace.1.service"]).await?;
        start(cluster, &["replace.2.service"]).await?;
        let together = |placement: &Placement| {
            placement.len() == 3
                && placement["replace.1.service"] == placement["replace.2.service"]
                && placement["replace.0.service"] != placement["replace.1.service"]
        };
        let before = cluster.wait_for_placement(m1, "one here, two there", together).await?;
        let old = &before["replace.0.service"];
        start(cluster, &["replace-kick0.service"]).await?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 4);
        let replaced = |placement: &Placement| {
            placement.len() == 4
                && placement["replace-kick0.service"] == *old
                && placement["replace.0.service"] != *old
        };
        cluster.wait_for_placement(m1, "the newcomer has its place", replaced).await?;
        Ok(())
    })
}

/// TestScheduleCircularReplace
///
/// Of two units that replace each other the second finds no place: it waits, and the first stays where it is.
#[test]
fn schedule_circular_replace() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let m1 = cluster.machine(0)?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("replace.0.service");
        let text = fixture_text("replace-kick0.service")?;
        std::fs::write(&path, text.replace("replace.0.service", "replace-kick0.service"))?;
        let first = path.display().to_string();
        cluster.fleetctl(["start", "--no-block", &first]).await?.success()?;
        assert_eq!(cluster.unit_files(m1).await?, ["replace.0.service"]);
        let settled =
            cluster.wait_for_placement(m1, "the first runs", |placement| placement.len() == 1).await?;
        start(cluster, &["replace-kick0.service"]).await?;
        assert_eq!(cluster.unit_files(m1).await?.len(), 2);
        holds("only the first runs, where it was", A_WHILE, async || {
            let states = cluster.unit_states(m1).await?;
            let active: Vec<_> = states.into_iter().filter(|state| state.active == "active").collect();
            if single(&active)? == settled { Ok(()) } else { Err(NotYet::saw(format!("{active:?}"))) }
        })
        .await?;
        let listing = ["list-unit-files", "--no-legend", "--fields", "unit,state"];
        let output = cluster.fleetctl(listing).await?.success()?.stdout;
        assert_eq!(output.lines().filter(|line| line.trim().ends_with("launched")).count(), 1, "{output}");
        Ok(())
    })
}

/// TestScheduleConditionMachineID
#[test]
fn schedule_condition_machine_id() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let folder = tempfile::tempdir()?;
        let mut wanted = Placement::new();
        for machine in cluster.machines() {
            let unit = format!("pinned-{}.service", machine.name());
            let path = folder.path().join(&unit);
            std::fs::write(&path, fixture_text("pin@.service")?.replace("%i", &machine.id()))?;
            cluster.fleetctl(["start", &path.display().to_string()]).await?.success()?;
            wanted.insert(unit, machine.id());
        }
        let m1 = cluster.machine(0)?;
        cluster
            .wait_for_placement(m1, "each unit runs on its machine", |placement| *placement == wanted)
            .await?;
        Ok(())
    })
}

/// Machine by machine the process that runs the unit.
async fn main_processes(cluster: &Cluster, unit: &str) -> Result<Vec<String>, HarnessError> {
    let mut processes = Vec::new();
    for machine in cluster.machines() {
        processes.push(machine.property(unit, "MainPID").await?);
    }
    Ok(processes)
}

/// TestScheduleGlobalUnits
#[test]
fn schedule_global_units() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let m1 = cluster.machine(0)?;
        start(cluster, &["hello.service", "goodbye.service"]).await?;
        cluster.wait_for_active(m1, 2).await?;
        start(cluster, &["global.service"]).await?;
        let global_on = |states: &[UnitState]| -> BTreeSet<String> {
            let global = states.iter().filter(|state| state.unit == "global.service");
            global.map(|state| state.machine.clone()).collect()
        };
        let everywhere: BTreeSet<_> = cluster.machines().iter().map(|machine| machine.id()).collect();
        let states = cluster.wait_for_active(m1, 5).await?;
        assert_eq!(global_on(&states), everywhere);

        // The original's own test passes `status` a flag that it does not have, and relies on exit status 0.
        let args = ["--strict-host-key-checking=false", "status", "--no-block", "global.service"];
        cluster.fleetctl(args).await?.success()?;

        let before = main_processes(cluster, "global.service").await?;
        let args = ["--strict-host-key-checking=false", "restart", "global.service"];
        cluster.fleetctl(args).await?.success()?;
        wait_for("the global unit has restarted everywhere", SOON, async || {
            let after = main_processes(cluster, "global.service").await?;
            let renewed = before.iter().zip(&after).all(|(old, new)| old != new && new != "0");
            if renewed { Ok(()) } else { Err(NotYet::saw(format!("{before:?} became {after:?}"))) }
        })
        .await?;
        let states = cluster.wait_for_active(m1, 5).await?;
        assert_eq!(global_on(&states), everywhere);
        Ok(())
    })
}

/// TestScheduleGlobalConflicts
#[test]
fn schedule_global_conflicts() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let m1 = cluster.machine(0)?;
        start(cluster, &["conflict-global.0.service"]).await?;
        cluster.wait_for_active(m1, 3).await?;
        start(cluster, &["conflict-global.1.service"]).await?;
        let everywhere: BTreeSet<_> = cluster.machines().iter().map(|machine| machine.id()).collect();
        holds("the first runs everywhere, the second nowhere", A_WHILE, async || {
            let states = cluster.unit_states(m1).await?;
            let active = states.iter().filter(|state| state.active == "active");
            let (first, second): (Vec<_>, Vec<_>) =
                active.partition(|state| state.unit == "conflict-global.0.service");
            let on: BTreeSet<_> = first.iter().map(|state| state.machine.clone()).collect();
            let right = second.is_empty() && on == everywhere;
            if right { Ok(()) } else { Err(NotYet::saw(format!("{states:?}"))) }
        })
        .await?;
        Ok(())
    })
}

/// TestTemplatesWithSpecifiersInMetadata
#[test]
fn templates_with_specifiers_in_metadata() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        cluster.fleetctl(with_fixtures(&["submit"], &["metadata@.service"])).await?.success()?;
        let mut wanted = Placement::new();
        for machine in cluster.machines().iter().rev() {
            let unit = format!("metadata@{}.service", machine.name());
            cluster.fleetctl(with_fixtures(&["start"], &[&unit])).await?.success()?;
            wanted.insert(unit, machine.id());
        }
        let m1 = cluster.machine(0)?;
        cluster
            .wait_for_placement(m1, "each instance runs on its host", |placement| *placement == wanted)
            .await?;
        let args = with_fixtures(&["start", "--block-attempts=20"], &["metadata@invalid.service"]);
        cluster.fleetctl(args).await?.failure()?;
        Ok(())
    })
}

/// Three units that exclude each other run, one per machine.
async fn three_apart(cluster: &Cluster) -> Result<Placement, Failure> {
    let units = ["conflict.0.service", "conflict.1.service", "conflict.2.service"];
    cluster.fleetctl(with_fixtures(&["start"], &units)).await?.success()?;
    let m1 = cluster.machine(0)?;
    assert_eq!(cluster.unit_states(m1).await?.len(), 3);
    let apart = |placement: &Placement| placement.len() == 3 && on_distinct_machines(placement);
    Ok(cluster.wait_for_placement(m1, "all three run, apart", apart).await?)
}

/// TestDynamicClusterNewMemberUnitMigration
#[test]
fn dynamic_cluster_new_member_unit_migration() -> TestResult {
    on_cluster(Cluster::builder().machines(4), async |cluster| {
        let before = three_apart(cluster).await?;
        let lost = cluster.machine_with_id(&before["conflict.1.service"])?;
        let args =
            ["--strict-host-key-checking=false", "ssh", &lost.id(), "sudo", "systemctl", "stop", "fleet"];
        cluster.fleetctl(args).await?.success()?;
        let other = cluster.another(lost)?;
        cluster.wait_for_machines(other, 3).await?;
        let free = cluster.machines().iter().map(|machine| machine.id());
        let free = free.filter(|id| !before.values().any(|used| used == id)).collect::<String>();
        let mut wanted = before.clone();
        wanted.insert("conflict.1.service".to_owned(), free);
        let what = "the unit is on the free machine, the others where they were";
        cluster.wait_for_placement(other, what, |placement| *placement == wanted).await?;
        Ok(())
    })
}

/// TestDynamicClusterMemberReboot
#[test]
fn dynamic_cluster_member_reboot() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let before = three_apart(cluster).await?;
        let m1 = cluster.machine(0)?;
        let replaced = cluster.machine(1)?;
        let old = replaced.id();
        replaced.power_off().await?;
        cluster.wait_for_machines(m1, 2).await?;
        replaced.replace().await?;
        cluster.wait_for_machines(m1, 3).await?;
        let unit = before.iter().find(|(_, machine)| **machine == old).map(|(unit, _)| unit.clone());
        let mut wanted = before.clone();
        wanted.insert(unit.unwrap_or_default(), replaced.id());
        let what = "one unit is on the new machine, the others where they were";
        cluster.wait_for_placement(m1, what, |placement| *placement == wanted).await?;
        Ok(())
    })
}
