//! What a unit does not notice: a crash, a restart, a reload, an upgrade or a stop with
//! `stop_units_on_shutdown=false` of `fleetd`, and an etcd that is away.

use std::time::{Duration, Instant};

use fleet_tests::{
    Cluster, HarnessError, Machine, NotYet, TestResult, holds, on_cluster, request, wait_for, with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);
const UNITS: [&str; 2] = ["hello.service", "global.service"];

/// Starts a plain and a global unit on the one machine; their processes.
async fn start(cluster: &Cluster) -> Result<Vec<String>, HarnessError> {
    cluster.fleetctl(with_fixtures(&["start"], &UNITS)).await?.success()?;
    let machine = cluster.machine(0)?;
    cluster.wait_for_active(machine, UNITS.len()).await?;
    processes(machine).await
}

async fn processes(machine: &Machine) -> Result<Vec<String>, HarnessError> {
    let mut processes = Vec::new();
    for unit in UNITS {
        processes.push(machine.property(unit, "MainPID").await?);
    }
    Ok(processes)
}

/// Waits until the API answers a list, and says how long it took.
async fn api_is_back(machine: &Machine) -> Result<Duration, HarnessError> {
    let started = Instant::now();
    let url = format!("{}/fleet/v1/units", machine.endpoint());
    wait_for("the API answers", SOON, async || {
        let reply = request("GET", &url, None).await?;
        if reply.status == 200 { Ok(()) } else { Err(NotYet::saw(reply.body)) }
    })
    .await?;
    Ok(started.elapsed())
}

/// The units show as before, with the processes that they had.
async fn untouched(cluster: &Cluster, before: &[String]) -> TestResult {
    let machine = cluster.machine(0)?;
    cluster.wait_for_active(machine, UNITS.len()).await?;
    holds("the units go on", Duration::from_secs(2), async || {
        let now = processes(machine).await?;
        if now == before { Ok(()) } else { Err(NotYet::saw(format!("{before:?} became {now:?}"))) }
    })
    .await?;
    let journal = machine.exec(["journalctl", "--no-pager", "_PID=1"]).await?.success()?.stdout;
    assert!(!UNITS.iter().any(|unit| journal.contains(&format!("Stopping {unit}"))), "{journal}");
    Ok(())
}

#[test]
fn units_survive_a_crash_of_fleetd() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        machine.exec(["systemctl", "kill", "-s", "KILL", "fleet"]).await?.success()?;
        let taken = api_is_back(machine).await?;
        // One second on an idle machine; the tests share two cores.
        assert!(taken < Duration::from_secs(3), "the API was away for {taken:?}");
        untouched(cluster, &before).await
    })
}

#[test]
fn units_survive_a_restart_of_fleetd() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        for _ in 0..3 {
            machine.exec(["systemctl", "restart", "fleet"]).await?.success()?;
            let taken = api_is_back(machine).await?;
            assert!(taken < Duration::from_secs(3), "the API was away for {taken:?}");
        }
        untouched(cluster, &before).await
    })
}

#[test]
fn units_survive_an_upgrade_of_fleetd() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        let (program, new) = (cluster.programs().join("fleetd"), cluster.programs().join("fleetd.new"));
        std::fs::copy(&program, &new)?;
        std::fs::rename(&new, &program)?;
        machine.exec(["systemctl", "daemon-reload"]).await?.success()?;
        machine.exec(["systemctl", "restart", "fleet"]).await?.success()?;
        api_is_back(machine).await?;
        untouched(cluster, &before).await
    })
}

#[test]
fn units_survive_a_reload_with_another_configuration() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        let path = "/etc/fleet/fleet.conf";
        let text = machine.read_file(path).await?.replace("hostname=m1", "hostname=m1,disk=ssd");
        machine.write_file(path, &text).await?;
        machine.exec(["systemctl", "reload", "fleet"]).await?.success()?;
        wait_for("the new metadata is published", SOON, async || {
            let list = cluster.fleetctl(["list-machines", "--no-legend"]).await?.success()?.stdout;
            if list.contains("disk=ssd,hostname=m1") { Ok(()) } else { Err(NotYet::saw(list)) }
        })
        .await?;
        untouched(cluster, &before).await?;

        // A configuration with mistakes changes nothing but the journal.
        machine.write_file(path, &format!("{text}agent_ttl=30\n")).await?;
        machine.exec(["systemctl", "reload", "fleet"]).await?;
        wait_for("the mistake is named", SOON, async || {
            let journal = machine.journal("fleet.service").await?;
            if journal.contains("agent_ttl") { Ok(()) } else { Err(NotYet::saw("not named")) }
        })
        .await?;
        untouched(cluster, &before).await
    })
}

#[test]
fn units_survive_a_stop_when_told_so() -> TestResult {
    let builder = Cluster::builder().option("stop_units_on_shutdown", "false");
    on_cluster(builder, async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        machine.exec(["systemctl", "stop", "fleet"]).await?.success()?;
        assert_eq!(processes(machine).await?, before);
        machine.exec(["systemctl", "start", "fleet"]).await?.success()?;
        api_is_back(machine).await?;
        untouched(cluster, &before).await
    })
}

