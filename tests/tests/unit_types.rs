//! One unit of each type that the API accepts: it works or says why it cannot, and it can be removed again.

use std::time::Duration;

use fleet_tests::{Cluster, HarnessError, NotYet, TestResult, on_cluster, wait_for};

const SOON: Duration = Duration::from_secs(15);

/// Name, text, and the active state in the end; `None` where systemd cannot start such a unit from a file, or not
/// in these machines, and says so.
const TYPES: [(&str, &str, Option<&str>); 13] = [
    ("one.service", "[Service]\nExecStart=/bin/sleep 1000\n", Some("active")),
    ("two.socket", "[Socket]\nListenStream=/run/two.sock\nAccept=no\nService=one.service\n", Some("active")),
    ("three.timer", "[Timer]\nOnActiveSec=1d\nUnit=one.service\n", Some("active")),
    ("four.path", "[Path]\nPathExists=/run/four\nUnit=one.service\n", Some("active")),
    ("mnt.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt\nType=tmpfs\n", Some("active")),
    ("six.slice", "[Slice]\nMemoryMax=1G\n", Some("active")),
    ("seven.target", "[Unit]\nDescription=Seven\n", Some("active")),
    ("srv.automount", "[Automount]\nWhere=/srv\n", None),
    ("dev-nine.swap", "[Swap]\nWhat=/dev/nine\n", None),
    ("dev-ten.device", "[Unit]\nDescription=Ten\n", None),
    ("eleven.scope", "[Scope]\nMemoryMax=1G\n", None),
    ("twelve.snapshot", "[Unit]\nDescription=Twelve\n", None),
    ("thirteen.busname", "[BusName]\nName=org.example\n", None),
];

#[test]
fn every_type_works_or_says_why_and_can_be_removed() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        for (name, text, _) in TYPES {
            put(cluster, name, text).await?;
        }
        for (name, _, active) in TYPES {
            match active {
                Some(state) => becomes(cluster, name, state).await?,
                None => is_explained(cluster, name).await?,
            }
        }
        let destroy = ["destroy"].into_iter().chain(TYPES.map(|(name, ..)| name));
        cluster.fleetctl(destroy).await?.success()?;
        cluster.wait_for_unit_files(machine, 0).await?;
        cluster.wait_for_units(machine, 0).await?;
        assert_eq!(machine.shell("ls /run/fleet/units").await?.stdout, "");
        for (name, _, active) in TYPES {
            if active.is_some() {
                assert_eq!(machine.property(name, "ActiveState").await?, "inactive", "{name}");
            }
        }
        Ok(())
    })
}

/// `fleetctl` does not know all of these types; the API does.
async fn put(cluster: &Cluster, name: &str, text: &str) -> TestResult {
    let mut section = "";
    let mut options = Vec::new();
    for line in text.lines() {
        match line.split_once('=') {
            Some((key, value)) => {
                options.push(serde_json::json!({ "section": section, "name": key, "value": value }));
            }
            None => section = line.trim_matches(['[', ']']),
        }
    }
    let body = serde_json::json!({ "name": name, "desiredState": "launched", "options": options });
    let url = format!("{}/fleet/v1/units/{name}", cluster.machine(0)?.endpoint());
    let reply = fleet_tests::request("PUT", &url, Some(&body.to_string())).await?;
    assert_eq!(reply.status, 201, "{name}: {}", reply.body);
    Ok(())
}

async fn becomes(cluster: &Cluster, name: &str, wanted: &str) -> Result<(), HarnessError> {
    let machine = cluster.machine(0)?;
    wait_for(format!("{name} is {wanted}"), SOON, async || {
        let states = cluster.unit_states(machine).await?;
        let state = states.iter().find(|state| state.unit == name);
        if state.is_some_and(|state| state.active == wanted) {
            return Ok(());
        }
        let explained = explain(cluster, name).await?;
        Err(NotYet::saw(format!("{state:?}; {explained}")))
    })
    .await
}

async fn is_explained(cluster: &Cluster, name: &str) -> Result<(), HarnessError> {
    wait_for(format!("{name} says why it does not run"), SOON, async || {
        let explained = explain(cluster, name).await?;
        let reason = explained["states"][0]["error"].as_str().unwrap_or_default();
        if reason.is_empty() { Err(NotYet::saw(explained.to_string())) } else { Ok(()) }
    })
    .await
}

async fn explain(cluster: &Cluster, name: &str) -> Result<serde_json::Value, HarnessError> {
    let url = format!("{}/fleet/v1/units/{name}/explain", cluster.machine(0)?.endpoint());
    fleet_tests::request("GET", &url, None).await?.json()
}
