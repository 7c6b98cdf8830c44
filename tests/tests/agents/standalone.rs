//! Agents without a fleet, several on one machine.

use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};

use crate::office::{SOON, install};

const POLICY: &str = "outputs:
  default: {type: file, path: /var/tmp, filename: out}
inputs:
- id: load
  type: system/metrics
  streams: [{id: load, metricsets: [load], period: 500ms, data_stream: {dataset: system.load}}]
";

#[test]
fn an_agent_does_what_its_file_says_and_another_one_lies_beside_it() -> TestResult {
    on_cluster(Cluster::builder().machines(1).without_fleet(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.write_file("/etc/fleet-agent-dev/fleet-agent.yml", POLICY).await?;
        let said = install(machine, &["--namespace", "dev"]).await?;
        assert!(said.contains("belongs to no fleet"), "{said}");
        awaited(machine, "fleet-agent-dev status", "Standalone").await?;
        awaited(machine, "cat /var/tmp/out*", "system.load").await?;

        // The other one has no file, and is not enrolled. Each command means its own agent.
        let said = install(machine, &[]).await?;
        assert!(said.contains("not enrolled yet"), "{said}");
        awaited(machine, "fleet-agent status || true", "not enrolled").await?;
        awaited(machine, "fleet-agent-dev status", "Standalone").await?;
        let nowhere = machine.exec(["fleet-agent", "uninstall", "--path.home", "/no/where"]).await?;
        assert!(nowhere.success().is_err_and(|error| error.to_string().contains("installed in /no/where")));
        machine.exec(["fleet-agent", "uninstall", "--force"]).await?.success()?;
        awaited(machine, "fleet-agent-dev status", "Standalone").await?;

        // A new version is installed over it: it keeps its file, and goes on.
        install(machine, &["--namespace", "dev", "--force"]).await?;
        awaited(machine, "fleet-agent-dev status", "Standalone").await?;
        let home = "/opt/Fleet/Agent-dev";
        let removed =
            machine.exec(["/opt/fleet/fleet-agent", "uninstall", "-f", "--path.home", home]).await?;
        assert!(removed.success()?.stdout.contains(home));
        let left = machine
            .shell("ls -d /opt/Fleet/* /var/lib/fleet-agent* /etc/fleet-agent* 2>/dev/null; true")
            .await?;
        assert_eq!(left.success()?.stdout, "");

        // Where systemd has not started the machine, nothing is begun.
        let removed = machine.exec(["/opt/fleet/fleet-agent", "uninstall", "-f"]).await?.success()?;
        assert!(removed.stdout.contains("There was no agent"), "{}", removed.stdout);
        assert!(!removed.stdout.contains("removed"), "{}", removed.stdout);
        machine.write_file("/etc/fleet-agent/fleet-agent.yml", POLICY).await?;
        let removed = machine.exec(["/opt/fleet/fleet-agent", "uninstall", "-f"]).await?.success()?;
        let told =
            "There was no agent in /opt/Fleet/Agent.\nWhat was left of one is removed: /etc/fleet-agent\n";
        assert_eq!(removed.stdout, told);
        // What the test has put there is no agent's.
        machine.exec(["test", "-L", "/usr/bin/fleet-agent"]).await?.success()?;
        let elsewhere = "unshare --mount sh -c 'mount -t tmpfs tmpfs /run/systemd && \
            /opt/fleet/fleet-agent install --non-interactive'; ls -d /opt/Fleet /var/lib/fleet-agent";
        let refused = machine.shell(elsewhere).await?;
        assert!(refused.stderr.contains("systemd does not run here"), "{refused:?}");
        assert_eq!(refused.stdout, "");
        Ok(())
    })
}

/// Waits until a command says something.
pub(crate) async fn awaited(machine: &Machine, line: &str, what: &str) -> Result<(), HarnessError> {
    wait_for(format!("{line} says {what:?}"), SOON, async || {
        let said = machine.shell(line).await?;
        if said.stdout.contains(what) { Ok(()) } else { Err(NotYet::saw(said.stdout + &said.stderr)) }
    })
    .await
}
