//! An agent that runs as a user of its own: what it may, what it says that it may not, and who may ask it.

use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};
use serde_json::{Value, json};

use crate::office::{Office, SOON, enrolled, install, runs_as};

const OPEN: &str = "/var/log/open.log";
const CLOSED: &str = "/var/log/closed.log";
const COLLECTED: &str = "/var/tmp/collected/out*";

#[test]
fn an_agent_without_privileges_collects_what_it_may_and_tells_what_it_may_not() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        let (_, key) = office.policy("machines", policy()).await?;
        agents.write_file(OPEN, "for all\n").await?;
        agents.write_file(CLOSED, "for root\n").await?;
        agents.shell(&format!("chmod 600 {CLOSED}; mkdir -m 777 /var/tmp/collected")).await?.success()?;
        agents.write_file("/root/ca.pem", &office.authority().await?).await?;
        let url = office.url();
        let flags = ["--unprivileged", "--url", &url, "--enrollment-token", &key, "-a", "/root/ca.pem"];
        let id = enrolled(&install(agents, &flags).await?)?;

        // It runs as its user, collects the one file, and says that it may not read the other.
        assert_eq!(runs_as(agents).await?, "fleet-agent");
        let agent = office.await_agent(&id, "the agent tells what it may not read", tells_closed).await?;
        assert_eq!(agent["local_metadata"]["elastic"]["agent"]["unprivileged"], true, "{agent}");
        collected(agents, "for all").await?;
        let secret = agents.shell(&format!("cat {COLLECTED}")).await?.success()?.stdout;
        assert!(!secret.contains("for root"), "{secret}");
        everything_is_private(agents).await?;

        // Root may ask, and the members of its group may look; nobody else may.
        assert!(status(agents, &[]).await?.contains(CLOSED));
        let core = ["runuser", "-u", "core", "--"];
        let stranger = agents.exec(core.iter().chain(&["fleet-agent", "status"])).await?;
        assert!(stranger.success().is_err_and(|error| error.to_string().contains("as root")));
        agents.exec(["usermod", "--append", "--groups", "fleet-agent", "core"]).await?.success()?;
        assert!(status(agents, &core).await?.contains(CLOSED));
        let restart = agents.exec(core.iter().chain(&["fleet-agent", "restart"])).await?;
        assert!(restart.success().is_err_and(|error| error.to_string().contains("may look")));
        agents.exec(["gpasswd", "--delete", "core", "fleet-agent"]).await?.success()?;

        // It becomes root, who may read all, and gives that up again.
        agents.exec(["fleet-agent", "privileged", "--force"]).await?.success()?;
        assert_eq!(runs_as(agents).await?, "root");
        collected(agents, "for root").await?;
        assert!(agents.exec(["id", "fleet-agent"]).await?.success().is_err(), "its user is there still");
        everything_is_private(agents).await?;
        agents.exec(["fleet-agent", "unprivileged", "--force"]).await?.success()?;
        assert_eq!(runs_as(agents).await?, "fleet-agent");
        agents.shell(&format!("echo more for root >> {CLOSED}")).await?.success()?;
        office.await_agent(&id, "the agent tells again what it may not read", tells_closed).await?;

        // Root enrols it anew, with a file that it may not read.
        let anew = ["fleet-agent", "enroll", "--force", "--url", &url, "-t", &key, "-a", "/root/ca.pem"];
        let id = enrolled(&agents.exec(anew).await?.success()?.stdout)?;
        office.await_agent(&id, "it is another agent", |agent| agent["policy_revision"] == 1).await?;

        // It leaves nothing behind.
        agents.exec(["fleet-agent", "uninstall", "--force"]).await?.success()?;
        let left = "ls -d /opt/Fleet/Agent /var/lib/fleet-agent /var/log/fleet-agent /etc/fleet-agent \
            /etc/systemd/system/fleet-agent.service 2>/dev/null; getent passwd fleet-agent; getent group fleet-agent; true";
        assert_eq!(agents.shell(left).await?.success()?.stdout, "");
        office
            .await_agent(&id, "the server knows that it left", |agent| agent["status"] == "uninstalled")
            .await?;
        Ok(())
    })
}

fn policy() -> Value {
    let stream = |id: &str, path: &str| {
        json!({"id": id, "paths": [path], "data_stream": {"dataset": id}, "prospector.scanner.fingerprint.enabled": false,
            "file_identity.native": null, "prospector.scanner.check_interval": "500ms"})
    };
    json!({
        "agent": {"monitoring": {"enabled": false}},
        "outputs": {"default": {"type": "file", "path": "/var/tmp/collected", "filename": "out", "hosts": null, "preset": null}},
        "inputs": [{"id": "files", "type": "filestream", "use_output": "default",
            "streams": [stream("open", OPEN), stream("closed", CLOSED)]}],
    })
}

fn tells_closed(agent: &Value) -> bool {
    agent["status"] == "degraded" && agent["components"].to_string().contains(CLOSED)
}

async fn status(machine: &Machine, prefix: &[&str]) -> Result<String, HarnessError> {
    let argv = prefix.iter().copied().chain(["fleet-agent", "status", "--output", "full"]);
    Ok(machine.exec(argv).await?.success()?.stdout)
}

/// Waits until a line is where the policy sends it.
async fn collected(machine: &Machine, line: &str) -> Result<(), HarnessError> {
    wait_for(format!("{line:?} is collected"), SOON, async || {
        let found = machine.shell(&format!("cat {COLLECTED}")).await?;
        if found.stdout.contains(line) { Ok(()) } else { Err(NotYet::saw(found.stdout)) }
    })
    .await
}

/// No directory of what it keeps is open to anybody else.
async fn everything_is_private(machine: &Machine) -> Result<(), HarnessError> {
    let open = "find /var/lib/fleet-agent -mindepth 1 -type d ! -perm 0700";
    let found = machine.shell(open).await?.success()?.stdout;
    assert_eq!(found, "");
    Ok(())
}
