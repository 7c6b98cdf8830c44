//! What `crates/systemd` promises, on a real systemd: the system's and a user's.

use fleet_tests::{Cluster, Output, TestResult, example, on_cluster};

/// Puts the program with the cases where the machines see it.
async fn bring_cases(cluster: &Cluster) -> TestResult {
    let program = example("fleet-systemd", "drive").await?;
    std::fs::copy(program, cluster.programs().join("drive"))?;
    Ok(())
}

/// The program has said `ok` for each case that it has.
fn all_ok(output: Output) -> TestResult {
    let output = output.success()?;
    let passed = output.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed > 0 && passed == output.stdout.lines().count(), "{}", output.stdout);
    Ok(())
}

#[test]
fn the_manager_keeps_its_promises_on_a_real_systemd() -> TestResult {
    on_cluster(Cluster::builder().without_fleet(), async |cluster| {
        bring_cases(cluster).await?;
        all_ok(cluster.machine(0)?.exec(["/opt/fleet/drive", "cases"]).await?)
    })
}

#[test]
fn the_manager_keeps_its_promises_on_a_user_s_systemd() -> TestResult {
    on_cluster(Cluster::builder().without_fleet(), async |cluster| {
        bring_cases(cluster).await?;
        all_ok(cluster.machine(0)?.exec_as_core(["/opt/fleet/drive", "--user", "cases"]).await?)
    })
}
