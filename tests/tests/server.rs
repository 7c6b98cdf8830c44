//! `fleetd` as a service: reload, stop, loss of its store, a machine id that is not its own.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_tests::{
    Cluster, Fate, HarnessError, Machine, NotYet, TestResult, holds, on_cluster, wait_for, with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);
/// The port of etcd.
const ETCD: u16 = 2379;

/// Demands what systemd says of `fleet.service`.
async fn service_is(machine: &Machine, active: &str) -> TestResult {
    assert_eq!(machine.property("fleet.service", "ActiveState").await?, active);
    assert_eq!(machine.property("fleet.service", "Result").await?, "success");
    Ok(())
}

async fn journal_says(machine: &Machine, text: &str) -> Result<(), HarnessError> {
    wait_for(format!("the journal says {text:?}"), Duration::from_secs(30), async || {
        let journal = machine.journal("fleet.service").await?;
        let last = journal.lines().last().unwrap_or("nothing").to_owned();
        if journal.contains(text) { Ok(()) } else { Err(NotYet::saw(last)) }
    })
    .await
}

/// Words of each line, the first one as the key.
fn table(text: &str) -> BTreeMap<String, String> {
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.collect::<Vec<_>>().join(" ")))
    });
    rows.collect()
}

fn expected(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(unit, state)| ((*unit).to_owned(), (*state).to_owned())).collect()
}

/// What `fleetctl` says of the six units of the connectivity test, in case it is not what it should be.
async fn listed_wrongly(cluster: &Cluster) -> Result<Option<String>, HarnessError> {
    let files = ["list-unit-files", "--no-legend", "--full", "--fields", "unit,dstate"];
    let files = table(&cluster.fleetctl(files).await?.success()?.stdout);
    let units = ["list-units", "--no-legend", "--full", "--fields", "unit,active"];
    let units = table(&cluster.fleetctl(units).await?.success()?.stdout);
    let right_files = expected(&[
        ("global@inactive.service", "inactive"),
        ("global@launched.service", "launched"),
        ("global@loaded.service", "loaded"),
        ("single@inactive.service", "inactive"),
        ("single@launched.service", "launched"),
        ("single@loaded.service", "loaded"),
    ]);
    let right_units = expected(&[
        ("global@launched.service", "active"),
        ("global@loaded.service", "inactive"),
        ("single@launched.service", "active"),
        ("single@loaded.service", "inactive"),
    ]);
    let right = files == right_files && units == right_units;
    Ok((!right).then(|| format!("files {files:?}, units {units:?}")))
}

/// What systemd says of them, in case it is not what it should be.
async fn running_wrongly(machine: &Machine) -> Result<Option<String>, HarnessError> {
    let mut files = BTreeMap::new();
    for unit in ["single@loaded", "single@launched", "global@loaded", "global@launched"] {
        let unit = format!("{unit}.service");
        files.insert(unit.clone(), machine.property(&unit, "UnitFileState").await?);
    }
    let linked = files.values().all(|state| state == "linked-runtime");
    let line = "systemctl list-units -t service --plain --no-legend 'single@*.service' 'global@*.service'";
    let states = table(&machine.shell(line).await?.success()?.stdout);
    let running = ["single@launched.service", "global@launched.service"];
    let right = states.len() == 2
        && running
            .iter()
            .all(|unit| states.get(*unit).is_some_and(|row| row.starts_with("loaded active running")));
    Ok((!linked || !right).then(|| format!("files {files:?}, units {states:?}")))
}

fn none(wrong: Option<String>) -> Result<(), NotYet> {
    wrong.map_or(Ok(()), |state| Err(NotYet::saw(state)))
}

/// TestSingleNodeConnectivityLoss
#[test]
fn single_node_connectivity_loss() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        for kind in ["single", "global"] {
            let unit = |state: &str| format!("{kind}@{state}.service");
            for (words, state) in [
                (&["submit"] as &[&str], "inactive"),
                (&["load", "--no-block"], "loaded"),
                (&["start", "--no-block"], "launched"),
            ] {
                cluster.fleetctl(with_fixtures(words, &[&unit(state)])).await?.success()?;
            }
        }
        wait_for("all six are as asked for", SOON, async || none(listed_wrongly(cluster).await?)).await?;

        machine.block(ETCD, Fate::Reject).await?;
        // Longer than it takes until the machine is taken for lost.
        let period = Duration::from_secs(3 + 7);
        holds("nothing stops while etcd is out of reach", period, async || {
            none(running_wrongly(machine).await?)
        })
        .await?;
        machine.unblock().await?;
        wait_for("all six are as before", SOON, async || none(listed_wrongly(cluster).await?)).await?;
        let period = Duration::from_secs(3);
        holds("and stay so", period, async || none(listed_wrongly(cluster).await?)).await?;

        let journal = machine.exec(["journalctl", "--no-pager", "_PID=1"]).await?.success()?.stdout;
        assert!(!journal.contains("Stopping single@"), "{journal}");
        assert!(!journal.contains("Stopping global@"), "{journal}");
        Ok(())
    })
}

