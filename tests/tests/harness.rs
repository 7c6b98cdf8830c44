//! The harness itself: machines boot, can be reached, and can be broken in every way that the tests need.

use std::time::{Duration, Instant};

use fleet_tests::{Cluster, Fate, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// Whether one machine reaches another's sshd.
async fn reaches(from: &Machine, to: &Machine) -> Result<bool, HarnessError> {
    let line = format!("timeout 1 bash -c '</dev/tcp/{}/22'", to.address());
    Ok(from.shell(&line).await?.status.success())
}

async fn wait_until_reached(from: &Machine, to: &Machine, wanted: bool) -> Result<(), HarnessError> {
    let what = format!("{} reaches {}: {wanted}", from.name(), to.name());
    wait_for(what, SOON, async || {
        let reached = reaches(from, to).await?;
        if reached == wanted { Ok(()) } else { Err(NotYet::saw(reached.to_string())) }
    })
    .await
}

#[test]
fn machines_boot_with_an_identity_and_systemd_of_their_own() -> TestResult {
    on_cluster(Cluster::builder().machines(3).without_fleet(), async |cluster| {
        let [m1, m2, m3] = cluster.machines() else { unreachable!("three were asked for") };
        for machine in [m1, m2, m3] {
            let id = machine.read_file("/etc/machine-id").await?;
            assert_eq!(id.trim(), machine.id());
            assert_eq!(machine.exec(["hostname"]).await?.stdout.trim(), machine.name());
            let state = machine.exec(["systemctl", "is-system-running"]).await?;
            assert_eq!(state.stdout.trim(), "running");
            machine.exec(["busctl", "status"]).await?.success()?;
        }
        assert_ne!(m1.id(), m2.id());
        let one = m1.exec(["false"]).await?;
        assert_eq!(one.code(), Some(1));
        m1.write_file("/run/a folder/note", "kept\n").await?;
        assert_eq!(m1.read_file("/run/a folder/note").await?, "kept\n");
        m2.read_file("/run/a folder/note").await.unwrap_err();
        Ok(())
    })
}

#[test]
fn the_network_can_be_cut_and_filtered() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        wait_until_reached(m1, m2, true).await?;
        m2.cut().await?;
        wait_until_reached(m1, m2, false).await?;
        m2.join().await?;
        wait_until_reached(m1, m2, true).await?;
        for fate in [Fate::Reject, Fate::Drop] {
            m1.block(22, fate).await?;
            assert!(!reaches(m1, m2).await?, "{fate:?}");
            assert!(reaches(m2, m1).await?, "{fate:?}");
            m1.unblock().await?;
            wait_until_reached(m1, m2, true).await?;
        }
        Ok(())
    })
}

#[test]
fn machines_die_freeze_and_come_back() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        m1.write_file("/var/lib/kept", "1").await?;
        let boot = m1.read_file("/proc/sys/kernel/random/boot_id").await?;
        m1.kill().await?;
        assert!(!m1.is_up());
        m1.exec(["true"]).await.unwrap_err();
        wait_until_reached(m2, m1, false).await?;
        m1.boot().await?;
        assert_eq!(m1.read_file("/var/lib/kept").await?, "1");
        wait_until_reached(m2, m1, true).await?;

        m1.pause().await?;
        // The kernel still accepts the connection; nobody answers on it.
        let line = format!("exec 3<>/dev/tcp/{}/22; timeout 1 head -c 3 <&3", m1.address());
        assert_eq!(m2.shell(&line).await?.stdout, "");
        m1.resume().await?;
        assert_eq!(m2.shell(&line).await?.stdout, "SSH");

        m1.reboot().await?;
        assert_eq!(m1.read_file("/var/lib/kept").await?, "1");
        let boots = m1.exec(["journalctl", "--list-boots", "--quiet", "--no-pager"]).await?.success()?;
        assert_eq!(boots.stdout.matches(" UTC\n").count(), 3, "{}", boots.stdout);
        assert_ne!(m1.read_file("/proc/sys/kernel/random/boot_id").await?, boot);
        Ok(())
    })
}

#[test]
fn a_replaced_machine_is_another_one_at_the_same_address() -> TestResult {
    on_cluster(Cluster::builder().machines(1).without_fleet(), async |cluster| {
        let machine = cluster.machine(0)?;
        let (id, address) = (machine.id(), machine.address());
        let key = machine.read_file("/etc/ssh/ssh_host_ed25519_key").await?;
        machine.replace().await?;
        assert_ne!(machine.id(), id);
        assert_eq!(machine.address(), address);
        assert_ne!(machine.read_file("/etc/ssh/ssh_host_ed25519_key").await?, key);
        Ok(())
    })
}

#[test]
fn ssh_lets_the_cluster_s_key_in() -> TestResult {
    on_cluster(Cluster::builder().machines(1).without_fleet(), async |cluster| {
        let key = cluster.ssh_identity().path().display().to_string();
        for user in ["core", "root"] {
            let target = format!("{user}@{}", cluster.machine(0)?.address());
            let output = tokio::process::Command::new("ssh")
                .args(["-F", "none", "-i", &key, "-o", "BatchMode=yes"])
                .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"])
                .args([&target, "sudo id -un; exit 7"])
                .output()
                .await?;
            assert_eq!(String::from_utf8_lossy(&output.stdout), "root\n", "{output:?}");
            assert_eq!(output.status.code(), Some(7));
        }
        Ok(())
    })
}

#[test]
fn etcd_members_elect_another_leader() -> TestResult {
    on_cluster(Cluster::builder().machines(0).without_fleet().etcd_members(3), async |cluster| {
        let mut leader = None;
        for member in cluster.etcd() {
            if member.is_leader().await? {
                leader = Some(member);
            }
        }
        let leader = leader.ok_or_else(|| HarnessError::Unexpected("no leader".to_owned()))?;
        leader.etcdctl(["put", "key", "value"]).await?.success()?;
        leader.kill().await?;
        let others: Vec<_> = cluster.etcd().iter().filter(|member| member.name() != leader.name()).collect();
        wait_for("another leader", SOON, async || {
            for member in &others {
                if member.is_leader().await? {
                    return Ok(());
                }
            }
            Err(NotYet::saw("none"))
        })
        .await?;
        assert_eq!(others[0].etcdctl(["get", "--print-value-only", "key"]).await?.stdout, "value\n");
        leader.start().await?;
        Ok(())
    })
}

#[test]
fn etcd_asks_for_certificate_and_password() -> TestResult {
    let builder = Cluster::builder().machines(0).without_fleet().etcd_tls().etcd_password("secret");
    on_cluster(builder, async |cluster| {
        let etcd = &cluster.etcd()[0];
        assert!(etcd.endpoint().starts_with("https://"));
        etcd.etcdctl(["put", "key", "value", "--user", "root:wrong"]).await?.failure()?;
        etcd.etcdctl(["put", "key", "value", "--user", "root:secret"]).await?.success()?;
        Ok(())
    })
}

/// The figure in the crate's documentation, with room for a busy host.
#[test]
fn a_cluster_boots_in_seconds() -> TestResult {
    let started = Instant::now();
    on_cluster(Cluster::builder().machines(3).without_fleet(), async |_| {
        let taken = started.elapsed();
        assert!(taken < Duration::from_secs(60), "three machines and an etcd took {taken:?}");
        eprintln!("three machines and an etcd took {taken:?}");
        Ok(())
    })
}
