//! Agents whose fleet takes their privileges away, and users who would like to have some.

use fleet_tests::{Cluster, HarnessError, Machine, NotYet, TestResult, on_cluster, wait_for};
use serde_json::{Value, json};

use crate::office::{Office, SOON, await_action, enrolled, install, runs_as, text};

/// Whoever is left of those that were made for an agent.
const NOBODY: &str = "getent passwd fleet-agent; getent group fleet-agent; true";

#[test]
fn a_fleet_takes_the_privileges_of_its_agent() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        let id = enroll(&office, agents, &[]).await?;
        assert_eq!(runs_as(agents).await?, "root");

        // It becomes the user that is named, and says so when it is back.
        let named = json!({"user_info": {"username": "collector", "groupname": "collectors"}});
        let done = take_privileges(&office, &id, named).await?;
        assert_eq!(done["status"], "COMPLETE", "{done}");
        assert_eq!(runs_as(agents).await?, "collector");
        office.await_agent(&id, "the same agent is online without privileges", is_online(true)).await?;
        await_gone(agents, "/opt/Fleet/Agent/privileges.json").await?;
        let foreign = "find /opt/Fleet/Agent /var/lib/fleet-agent /var/log/fleet-agent ! -user collector";
        assert_eq!(agents.shell(foreign).await?.success()?.stdout, "");

        // What it is already needs nothing, another user needs root.
        let done = take_privileges(&office, &id, json!({})).await?;
        assert_eq!(done["status"], "COMPLETE", "{done}");
        let refused = take_privileges(&office, &id, json!({"user_info": {"username": "other"}})).await?;
        assert!(refused.to_string().contains("sudo fleet-agent unprivileged --user other"), "{refused}");

        // As a user who cannot start its program, it is root's again.
        agents.exec(["fleet-agent", "privileged", "--force"]).await?.success()?;
        office.await_agent(&id, "it is online as root", is_online(false)).await?;
        agents.exec(["chmod", "0700", "/opt/Fleet"]).await?.success()?;
        let failed = take_privileges(&office, &id, json!({})).await?;
        assert_eq!(failed["status"], "FAILED", "{failed}");
        assert!(failed.to_string().contains("gone back to root"), "{failed}");
        assert_eq!(runs_as(agents).await?, "root");
        office.await_agent(&id, "it is online as root still", is_online(false)).await?;
        await_gone(agents, "/opt/Fleet/Agent/privileges.json").await?;
        assert_eq!(agents.shell(NOBODY).await?.success()?.stdout, "", "a user is left behind");
        Ok(())
    })
}