/// TestNodeShutdown
#[test]
fn node_shutdown() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let unit = format!("pin@{}.service", cluster.machine(0)?.id());
        cluster.fleetctl(with_fixtures(&["start"], &[&unit])).await?.success()?;
        cluster.wait_for_active(cluster.machine(0)?, 1).await?;
        cluster.add_machine().await?;
        let [m1, m2] = cluster.machines() else { unreachable!("one was added to one") };
        cluster.wait_for_machines(m1, 2).await?;

        m1.exec(["systemctl", "stop", "fleet"]).await?.success()?;
        assert_eq!(cluster.wait_for_machines(m2, 1).await?, [m2.id()]);
        cluster.wait_for_active(m2, 0).await?;
        assert_eq!(m1.property(&unit, "ActiveState").await?, "inactive");
        Ok(())
    })
}

/// Restarts the service and demands that systemd is content with it.
async fn restart(machine: &Machine) -> TestResult {
    machine.exec(["systemctl", "restart", "fleet.service"]).await?.success()?;
    service_is(machine, "active").await
}

/// TestDetectMachineId
#[test]
fn detect_machine_id() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        m2.write_file("/etc/machine-id", &format!("{}\n", m1.id())).await?;
        restart(m2).await?;
        let refused = "fleet server unable to communicate with etcd";
        // From the restart on for longer than it takes to be taken for lost: the id is in use all the time.
        holds("the second machine of that id is refused", Duration::from_secs(5), async || {
            let output = cluster.fleetctl_at(m2).run(["list-machines", "--no-legend"]).await?;
            let right = output.code() == Some(1) && output.stderr.contains(refused);
            if right { Ok(()) } else { Err(NotYet::saw(format!("{output:?}"))) }
        })
        .await?;
        service_is(m2, "active").await?;
        // The first one does not suffer.
        cluster.fleetctl_at(m1).run(["list-machines", "--no-legend"]).await?.success()?;

        let fresh = uuid::Uuid::new_v4().simple().to_string();
        m1.write_file("/etc/machine-id", &format!("{fresh}\n")).await?;
        restart(m1).await?;
        let both = cluster.wait_for_machines(m1, 2).await?;
        assert!(both.contains(&fresh), "{both:?}");
        cluster.wait_for_machines(m2, 2).await?;
        Ok(())
    })
}

/// TestReconfigureServer
#[test]
fn reconfigure_server() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.exec(["test", "-S", "/var/run/fleet.sock"]).await?.success()?;
        let units = ["hello.service", "goodbye.service"];
        cluster.fleetctl(with_fixtures(&["start"], &units)).await?.success()?;
        cluster.wait_for_active(machine, 2).await?;
        cluster.fleetctl(["unload", "goodbye.service"]).await?.success()?;
        let process = machine.property("hello.service", "MainPID").await?;

        machine.exec(["systemctl", "kill", "-s", "SIGHUP", "fleet"]).await?.success()?;
        journal_says(machine, "Reloading configuration").await?;
        cluster.fleetctl(["list-units"]).await?.success()?;
        let journal = machine.journal("fleet.service").await?;
        assert!(!journal.contains("Failed serving HTTP on listener:"), "{journal}");
        service_is(machine, "active").await?;
        assert_eq!(machine.property("hello.service", "MainPID").await?, process);
        Ok(())
    })
}

/// TestShutdown
#[test]
fn shutdown() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.exec(["systemctl", "stop", "fleet"]).await?.success()?;
        service_is(machine, "inactive").await
    })
}

/// TestShutdownVsMonitor
#[test]
fn shutdown_vs_monitor() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.block(ETCD, Fate::Drop).await?;
        let text = "Server monitor triggered: Monitor timed out before successful heartbeat";
        journal_says(machine, text).await?;
        machine.exec(["systemctl", "stop", "fleet"]).await?.success()?;
        service_is(machine, "inactive").await
    })
}
