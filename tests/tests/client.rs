//! `fleetctl` by itself, and how it is told where the API is.

use fleet_tests::{Cluster, Failure, TestResult, fleetctl_alone, on_cluster};

/// The version of every program of this workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn run(test: impl Future<Output = TestResult>) -> TestResult {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

/// TestClientVersionFlag
#[test]
fn client_version_flag() -> TestResult {
    run(async {
        let output = fleetctl_alone(["version"]).await?.success()?;
        assert_eq!(output.stdout.trim(), format!("fleetctl version {VERSION}"));
        Ok(())
    })
}

/// TestClientVersionHelpOutput
#[test]
fn client_version_help_output() -> TestResult {
    run(async {
        let output = fleetctl_alone(["help"]).await?.success()?;
        assert!(output.stdout.contains(VERSION), "{}", output.stdout);
        Ok(())
    })
}

/// TestClientHelpFlag
#[test]
fn client_help_flag() -> TestResult {
    run(async {
        for args in [&["--help"] as &[&str], &["-h"], &["help"], &[]] {
            let output = fleetctl_alone(args).await?.success()?;
            assert!(!output.stdout.trim().is_empty(), "{args:?}");
        }
        Ok(())
    })
}

/// TestFleetctlWithEnv
#[test]
fn fleetctl_with_env() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let command = cluster.fleetctl_at(machine).endpoint_by_environment();
        let output = command.run(["list-machines", "--full", "--no-legend"]).await?.success()?;
        assert!(output.stdout.contains(&machine.id()), "{}", output.stdout);
        // Without either, the socket of this host would be asked, which is not the machine's.
        let lost = cluster.fleetctl_at(machine).without_endpoint();
        let output = lost.run(["--endpoint=unix:///nonexistent/fleet.sock", "list-machines"]).await?;
        output.failure().map(drop).map_err(Failure::from)
    })
}