#[test]
fn the_user_of_an_agent_does_not_lead_root_elsewhere() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        agents.shell("mkdir -m 755 /srv/elsewhere && echo theirs > /srv/elsewhere/file").await?.success()?;
        let mine = "stat -c '%n %a %u %g' /srv/elsewhere /srv/elsewhere/file; cat /srv/elsewhere/file; ls -A /srv/elsewhere";
        let before = agents.shell(mine).await?.success()?.stdout;
        enroll(&office, agents, &["--unprivileged"]).await?;
        let (key, url) = (office.policy("anew", json!({})).await?.1, office.url());
        let anew =
            ["install", "-n", "--force", "--unprivileged", "--url", &url, "-t", &key, "-a", "/root/ca.pem"];
        let enroll_anew = ["enroll", "--force", "--url", &url, "-t", &key, "-a", "/root/ca.pem"];
        let data = "/var/lib/fleet-agent";
        let plants = [
            ("/opt/Fleet/Agent/versions", ""),
            ("/var/lib/fleet-agent/state", ""),
            ("/var/lib/fleet-agent/collect", ""),
            ("/var/log/fleet-agent/fleet-agent.ndjson", "/file"),
        ];
        for (planted, what) in plants {
            // The agent's user may do with its files whatever it likes.
            let plant = format!("mv {planted} {planted}.kept; ln -s /srv/elsewhere{what} {planted}");
            as_user(agents, &plant).await?.success()?;
            for verb in
                [&anew[..], &["privileged", "--force"], &["unprivileged", "--force", "--user", "other"]]
            {
                let said = agents.exec(std::iter::once(&"/opt/fleet/fleet-agent").chain(verb)).await?;
                assert!(
                    said.stderr.contains(&format!("{planted} is a link")),
                    "{planted}: {verb:?}: {said:?}"
                );
                let whose =
                    agents.exec(["stat", "-c", "%U", "/opt/Fleet/Agent", data]).await?.success()?.stdout;
                assert_eq!(whose, "fleet-agent\nfleet-agent\n", "{planted}: {verb:?}");
            }
            // Root enrolls as that user, who may not write there.
            agents.exec(std::iter::once(&"/opt/fleet/fleet-agent").chain(&enroll_anew)).await?;
            assert_eq!(agents.shell(mine).await?.success()?.stdout, before, "{planted}");
            as_user(agents, &format!("rm {planted}; mv {planted}.kept {planted}")).await?.success()?;
        }
        // Nor does it by a record that names another agent, when all is removed.
        install(agents, &["--namespace", "dev"]).await?;
        let other = "sed -i s/fleet-agent\\\"/fleet-agent-dev\\\"/ /opt/Fleet/Agent/install.json";
        as_user(agents, other).await?.success()?;
        as_user(agents, &format!("ln -s /srv/elsewhere {data}/link; ln -s /srv/elsewhere/file {data}/file"))
            .await?
            .success()?;
        agents.exec(["/opt/fleet/fleet-agent", "uninstall", "--force"]).await?.success()?;
        assert_eq!(agents.shell(mine).await?.success()?.stdout, before);
        assert_eq!(
            agents.shell("ls -d /opt/Fleet/* /var/lib/fleet-agent*").await?.stdout,
            "/opt/Fleet/Agent-dev\n/var/lib/fleet-agent-dev\n"
        );
        assert_eq!(agents.property("fleet-agent-dev", "ActiveState").await?, "active");
        Ok(())
    })
}

/// In the way of `systemctl`: does what is asked for, and kills whoever asked for what `/run/cut` names.
const CUTTING: &str = r#"#!/bin/sh
if test -e /run/cut && test "$1" = "$(cat /run/cut)"; then
    rm /run/cut
    /usr/bin/systemctl "$@"
    kill -9 $PPID
    exit 1
fi
exec /usr/bin/systemctl "$@"
"#;
/// What belongs to an agent.
const OWN: &str = "/opt/Fleet/Agent /var/lib/fleet-agent /var/log/fleet-agent";

#[test]
fn a_change_of_user_that_is_cut_off_leaves_an_agent_that_starts() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        let id = enroll(&office, agents, &[]).await?;
        agents.write_file("/usr/local/sbin/systemctl", CUTTING).await?;
        agents.exec(["chmod", "755", "/usr/local/sbin/systemctl"]).await?.success()?;

        // What its fleet asked for is killed at each step: it is the user's then, or root's again.
        for (cut, status, user) in [
            ("stop", "FAILED", "root"),
            ("daemon-reload", "COMPLETE", "fleet-agent"),
            ("start", "COMPLETE", "fleet-agent"),
        ] {
            agents.write_file("/run/cut", cut).await?;
            let done = take_privileges(&office, &id, json!({})).await?;
            assert_eq!(done["status"], status, "{cut}: {done}");
            assert_eq!(done.to_string().contains("the change was cut off"), user == "root", "{cut}: {done}");
            await_wholly(&office, agents, &id, user).await?;
            agents.exec(["fleet-agent", "privileged", "--force"]).await?.success()?;
            await_wholly(&office, agents, &id, "root").await?;
        }

        // The machine dies while root gives it all away.
        agents.exec(["useradd", "--system", "--user-group", "collector"]).await?.success()?;
        let record = r#"{"service": "fleet-agent", "user": "collector", "group": "collector",
            "made_user": false, "made_group": false}"#;
        for given in ["/var/lib/fleet-agent", OWN] {
            agents.exec(["systemctl", "stop", "fleet-agent"]).await?.success()?;
            agents.write_file("/opt/Fleet/Agent/install.json", record).await?;
            agents.shell(&format!("chown -hR collector:collector {given}")).await?.success()?;
            agents.exec(["systemctl", "start", "fleet-agent"]).await?.success()?;
            await_wholly(&office, agents, &id, "root").await?;
        }

        // By hand: what is asked for again is done, and it starts by itself where the user's files are root's already.
        for cut in ["stop", "daemon-reload", "start"] {
            for (verb, user) in [("unprivileged", "fleet-agent"), ("privileged", "root")] {
                agents.write_file("/run/cut", cut).await?;
                let change =
                    ["/usr/bin/env", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "fleet-agent"];
                let change = [&change[..], &[verb, "--force"]].concat();
                agents.exec(&change).await?.failure()?;
                agents.shell("systemctl daemon-reload; systemctl start fleet-agent").await?.success()?;
                await_online(&office, &id).await?;
                agents.exec(&change).await?.success()?;
                await_wholly(&office, agents, &id, user).await?;
            }
        }

        // Whoever has no patience with an installation that waits for its server has the agent that was there.
        agents.exec(["fleet-agent", "unprivileged", "--force"]).await?.success()?;
        let anew = "systemd-run --quiet --unit=anew /opt/fleet/fleet-agent install --non-interactive --force \
            --unprivileged --url=https://127.0.0.1:1 --enrollment-token=none --insecure";
        agents.shell(anew).await?.success()?;
        wait_for("the agent is stopped, and root's", SOON, async || {
            let whose = agents.exec(["stat", "-c", "%U", "/opt/Fleet/Agent"]).await?.stdout;
            if whose == "root\n" { Ok(()) } else { Err(NotYet::saw(whose)) }
        })
        .await?;
        agents.exec(["systemctl", "stop", "anew"]).await?.success()?;
        await_wholly(&office, agents, &id, "fleet-agent").await?;
        Ok(())
    })
}

