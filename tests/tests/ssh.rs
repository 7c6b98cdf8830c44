//! What `fleetctl` does over SSH: `ssh`, `status`, `journal`, host keys, tunnels.

use fleet_tests::{Cluster, TestResult, on_cluster, with_fixtures};

/// TestKnownHostsVerification
#[test]
fn known_hosts_verification() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        let known = cluster.folder().join("known-hosts");
        std::fs::write(&known, "")?;
        let file = format!("--known-hosts-file={}", known.display());
        let flags = ["--strict-host-key-checking=true", &file, "ssh"];
        let uptime =
            |id: String| flags.iter().map(|word| (*word).to_owned()).chain([id, "uptime".to_owned()]);

        cluster.fleetctl_at(m1).input("yes\n").run(uptime(m2.id())).await?.success()?;
        // Known now: nobody is asked again.
        cluster.fleetctl_at(m1).run(uptime(m2.id())).await?.success()?;

        m2.power_off().await?;
        cluster.wait_for_machines(m1, 1).await?;
        m2.replace().await?;
        cluster.wait_for_machines(m1, 2).await?;
        cluster.fleetctl_at(m1).input("yes\n").run(uptime(m2.id())).await?.failure()?;

        std::fs::write(&known, "")?;
        cluster.fleetctl_at(m1).input("yes\n").run(uptime(m2.id())).await?.success()?;
        Ok(())
    })
}

/// TestTunnelScheduleBatchUnits
#[test]
fn tunnel_schedule_batch_units() -> TestResult {
    on_cluster(Cluster::builder().machines(3), async |cluster| {
        let m1 = cluster.machine(0)?;
        let tunnel = format!("--tunnel={}", m1.address());
        let file = format!("--known-hosts-file={}", cluster.folder().join("known-hosts").display());
        let flags = [&tunnel, "--strict-host-key-checking=true", &file, "start"];
        let tunnelled = || cluster.fleetctl_at(m1).without_endpoint();

        let one = with_fixtures(&flags, &["hello.service"]);
        let output = tunnelled().input("yes\n").run(one).await?.success()?;
        assert!(!output.stderr.contains("Error"), "{}", output.stderr);

        let names: Vec<_> = (1..=10).map(|number| format!("hello@{number}.service")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let output = tunnelled().run(with_fixtures(&flags, &names)).await?.success()?;
        assert!(!output.stderr.contains("Error"), "{}", output.stderr);
        cluster.wait_for_active(m1, 11).await?;
        Ok(())
    })
}

/// TestUnitSSHActions
#[test]
fn unit_ssh_actions() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        cluster.fleetctl(with_fixtures(&["start", "--no-block"], &["hello.service"])).await?.success()?;
        let active = cluster.wait_for_active(cluster.machine(0)?, 1).await?;
        assert_eq!(active[0].unit, "hello.service");
        let open = "--strict-host-key-checking=false";
        let output = cluster.fleetctl([open, "ssh", "hello.service", "echo", "foo"]).await?.success()?;
        assert!(output.stdout.contains("foo"), "{}", output.stdout);
        let output = cluster.fleetctl([open, "status", "hello.service"]).await?.success()?;
        assert!(output.stdout.contains("Active: active"), "{}", output.stdout);
        let output = cluster.fleetctl([open, "journal", "--sudo", "hello.service"]).await?.success()?;
        assert!(output.stdout.contains("Hello, World!"), "{}", output.stdout);
        Ok(())
    })
}

/// TestUnitStatus
#[test]
fn unit_status() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        cluster.fleetctl(with_fixtures(&["load"], &["hello.service"])).await?.success()?;
        cluster.wait_for_units(cluster.machine(0)?, 1).await?;
        // systemctl's own exit status for a unit that is not running is 3; it is passed on.
        let output =
            cluster.fleetctl(["--strict-host-key-checking=false", "status", "hello.service"]).await?;
        assert!(output.stdout.contains("Loaded: loaded"), "{output:?}");
        assert_eq!(output.code(), Some(3), "{output:?}");
        Ok(())
    })
}
