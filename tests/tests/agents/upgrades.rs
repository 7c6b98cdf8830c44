//! An agent without privileges becomes another version, and goes back: by itself, and when it is told to.

use fleet_tests::{Cluster, HarnessError, Machine, TestResult, on_cluster};
use serde_json::{Value, json};

use crate::office::{Office, await_action, enrolled, install, runs_as, text};

#[test]
fn an_agent_without_privileges_becomes_another_version_and_goes_back() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        let policy = json!({"agent": {"monitoring": {"enabled": false}}});
        let (_, key) = office.policy("machines", policy).await?;
        agents.write_file("/root/ca.pem", &office.authority().await?).await?;
        agents
            .write_file("/etc/fleet-agent/fleet-agent.yml", "agent.upgrade.watcher.grace_period: 2m\n")
            .await?;
        let url = office.url();
        let flags = ["--unprivileged", "--url", &url, "-t", &key, "-a", "/root/ca.pem"];
        let id = enrolled(&install(agents, &flags).await?)?;
        office.await_agent(&id, "it is online", is_version("9.6.0")).await?;

        // A new version, which nobody signed, by the one at the machine.
        offer(agents, "9.6.1", "cp /opt/fleet/fleet-agent").await?;
        let source = ["--source-uri", "file:///srv/packages", "--skip-verify"];
        let upgrade = |number: &'static str| ["fleet-agent", "upgrade", number].into_iter().chain(source);
        agents.exec(upgrade("9.6.1")).await?.success()?;
        office.await_agent(&id, "it is the new version", is_version("9.6.1")).await?;
        is_its_users(agents).await?;
        let kept = agents.exec(["fleet-agent", "upgrade", "list-rollbacks"]).await?.success()?.stdout;
        assert!(kept.starts_with("9.6.0 until "), "{kept}");

        // One that cannot start is left, and the fleet can have the one before back.
        offer(agents, "9.6.2", "install -m 755 /bin/false").await?;
        let failed = agents.exec(upgrade("9.6.2")).await?;
        assert!(failed.stderr.contains("ended 3 times"), "{failed:?}");
        office.await_agent(&id, "it is the version before", is_version("9.6.1")).await?;
        is_its_users(agents).await?;
        let back = json!({});
        let asked = office.post(&format!("/api/fleet/agents/{id}/rollback"), back).await?;
        let done = await_action(&office, &text(&asked["actionId"])).await?;
        assert_eq!(done["status"], "COMPLETE", "{done}");
        office.await_agent(&id, "it went back", is_version("9.6.0")).await?;
        is_its_users(agents).await?;

        // As root again, and another user's, it still can.
        agents.exec(["fleet-agent", "privileged", "--force"]).await?.success()?;
        agents.exec(["fleet-agent", "unprivileged", "--force", "--user", "other"]).await?.success()?;
        agents.exec(upgrade("9.6.1")).await?.success()?;
        office.await_agent(&id, "it is the new version again", is_version("9.6.1")).await?;
        assert_eq!(runs_as(agents).await?, "other");
        Ok(())
    })
}

/// Puts a package of a version into a folder that all may read; `program` is the command that makes its program.
async fn offer(machine: &Machine, number: &str, program: &str) -> Result<(), HarnessError> {
    let make = format!(
        "set -e; name=fleet-agent-{number}-linux-$(uname -m).tar.gz; mkdir -p /srv/packages/fleet-agent /srv/making; \
         cd /srv/making; {program} fleet-agent; echo {number} > package.version; \
         tar -czf ../packages/fleet-agent/$name fleet-agent package.version; cd ../packages/fleet-agent; \
         sha512sum $name > $name.sha512; chmod -R a+rX /srv/packages"
    );
    machine.shell(&make).await?.success().map(drop)
}

fn is_version(number: &'static str) -> impl Fn(&Value) -> bool {
    move |agent| {
        agent["status"] == "online" && agent["local_metadata"]["elastic"]["agent"]["version"] == number
    }
}

/// It runs as its user, and nothing of it is root's.
async fn is_its_users(machine: &Machine) -> Result<(), HarnessError> {
    assert_eq!(runs_as(machine).await?, "fleet-agent");
    let foreign = "find /opt/Fleet/Agent /var/lib/fleet-agent /var/log/fleet-agent ! -user fleet-agent";
    assert_eq!(machine.shell(foreign).await?.success()?.stdout, "");
    Ok(())
}
