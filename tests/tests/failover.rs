//! Machines, leaders and etcd members that are lost, and come back.

use std::time::{Duration, Instant};

use fleet_tests::{
    Cluster, HarnessError, Machine, NotYet, Placement, TestResult, holds, on_cluster, request, wait_for,
    with_fixtures,
};

const SOON: Duration = Duration::from_secs(15);

/// The unit runs in this machine, as its systemd has it.
async fn runs_in(machine: &Machine, unit: &str) -> Result<bool, HarnessError> {
    Ok(machine.property(unit, "ActiveState").await? == "active")
}

/// The machine whose engine leads.
async fn leader(cluster: &Cluster) -> Result<&Machine, HarnessError> {
    let index = wait_for("an engine leads", SOON, async || {
        for (index, machine) in cluster.machines().iter().enumerate().filter(|(_, machine)| machine.is_up()) {
            let reply = request("GET", &format!("{}/metrics", machine.endpoint()), None).await?;
            let started =
                reply.body.lines().find_map(|line| line.strip_prefix("fleet_engine_leader_start_time "));
            if started.is_some_and(|time| time != "0") {
                return Ok(index);
            }
        }
        Err(NotYet::saw("none"))
    })
    .await?;
    cluster.machine(index)
}

/// Starts `hello.service`; where it runs.
async fn start_hello(cluster: &Cluster) -> Result<&Machine, HarnessError> {
    cluster.fleetctl(with_fixtures(&["start"], &["hello.service"])).await?.success()?;
    let active = cluster.wait_for_active(cluster.machine(0)?, 1).await?;
    cluster.machine_with_id(&active[0].machine)
}

/// Waits until `hello.service` is active on another machine than this one.
async fn moved_off(cluster: &Cluster, lost: &Machine) -> Result<Placement, HarnessError> {
    let old = lost.id();
    let elsewhere = |placement: &Placement| placement.get("hello.service").is_some_and(|id| *id != old);
    cluster.wait_for_placement(cluster.another(lost)?, "the unit runs elsewhere", elsewhere).await
}

#[test]
fn the_units_of_a_lost_machine_move() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let lost = start_hello(cluster).await?;
        let started = Instant::now();
        lost.kill().await?;
        let placement = moved_off(cluster, lost).await?;
        // agent_ttl is 3 s; one more on an idle machine, and some for two busy cores.
        let taken = started.elapsed();
        assert!(taken < Duration::from_secs(8), "the move took {taken:?}");
        cluster.wait_for_machines(cluster.another(lost)?, 2).await?;

        // It comes back empty, and nothing moves back.
        lost.boot().await?;
        cluster.wait_for_machines(cluster.another(lost)?, 3).await?;
        holds("the unit stays", Duration::from_secs(3), async || {
            let states = cluster.unit_states(lost).await?;
            let stays = states.len() == 1 && states[0].machine == placement["hello.service"];
            if stays { Ok(()) } else { Err(NotYet::saw(format!("{states:?}"))) }
        })
        .await?;
        assert!(!runs_in(lost, "hello.service").await?);
        Ok(())
    })
}

/// A machine that was away, cut off or frozen, gives up what was moved meanwhile.
async fn comes_back_without_its_unit(cluster: &Cluster, lost: &Machine) -> TestResult {
    wait_for("the old copy has ended", SOON, async || {
        if runs_in(lost, "hello.service").await? { Err(NotYet::saw("it runs")) } else { Ok(()) }
    })
    .await?;
    cluster.wait_for_machines(lost, 3).await?;
    let active = cluster.wait_for_active(lost, 1).await?;
    assert_ne!(active[0].machine, lost.id());
    Ok(())
}

#[test]
fn a_machine_that_was_cut_off_gives_up_what_has_moved() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let lost = start_hello(cluster).await?;
        lost.cut().await?;
        moved_off(cluster, lost).await?;
        assert!(runs_in(lost, "hello.service").await?, "a machine that is cut off goes on");
        lost.join().await?;
        comes_back_without_its_unit(cluster, lost).await
    })
}

#[test]
fn a_machine_that_stood_still_gives_up_what_has_moved() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let lost = start_hello(cluster).await?;
        lost.pause().await?;
        moved_off(cluster, lost).await?;
        lost.resume().await?;
        comes_back_without_its_unit(cluster, lost).await
    })
}

