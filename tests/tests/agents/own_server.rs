//! An agent that brings up a Fleet Server on its machine, and others that enrol there.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, program, wait_for};
use serde_json::{Value, json};

use crate::office::{Office, SOON, enrolled, install, put_program, text};

/// A server that was killed serves again within this.
const BACK_MAX: Duration = Duration::from_secs(2);
/// The programs of the two halves are large, and are copied when they are installed.
const OF_ROOT: &str = "/var/lib/fleet-server";
const OF_AGENT: &str = "/var/lib/fleet-agent/fleet-server";

#[test]
fn a_server_is_installed_others_enrol_there_and_it_survives() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        put_program(servers, "fleet-agent").await?;
        let missing =
            servers.exec(["/opt/fleet/fleet-agent", "install", "-n", "--fleet-server-enable"]).await?;
        assert!(missing.success().is_err_and(|error| error.to_string().contains("fleet-server.spec.yml")));
        assert!(servers.shell("! test -e /opt/Fleet").await?.success().is_ok(), "something was installed");

        put_components(servers).await?;
        let first = enrolled(&install(servers, &["--fleet-server-enable"]).await?)?;
        await_well(servers).await?;
        let office = Office::of_agent(servers, OF_ROOT).await?;
        office.await_agent(&first, "its own agent is online", |agent| agent["status"] == "online").await?;

        // Another machine enrols there with the file that was named.
        let (policy, key) = office.policy("machines", json!({})).await?;
        let authority = servers.read_file("/etc/fleet-agent/fleet-server-ca.pem").await?;
        agents.write_file("/root/ca.pem", &authority).await?;
        let url = office.url();
        let flags = ["--url", url.as_str(), "--enrollment-token", &key, "-a", "/root/ca.pem"];
        let second = enrolled(&install(agents, &flags).await?)?;
        follows(&office, &policy, &second).await?;

        // The server is killed, and is back.
        let back = kill(servers).await?;
        assert!(back <= BACK_MAX, "back after {back:?}");
        follows(&office, &policy, &second).await?;

        // It gives up its privileges, and knows everybody still.
        servers.exec(["fleet-agent", "unprivileged", "--force"]).await?.success()?;
        await_well(servers).await?;
        let owner = servers.exec(["ps", "-o", "user:32=", "-C", "fleet-server"]).await?.success()?.stdout;
        assert_eq!(owner.trim(), "fleet-agent");
        let office = Office::of_agent(servers, OF_AGENT).await?;
        follows(&office, &policy, &second).await?;

        // Started again, and as root once more, it goes on with the same documents.
        servers.exec(["systemctl", "restart", "fleet-agent"]).await?.success()?;
        await_well(servers).await?;
        servers.exec(["fleet-agent", "privileged", "--force"]).await?.success()?;
        await_well(servers).await?;
        follows(&office, &policy, &second).await?;
        Ok(())
    })
}

#[test]
fn a_server_without_privileges_keeps_its_documents() -> TestResult {
    on_cluster(Cluster::builder().machines(1).without_fleet(), async |cluster| {
        let machine = cluster.machine(0)?;
        put_components(machine).await?;
        let flags = ["--fleet-server-enable", "--unprivileged"];
        let id = enrolled(&install(machine, &flags).await?)?;
        await_well(machine).await?;
        let office = Office::of_agent(machine, OF_AGENT).await?;
        office.await_agent(&id, "its own agent is online", |agent| agent["status"] == "online").await?;
        let open = "find /var/lib/fleet-agent/fleet-server -type d ! -perm 0700";
        assert_eq!(machine.shell(open).await?.success()?.stdout, "");
        let (policy, _) = office.policy("kept", json!({})).await?;
        machine.exec(["systemctl", "restart", "fleet-agent"]).await?.success()?;
        await_well(machine).await?;
        office.get(&format!("/api/fleet/agent_policies/{policy}")).await?;
        machine.exec(["fleet-agent", "uninstall", "--force"]).await?.success()?;
        let left = "ls -d /var/lib/fleet-agent /var/lib/fleet-server 2>/dev/null; true";
        assert_eq!(machine.shell(left).await?.success()?.stdout, "");
        Ok(())
    })
}

/// Puts the server beside the agent that is going to be installed.
async fn put_components(machine: &Machine) -> Result<(), HarnessError> {
    let folder = machine.programs().join("components");
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/components/fleet-server.spec.yml");
    let failed = |error: std::io::Error| HarnessError::Unexpected(format!("components: {error}"));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::copy(program("fleet-server").await?, folder.join("fleet-server")).map_err(failed)?;
    std::fs::copy(spec, folder.join("fleet-server.spec.yml")).map_err(failed)?;
    Ok(())
}

/// Waits until an agent and its server are well.
async fn await_well(machine: &Machine) -> Result<(), HarnessError> {
    wait_for("the agent and its server are well", SOON, async || {
        let said = machine.exec(["fleet-agent", "status", "-o", "json"]).await?.stdout;
        let status: Value = serde_json::from_str(&said).unwrap_or_default();
        let is_well = status["state"] == "HEALTHY" && status["fleet_state"] == "HEALTHY";
        if is_well && !text(&status["policy_id"]).is_empty() { Ok(()) } else { Err(NotYet::saw(said)) }
    })
    .await
}

/// Whether a new revision of a policy reaches its agent.
async fn follows(office: &Office<'_>, policy: &str, agent: &str) -> Result<(), HarnessError> {
    let revision = office.save(policy, "machines", json!({})).await?;
    let runs = |agent: &Value| agent["policy_revision"] == revision && agent["status"] == "online";
    office.await_agent(agent, "the agent runs the new revision", runs).await.map(drop)
}

/// Kills the server, and tells how long it takes until another one serves agents.
async fn kill(machine: &Machine) -> Result<Duration, HarnessError> {
    let script = "old=$(pgrep -x fleet-server); kill -9 $old; \
        until new=$(pgrep -x fleet-server) && [ \"$new\" != \"$old\" ] && \
        curl --silent --insecure --output /dev/null https://localhost:8220/api/status; do sleep 0.02; done";
    let began = Instant::now();
    machine.shell(script).await?.success()?;
    Ok(began.elapsed())
}
