//! The life of a unit: submit, load, start, stop, restart, replace, unload, destroy.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fleet_tests::{
    Cluster, HarnessError, Machine, NotYet, TestResult, UnitState, fixture_text, on_cluster, wait_for,
    with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);

/// The command that a batch of units is driven by, with what shows that it worked and what takes it back.
#[derive(Clone, Copy)]
enum Verb {
    Submit,
    Load,
    Start,
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Load => "load",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }

    fn taken_back_by(self) -> &'static str {
        match self {
            Self::Submit => "destroy",
            Self::Load => "unload",
            Self::Start | Self::Restart => "stop",
        }
    }

    /// Waits until as many units show as this command is to have brought about; their names.
    async fn shown(self, cluster: &Cluster, count: usize) -> Result<BTreeSet<String>, HarnessError> {
        let at = cluster.machine(0)?;
        let names = |states: Vec<UnitState>| states.into_iter().map(|state| state.unit).collect();
        match self {
            Self::Submit => Ok(cluster.wait_for_unit_files(at, count).await?.into_iter().collect()),
            Self::Load => cluster.wait_for_units(at, count).await.map(names),
            Self::Start | Self::Restart => cluster.wait_for_active(at, count).await.map(names),
        }
    }
}

fn instances(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("hello@{number}.service")).collect()
}

/// Runs the command on a batch of instances of `hello@.service`, which exist only as a template file.
async fn launch(cluster: &Cluster, verb: Verb, count: usize) -> Result<BTreeSet<String>, HarnessError> {
    let units = instances(count);
    let names: Vec<_> = units.iter().map(String::as_str).collect();
    let output = cluster.fleetctl(with_fixtures(&[verb.word()], &names)).await?.success()?;
    assert!(!output.stderr.contains("Error"), "{}", output.stderr);
    Ok(units.into_iter().collect())
}

async fn take_back(cluster: &Cluster, verb: Verb, count: usize) -> Result<(), HarnessError> {
    for unit in instances(count) {
        cluster.fleetctl([verb.taken_back_by(), &unit]).await?.success()?;
    }
    verb.shown(cluster, 0).await.map(drop)
}

/// Twice there and back again.
async fn there_and_back(cluster: &Cluster, verb: Verb, count: usize) -> TestResult {
    for _ in 0..2 {
        let wanted = launch(cluster, verb, count).await?;
        assert_eq!(verb.shown(cluster, count).await?, wanted);
        take_back(cluster, verb, count).await?;
    }
    Ok(())
}

/// TestUnitRunnable
#[test]
fn unit_runnable() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        cluster.fleetctl(with_fixtures(&["start"], &["hello.service"])).await?.success()?;
        let active = cluster.wait_for_active(cluster.machine(0)?, 1).await?;
        assert_eq!(active[0].unit, "hello.service");
        Ok(())
    })
}

/// TestUnitSubmit
#[test]
fn unit_submit() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| there_and_back(cluster, Verb::Submit, 9).await)
}

/// TestUnitLoad
#[test]
fn unit_load() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| there_and_back(cluster, Verb::Load, 6).await)
}

/// TestUnitStart
#[test]
fn unit_start() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| there_and_back(cluster, Verb::Start, 3).await)
}

/// TestUnitRestart
///
/// The original's test does not notice that nothing restarts; this one looks at the processes.
#[test]
fn unit_restart() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let units = launch(cluster, Verb::Start, 3).await?;
        Verb::Start.shown(cluster, 3).await?;
        let machine = cluster.machine(0)?;
        let before = main_processes(machine, &units).await?;
        launch(cluster, Verb::Restart, 3).await?;
        let after = main_processes(machine, &units).await?;
        let renewed = before.iter().zip(&after).all(|(old, new)| old != new && new != "0");
        assert!(renewed, "{before:?} became {after:?}");
        take_back(cluster, Verb::Restart, 3).await?;
        there_and_back(cluster, Verb::Restart, 3).await
    })
}

async fn main_processes(machine: &Machine, units: &BTreeSet<String>) -> Result<Vec<String>, HarnessError> {
    let mut processes = Vec::new();
    for unit in units {
        processes.push(machine.property(unit, "MainPID").await?);
    }
    Ok(processes)
}

/// Replaces each unit of a batch by a changed file: the body is the new one, and no unit is lost.
fn replaced_by(verb: Verb, count: usize) -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        launch(cluster, verb, count).await?;
        verb.shown(cluster, count).await?;
        let folder = tempfile::tempdir()?;
        let changed = fixture_text("hello.service")?.replace("sleep 1", "sleep 2");
        for unit in instances(count) {
            let before = cluster.fleetctl(["cat", &unit]).await?.success()?.stdout;
            replace(cluster, verb, folder.path(), &unit, &changed).await?;
            verb.shown(cluster, count).await?;
            let after = cluster.fleetctl(["cat", &unit]).await?.success()?.stdout;
            assert_ne!(after, before);
            assert_eq!(after.trim(), changed.trim());
        }
        take_back(cluster, verb, count).await?;
        Ok(())
    })
}

