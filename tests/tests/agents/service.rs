//! A component that is a service of systemd: it is installed, outlives agents, and is removed with its input.

use std::path::{Path, PathBuf};

use fleet_tests::{Cluster, HarnessError, Machine, TestResult, on_cluster, program_of};

use crate::office::install;
use crate::standalone::awaited;

const UNIT: &str = "example-greeter.service";
const FILE: &str = "/etc/fleet-agent/fleet-agent.yml";
/// Beside the agent's program before it is installed.
const COMPONENTS: &str = "components";

fn policy(inputs: &str) -> String {
    format!("outputs:\n  default: {{type: file, path: /var/tmp, filename: out}}\ninputs: [{inputs}]\n")
}

fn greets(whom: &str) -> String {
    policy(&format!("{{id: a, type: greeting-service, greet: {whom}}}"))
}

#[test]
fn a_component_is_a_service_of_systemd_that_outlives_its_agents() -> TestResult {
    on_cluster(Cluster::builder().machines(1).without_fleet(), async |cluster| {
        let machine = cluster.machine(0)?;
        put_component(machine).await?;
        machine.write_file(FILE, &greets("world")).await?;
        install(machine, &[]).await?;
        status(machine, "Hello, world!").await?;
        let process = machine.property(UNIT, "MainPID").await?;
        let socket = machine.exec(["stat", "-c", "%a %U", "/opt/Fleet/Agent/.eaci.sock"]).await?.success()?;
        assert_eq!(socket.stdout.trim(), "600 root");
        let log = "grep -rh 'Hello, world!' /var/log/fleet-agent";
        awaited(machine, log, "greeting-service").await?;

        // The agent is changed, ends, and is killed: the service goes on, and finds the next one.
        machine.write_file(FILE, &greets("everybody")).await?;
        status(machine, "Hello, everybody!").await?;
        machine.exec(["systemctl", "stop", "fleet-agent"]).await?.success()?;
        machine.write_file(FILE, &greets("nobody")).await?;
        machine.exec(["systemctl", "start", "fleet-agent"]).await?.success()?;
        status(machine, "Hello, nobody!").await?;
        machine.exec(["systemctl", "kill", "--signal=KILL", "fleet-agent"]).await?.success()?;
        machine.write_file(FILE, &greets("again")).await?;
        status(machine, "Hello, again!").await?;
        assert_eq!(machine.property(UNIT, "MainPID").await?, process);

        // The service is killed: systemd starts it again, and it finds its agent.
        machine.exec(["systemctl", "kill", "--signal=KILL", UNIT]).await?.success()?;
        let written = "cat /var/log/example-greeter.log | grep -c 'Hello, again!'";
        awaited(machine, written, "2").await?;
        status(machine, "Hello, again!").await?;

        // Its input leaves the policy.
        machine.write_file(FILE, &policy("")).await?;
        awaited(machine, &format!("systemctl show -P LoadState {UNIT}"), "not-found").await?;

        // It goes with the agent, too.
        machine.write_file(FILE, &greets("world")).await?;
        status(machine, "Hello, world!").await?;
        machine.exec(["fleet-agent", "uninstall", "--force"]).await?.success()?;
        let left =
            format!("systemctl show -P LoadState {UNIT}; ls /etc/systemd/system/{UNIT} 2>/dev/null; true");
        assert_eq!(machine.shell(&left).await?.success()?.stdout.trim(), "not-found");
        Ok(())
    })
}

/// The example, where the agent's installation finds it.
async fn put_component(machine: &Machine) -> Result<(), HarnessError> {
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join("examples/component");
    let program = program_of("fleet-example-component", "example-component").await?;
    let files: [PathBuf; 3] =
        [program, example.join("example-service"), example.join("example-service.spec.yml")];
    let folder = machine.programs().join(COMPONENTS);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| HarnessError::Unexpected(format!("{path}: {error}"))
    };
    std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
    for file in files {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(&file, folder.join(name)).map_err(failed(&file))?;
    }
    Ok(())
}

async fn status(machine: &Machine, what: &str) -> Result<(), HarnessError> {
    awaited(machine, "fleet-agent status --output full", what).await
}