#[test]
fn units_survive_the_loss_of_etcd() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let before = start(cluster).await?;
        let machine = cluster.machine(0)?;
        let etcd = &cluster.etcd()[0];
        etcd.kill().await?;
        // Longer than agent_ttl, with a restart of fleetd in the middle of it.
        holds("the units go on", Duration::from_secs(4), async || {
            let now = processes(machine).await?;
            if now == before { Ok(()) } else { Err(NotYet::saw(format!("{now:?}"))) }
        })
        .await?;
        machine.exec(["systemctl", "restart", "--no-block", "fleet"]).await?.success()?;
        holds("the units go on", Duration::from_secs(4), async || {
            let now = processes(machine).await?;
            if now == before { Ok(()) } else { Err(NotYet::saw(format!("{now:?}"))) }
        })
        .await?;
        let reply = request("GET", &format!("{}/fleet/v1/units", machine.endpoint()), None).await?;
        assert_eq!(reply.status, 503, "{}", reply.body);
        etcd.start().await?;
        api_is_back(machine).await?;
        untouched(cluster, &before).await
    })
}

/// The old copy has ended wholly, `ExecStopPost` and all, before the new one begins.
#[test]
fn a_replacement_waits_for_the_end_of_the_old_unit() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("serial.service");
        let text = |version: u8| {
            format!(
                "[Service]\nExecStartPre=/bin/sh -c \"echo begin {version} >>/run/order\"\n\
                 ExecStart=/bin/sleep 1000\n\
                 ExecStopPost=/bin/sh -c \"sleep 1; echo end {version} >>/run/order\"\n"
            )
        };
        for version in [1, 2] {
            std::fs::write(&path, text(version))?;
            let args = ["start", "--replace", &path.display().to_string()];
            cluster.fleetctl(args).await?.success()?;
        }
        wait_for("the new one runs", SOON, async || {
            let order = machine.read_file("/run/order").await?;
            if order.contains("begin 2") { Ok(()) } else { Err(NotYet::saw(order)) }
        })
        .await?;
        assert_eq!(machine.read_file("/run/order").await?, "begin 1\nend 1\nbegin 2\n");
        Ok(())
    })
}

/// After everything is destroyed nothing of it is left: not in etcd, not on the machine.
#[test]
fn destroying_everything_leaves_nothing() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let etcd = &cluster.etcd()[0];
        let keys = async || -> Result<Vec<String>, HarnessError> {
            let output = etcd.etcdctl(["get", "--prefix", "--keys-only", "/"]).await?.success()?.stdout;
            Ok(output.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
        };
        // One unit of each kind first, so that documents which stay once they are made are there before.
        let units = ["hello.service", "global.service"];
        cluster.fleetctl(with_fixtures(&["start"], &units)).await?.success()?;
        cluster.fleetctl(["destroy", units[0], units[1]]).await?.success()?;
        cluster.wait_for_units(cluster.machine(0)?, 0).await?;
        let before = keys().await?;
        let names: Vec<_> = (1..=20).map(|number| format!("hello@{number}.service")).collect();
        let mut names: Vec<_> = names.iter().map(String::as_str).collect();
        names.extend(units);
        cluster.fleetctl(with_fixtures(&["start"], &names)).await?.success()?;
        cluster.wait_for_active(cluster.machine(0)?, 23).await?;
        let destroy: Vec<_> = ["destroy"].into_iter().chain(names.iter().copied()).collect();
        cluster.fleetctl(destroy).await?.success()?;
        wait_for("the store is as before", SOON, async || {
            let now = keys().await?;
            if now == before { Ok(()) } else { Err(NotYet::saw(now.join(" "))) }
        })
        .await?;
        for machine in cluster.machines() {
            let left =
                machine.shell("ls /run/fleet/units; systemctl list-units --all 'hello*' --no-legend").await?;
            assert_eq!(left.stdout, "", "{}", machine.name());
        }
        Ok(())
    })
}

/// `fleetd` killed while it does each kind of work: what was asked for comes about all the same.
#[test]
fn work_is_finished_after_a_crash() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let names: Vec<_> = (1..=30).map(|number| format!("hello@{number}.service")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for (words, active) in [
            (&["start", "--no-block"] as &[&str], 30),
            (&["stop", "--no-block"], 0),
            (&["start", "--no-block"], 30),
            (&["destroy", "--no-block"], 0),
        ] {
            let args: Vec<_> = match words[0] {
                "start" => with_fixtures(words, &names),
                _ => words.iter().chain(&names).map(|word| (*word).to_owned()).collect(),
            };
            cluster.fleetctl(args).await?.success()?;
            machine.exec(["systemctl", "kill", "-s", "KILL", "fleet"]).await?.success()?;
            cluster.wait_for_active(machine, active).await?;
        }
        cluster.wait_for_unit_files(machine, 0).await?;
        Ok(())
    })
}