async fn await_online(office: &Office<'_>, id: &str) -> Result<(), HarnessError> {
    office.await_agent(id, "it is online", |agent| agent["status"] == "online").await.map(drop)
}

/// Waits until the agent is online as a user, and all that it has is that user's.
async fn await_wholly(
    office: &Office<'_>,
    machine: &Machine,
    id: &str,
    user: &str,
) -> Result<(), HarnessError> {
    office.await_agent(id, &format!("it is online as {user}"), is_online(user != "root")).await?;
    wait_for(format!("all is {user}'s"), SOON, async || {
        let runs_as = runs_as(machine).await?;
        let others = machine.shell(&format!("find {OWN} ! -user {user}")).await?.stdout;
        let saw = format!("runs as {runs_as}, others: {others}");
        if runs_as == user && others.is_empty() { Ok(()) } else { Err(NotYet::saw(saw)) }
    })
    .await
}

async fn enroll(office: &Office<'_>, machine: &Machine, flags: &[&str]) -> Result<String, HarnessError> {
    let (_, key) = office.policy("machines", json!({"agent": {"monitoring": {"enabled": false}}})).await?;
    machine.write_file("/root/ca.pem", &office.authority().await?).await?;
    let url = office.url();
    let all = ["--url", &url, "--enrollment-token", &key, "-a", "/root/ca.pem"];
    enrolled(&install(machine, &[&all, flags].concat()).await?)
}

async fn as_user(machine: &Machine, line: &str) -> Result<fleet_tests::Output, HarnessError> {
    machine.exec(["runuser", "-u", "fleet-agent", "--", "sh", "-c", line]).await
}

/// Asks for it; what came of it.
async fn take_privileges(office: &Office<'_>, id: &str, body: Value) -> Result<Value, HarnessError> {
    let asked = office.post(&format!("/api/fleet/agents/{id}/privilege_level_change"), body).await?;
    await_action(office, &text(&asked["actionId"])).await
}

fn is_online(is_unprivileged: bool) -> impl Fn(&Value) -> bool {
    move |agent| {
        agent["status"] == "online"
            && agent["local_metadata"]["elastic"]["agent"]["unprivileged"] == is_unprivileged
    }
}

async fn await_gone(machine: &Machine, path: &str) -> Result<(), HarnessError> {
    wait_for(format!("{path} is gone"), SOON, async || {
        let there = machine.exec(["cat", path]).await?;
        if there.status.success() { Err(NotYet::saw(there.stdout)) } else { Ok(()) }
    })
    .await
}