async fn replace(cluster: &Cluster, verb: Verb, folder: &Path, unit: &str, text: &str) -> TestResult {
    let path = folder.join(unit);
    std::fs::write(&path, text)?;
    cluster.fleetctl([verb.word(), "--replace", &path.display().to_string()]).await?.success()?;
    Ok(())
}

/// TestUnitSubmitReplace
#[test]
fn unit_submit_replace() -> TestResult {
    replaced_by(Verb::Submit, 9)
}

/// TestUnitLoadReplace
#[test]
fn unit_load_replace() -> TestResult {
    replaced_by(Verb::Load, 6)
}

/// TestUnitStartReplace
#[test]
fn unit_start_replace() -> TestResult {
    replaced_by(Verb::Start, 3)
}

/// TestUnitCat
#[test]
fn unit_cat() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        cluster.fleetctl(with_fixtures(&["submit"], &["hello.service"])).await?.success()?;
        cluster.wait_for_unit_files(cluster.machine(0)?, 1).await?;
        let output = cluster.fleetctl(["cat", "hello.service"]).await?.success()?;
        assert_eq!(output.stdout.trim(), fixture_text("hello.service")?.trim());
        Ok(())
    })
}

/// TestListUnitFilesOrder
#[test]
fn list_unit_files_order() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let mut wanted: Vec<_> = (1..=20).map(|number| format!("hello@{number:02}.service")).collect();
        // Not in the order of their names, so that the order is not an accident.
        for unit in wanted.iter().rev() {
            cluster.fleetctl(with_fixtures(&["submit"], &[unit])).await?.success()?;
        }
        let listed = cluster.wait_for_unit_files(cluster.machine(0)?, 20).await?;
        wanted.sort();
        assert_eq!(listed, wanted);
        Ok(())
    })
}

/// TestInstallUnit
#[test]
fn install_unit() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let units = ["hello.service", "discovery.service"];
        cluster.fleetctl(with_fixtures(&["load"], &units)).await?.success()?;
        discovery_becomes(cluster, "inactive").await?;
        cluster.fleetctl(["start", "hello.service"]).await?.success()?;
        discovery_becomes(cluster, "active").await?;
        cluster.fleetctl(["stop", "hello.service"]).await?.success()?;
        discovery_becomes(cluster, "inactive").await?;
        Ok(())
    })
}

/// Waits for what systemd on its machine says of `discovery.service`.
async fn discovery_becomes(cluster: &Cluster, wanted: &str) -> Result<(), HarnessError> {
    let ask = "systemctl show --property=ActiveState discovery.service";
    wait_for(format!("discovery.service is {wanted}"), SOON, async || {
        let args = ["--strict-host-key-checking=false", "ssh", "discovery.service", ask];
        let output = cluster.fleetctl(args).await?.success()?.stdout;
        let reached = output.trim() == format!("ActiveState={wanted}");
        if reached { Ok(()) } else { Err(NotYet::saw(output)) }
    })
    .await
}

/// Waits at most a second until `list-units` says this of the one unit; the original's unit manager had as long.
async fn one_unit_is(cluster: &Cluster, wanted: &str) -> Result<(), HarnessError> {
    let args = ["list-units", "--no-legend", "--full", "--fields", "unit,load,active,sub,hash"];
    wait_for(format!("the unit is {wanted:?}"), Duration::from_secs(1), async || {
        let output = cluster.fleetctl(args).await?.success()?.stdout;
        let words = output.split_whitespace().collect::<Vec<_>>().join(" ");
        if words == wanted { Ok(()) } else { Err(NotYet::saw(words)) }
    })
    .await
}

/// TestSystemdUnitFlow
///
/// The original drives its unit manager directly; the same states show from outside.
#[test]
fn systemd_unit_flow() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let hash = "3750b3e9f3962a56c7582929426e9abb012754cf";
        one_unit_is(cluster, "").await?;
        cluster.fleetctl(with_fixtures(&["load"], &["hello.service"])).await?.success()?;
        one_unit_is(cluster, &format!("hello.service loaded inactive dead {hash}")).await?;
        cluster.fleetctl(["start", "hello.service"]).await?.success()?;
        one_unit_is(cluster, &format!("hello.service loaded active running {hash}")).await?;
        cluster.fleetctl(["stop", "hello.service"]).await?.success()?;
        one_unit_is(cluster, &format!("hello.service loaded inactive dead {hash}")).await?;
        cluster.fleetctl(["unload", "hello.service"]).await?.success()?;
        one_unit_is(cluster, "").await?;
        let file = cluster.machine(0)?.exec(["test", "-e", "/run/fleet/units/hello.service"]).await?;
        file.failure()?;
        Ok(())
    })
}
