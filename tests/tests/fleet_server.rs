//! `fleet-server` as a service of a real machine, with the unit that is shipped.

use std::path::Path;
use std::time::Duration;

use fleet_tests::{Cluster, NotYet, TestResult, on_cluster, program, wait_for};

const SOON: Duration = Duration::from_secs(20);
const READY: [&str; 4] = ["curl", "--silent", "--show-error", "http://127.0.0.1:5601/readyz"];

#[test]
fn the_service_runs_in_its_sandbox_and_keeps_its_data() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        std::fs::copy(program("fleet-server").await?, cluster.programs().join("fleet-server"))?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let unit = std::fs::read_to_string(root.join("deploy/systemd/fleet-server.service"))?;
        machine.write_file("/etc/systemd/system/fleet-server.service", &unit).await?;
        machine.exec(["ln", "-s", "/opt/fleet/fleet-server", "/usr/bin/fleet-server"]).await?.success()?;
        // A grace that a test can wait for.
        let short = "inputs:\n- server.timeouts.drain: 1s\n";
        machine.exec(["mkdir", "-p", "/etc/fleet-server"]).await?.success()?;
        machine.write_file("/etc/fleet-server/fleet-server.yml", short).await?;
        machine.exec(["systemctl", "daemon-reload"]).await?.success()?;

        // It tells systemd when it serves.
        machine.exec(["systemctl", "start", "fleet-server"]).await?.success()?;
        assert_eq!(machine.exec(READY).await?.success()?.stdout, "ok\n");
        let read = ["cat", "/var/lib/fleet-server/ca.pem"];
        let authority = machine.exec(read).await?.success()?.stdout;
        assert!(authority.contains("BEGIN CERTIFICATE"), "{authority}");

        // A crash and a stop lose nothing.
        machine.exec(["systemctl", "kill", "-s", "KILL", "fleet-server"]).await?.success()?;
        wait_for("fleet-server serves again", SOON, async || {
            let ready = machine.exec(READY).await?;
            if ready.stdout == "ok\n" { Ok(()) } else { Err(NotYet::saw(ready.stderr)) }
        })
        .await?;
        machine.exec(["systemctl", "restart", "fleet-server"]).await?.success()?;
        assert_eq!(machine.exec(read).await?.success()?.stdout, authority);
        machine.exec(["systemctl", "stop", "fleet-server"]).await?.success()?;
        let result = ["systemctl", "show", "--value", "--property=Result", "fleet-server"];
        assert_eq!(machine.exec(result).await?.success()?.stdout.trim(), "success");
        Ok(())
    })
}