#[test]
fn a_cut_shorter_than_the_ttl_moves_nothing() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let machine = start_hello(cluster).await?;
        let process = machine.property("hello.service", "MainPID").await?;
        machine.cut().await?;
        holds("the machine is still listed", Duration::from_millis(500), async || {
            let machines = cluster.listed_machines(cluster.another(machine)?).await?;
            if machines.len() == 3 { Ok(()) } else { Err(NotYet::saw(machines.join(" "))) }
        })
        .await?;
        machine.join().await?;
        holds("nothing moves", Duration::from_secs(6), async || {
            let states = cluster.unit_states(cluster.another(machine)?).await?;
            let stays = states.len() == 1 && states[0].machine == machine.id();
            if stays { Ok(()) } else { Err(NotYet::saw(format!("{states:?}"))) }
        })
        .await?;
        assert_eq!(machine.property("hello.service", "MainPID").await?, process);
        Ok(())
    })
}

#[test]
fn a_machine_that_reboots_runs_its_units_again() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = start_hello(cluster).await?;
        for power_cut in [false, true] {
            if power_cut {
                machine.kill().await?;
                machine.boot().await?;
            } else {
                machine.reboot().await?;
            }
            wait_for("the unit runs again", SOON, async || {
                if runs_in(machine, "hello.service").await? { Ok(()) } else { Err(NotYet::saw("not active")) }
            })
            .await?;
            cluster.wait_for_active(machine, 1).await?;
        }
        Ok(())
    })
}

#[test]
fn another_engine_leads_when_the_leader_dies() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        cluster.fleetctl(with_fixtures(&["submit"], &["hello.service"])).await?.success()?;
        let dead = leader(cluster).await?;
        let other = cluster.another(dead)?;
        dead.exec(["systemctl", "kill", "-s", "KILL", "fleet"]).await?.success()?;
        // It must not come back and lead again.
        dead.kill().await?;
        let started = Instant::now();
        let load = with_fixtures(&["load"], &["hello.service"]);
        cluster.fleetctl_at(other).run(load).await?.success()?;
        let taken = started.elapsed();
        // Three seconds on an idle machine.
        assert!(taken < Duration::from_secs(6), "the first placement of the new leader took {taken:?}");
        Ok(())
    })
}

#[test]
fn no_unit_notices_that_etcd_elects_another_leader() -> TestResult {
    on_cluster(Cluster::builder().machines(3).etcd_members(3), async |cluster| {
        let machine = start_hello(cluster).await?;
        let process = machine.property("hello.service", "MainPID").await?;
        for _ in 0..2 {
            let mut leading = None;
            for member in cluster.etcd() {
                if member.is_leader().await? {
                    leading = Some(member);
                }
            }
            let dead = leading.ok_or_else(|| HarnessError::Unexpected("etcd has no leader".to_owned()))?;
            dead.kill().await?;
            wait_for("a unit can be started", SOON, async || {
                let start = with_fixtures(&["start", "--no-block"], &["goodbye.service"]);
                cluster.fleetctl(start).await?.success()?;
                let states = cluster.unit_states(cluster.machine(0)?).await?;
                let goodbye = states.iter().find(|state| state.unit == "goodbye.service");
                let active = goodbye.is_some_and(|state| state.active == "active");
                if active { Ok(()) } else { Err(NotYet::saw(format!("{states:?}"))) }
            })
            .await?;
            // A machine whose heart went on asking the dead member may still be without its lease, and says so:
            // three seconds of agent_ttl are no more than etcd takes for one election.
            wait_for("the unit can be destroyed", SOON, async || {
                cluster.fleetctl(["destroy", "goodbye.service"]).await?.success()?;
                Ok(())
            })
            .await?;
            dead.start().await?;
            // The next loss begins when this one is over for everybody: two in a row are longer than any lease.
            for machine in cluster.machines() {
                cluster.wait_for_machines(machine, 3).await?;
            }
        }
        assert_eq!(cluster.wait_for_machines(machine, 3).await?.len(), 3);
        assert_eq!(machine.property("hello.service", "MainPID").await?, process);
        Ok(())
    })
}

#[test]
fn a_pending_unit_says_why() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        cluster
            .fleetctl(with_fixtures(&["start", "--no-block"], &["metadata@nowhere.service"]))
            .await?
            .success()?;
        wait_for("explain names the reason", SOON, async || {
            let output = cluster.fleetctl(["explain", "metadata@nowhere.service"]).await?.success()?.stdout;
            if output.contains("metadata") { Ok(()) } else { Err(NotYet::saw(output)) }
        })
        .await?;
        Ok(())
    })
}
