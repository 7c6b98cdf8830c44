//! One `fleetd` without root, on a person's own systemd, with the embedded store: what `make dev` runs without root.

use std::path::Path;
use std::time::Duration;

use fleet_tests::{
    Cluster, HarnessError, Machine, NotYet, TestResult, fixture_text, on_cluster, program, wait_for,
};

const SOON: Duration = Duration::from_secs(15);
const ENDPOINT: &str = "--endpoint=unix:///run/user/1000/fleet.sock";
const CONFIGURATION: &str = "\
systemd_user=true
store=embedded
store_path=/home/core/store
units_directory=/run/user/1000/fleet/units/
listen=unix:/run/user/1000/fleet.sock
public_ip=127.0.0.1
";

async fn start_fleetd(machine: &Machine) -> Result<(), HarnessError> {
    let run = ["systemd-run", "--user", "--quiet", "--unit=fleet", "--service-type=notify", "--collect"];
    let fleetd = ["/usr/bin/fleetd", "--config", "/home/core/fleet.conf"];
    machine.exec_as_core(run.iter().chain(&fleetd)).await?.success().map(drop)
}

/// Waits until `fleetctl` lists the unit as active, with the process that runs it.
async fn hello_runs(machine: &Machine) -> Result<String, HarnessError> {
    wait_for("hello.service runs", SOON, async || {
        let list =
            machine.exec_as_core(["fleetctl", ENDPOINT, "list-units", "--no-legend"]).await?.success()?;
        if list.stdout.contains("active\trunning") { Ok(()) } else { Err(NotYet::saw(list.stdout)) }
    })
    .await?;
    let show = ["systemctl", "--user", "show", "--value", "--property=MainPID", "hello.service"];
    Ok(machine.exec_as_core(show).await?.success()?.stdout)
}

#[test]
fn a_person_s_own_systemd_runs_units_without_root() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.exec(["systemctl", "stop", "fleet.service", "fleet.socket"]).await?.success()?;
        machine.write_file("/home/core/fleet.conf", CONFIGURATION).await?;
        machine.write_file("/home/core/hello.service", &fixture_text("hello.service")?).await?;
        start_fleetd(machine).await?;
        machine.exec_as_core(["fleetctl", ENDPOINT, "start", "/home/core/hello.service"]).await?.success()?;
        let process = hello_runs(machine).await?;

        // The store is a file: another fleetd knows what the first one did. A crash stops nothing.
        machine
            .exec_as_core(["systemctl", "--user", "kill", "-s", "KILL", "fleet.service"])
            .await?
            .success()?;
        wait_for("fleetd has ended", SOON, async || {
            let state =
                machine.exec_as_core(["systemctl", "--user", "is-active", "fleet.service"]).await?.stdout;
            if state.trim() == "inactive" { Ok(()) } else { Err(NotYet::saw(state)) }
        })
        .await?;
        start_fleetd(machine).await?;
        assert_eq!(hello_runs(machine).await?, process);

        // A stop takes its units with it.
        machine.exec_as_core(["systemctl", "--user", "stop", "fleet.service"]).await?.success()?;
        let state = machine.exec_as_core(["systemctl", "--user", "is-active", "hello.service"]).await?;
        assert_eq!(state.stdout.trim(), "inactive");
        Ok(())
    })
}

/// `scripts/dev` as it is, in a checkout where everything is built.
#[test]
fn make_dev_without_root() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        machine.exec(["systemctl", "stop", "fleet.service", "fleet.socket"]).await?.success()?;
        for name in ["fleet-server", "fleet-agent"] {
            std::fs::copy(program(name).await?, cluster.programs().join(name))?;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        for path in ["scripts/dev", "examples/hello.service"] {
            let text = std::fs::read_to_string(root.join(path))?;
            machine.write_file(&format!("/home/core/fleet/{path}"), &text).await?;
        }
        // There is nothing to install and to build.
        for path in ["/home/core/fleet/scripts/install-tools", "/usr/local/bin/cargo"] {
            machine.write_file(path, "#!/bin/sh\n").await?;
            machine.exec(["chmod", "+x", path]).await?.success()?;
        }
        machine
            .shell("mkdir -p /home/core/fleet/target && ln -s /opt/fleet /home/core/fleet/target/debug")
            .await?;
        machine.exec(["chown", "-R", "core:", "/home/core/fleet"]).await?.success()?;
        let dev = async |verb: &'static str| {
            machine.exec_as_core(["bash", "/home/core/fleet/scripts/dev", verb]).await
        };
        // A second time shows what is there.
        for is_first in [true, false] {
            let shown = dev("up").await?.success()?.stdout;
            assert!(shown.contains("active\trunning"), "{shown}");
            assert_eq!(shown.contains("--enrollment-token"), is_first, "{shown}");
        }
        let agent = ["/opt/fleet/fleet-agent", "status", "--path.home", "/home/core/fleet/.dev/fleet-agent"];
        wait_for("the agent is connected", SOON, async || {
            let status = machine.exec_as_core(agent).await?.stdout;
            if status.contains("(HEALTHY) Connected") { Ok(()) } else { Err(NotYet::saw(status)) }
        })
        .await?;
        let ready = ["curl", "--silent", "--show-error", "http://127.0.0.1:5601/readyz"];
        assert_eq!(machine.exec_as_core(ready).await?.success()?.stdout, "ok\n");
        dev("down").await?.success()?;
        let left = machine.exec_as_core(["systemctl", "--user", "is-active", "fleet-dev", "hello"]).await?;
        assert!(!left.stdout.lines().any(|state| state == "active"), "{}", left.stdout);
        dev("down").await?.success()?;
        Ok(())
    })
}
