//! What a machine is called: by its own name, or by its full one when the policy says so.

use fleet_tests::{Cluster, NotYet, TestResult, on_cluster, wait_for};
use serde_json::{Value, json};

use crate::office::{Office, SOON, enrolled, install, text};

#[test]
fn a_machine_is_called_by_its_full_name_when_its_policy_says_so() -> TestResult {
    on_cluster(Cluster::builder().machines(2).without_fleet(), async |cluster| {
        let (servers, agents) = (cluster.machine(0)?, cluster.machine(1)?);
        let office = Office::open(servers).await?;
        let short = agents.exec(["hostname"]).await?.success()?.stdout.trim().to_owned();
        let full = format!("{short}.fleet.example.com");
        let (policy, key) = office.policy("machines", overrides(false)).await?;
        agents.write_file("/root/ca.pem", &office.authority().await?).await?;
        let url = office.url();
        let flags = ["--url", &url, "--enrollment-token", &key, "-a", "/root/ca.pem"];
        let id = enrolled(&install(agents, &flags).await?)?;
        let called = |agent: &Value| text(&agent["local_metadata"]["host"]["name"]);
        let is = |name: &str, revision: &Value| {
            let (name, revision) = (name.to_owned(), revision.clone());
            move |agent: &Value| called(agent) == name && agent["policy_revision"] == revision
        };
        office.await_agent(&id, "the agent has its short name", is(&short, &json!(1))).await?;

        // Nobody knows its full name yet: it says so, and keeps the short one.
        let revision = office.save(&policy, "machines", overrides(true)).await?;
        office.await_agent(&id, "the agent has its short name still", is(&short, &revision)).await?;
        let said = agents.exec(["fleet-agent", "status", "-o", "full"]).await?.success()?.stdout;
        assert!(said.contains("no full name"), "{said}");

        agents.shell(&format!("sed -i 's/ {short}$/ {full} {short}/' /etc/hosts")).await?.success()?;
        agents.exec(["fleet-agent", "restart"]).await?.success()?;
        let agent = office.await_agent(&id, "the agent has its full name", is(&full, &revision)).await?;
        assert_eq!(agent["local_metadata"]["host"]["hostname"], short.as_str());
        wait_for("events have it", SOON, async || {
            let collected = agents.shell("cat /var/tmp/out*").await?.stdout;
            let names =
                |line: &str| serde_json::from_str::<Value>(line).map(|event| text(&event["host"]["name"]));
            let is_there = collected.lines().filter_map(|line| names(line).ok()).any(|name| name == full);
            if is_there { Ok(()) } else { Err(NotYet::saw(collected)) }
        })
        .await?;

        // And goes back to the short one without a restart.
        let revision = office.save(&policy, "machines", overrides(false)).await?;
        office.await_agent(&id, "the agent has its short name again", is(&short, &revision)).await?;
        Ok(())
    })
}

fn overrides(is_full: bool) -> Value {
    json!({
        "agent": {"monitoring": {"enabled": false}, "features": {"fqdn": {"enabled": is_full}}},
        "outputs": {"default": {"type": "file", "path": "/var/tmp", "filename": "out", "hosts": null, "preset": null}},
        "inputs": [{"id": "load", "type": "system/metrics", "use_output": "default",
            "streams": [{"id": "load", "metricsets": ["load"], "period": "500ms", "data_stream": {"dataset": "system.load"}}]}],
    })
}
