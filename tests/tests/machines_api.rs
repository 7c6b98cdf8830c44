//! `/fleet/v1/machines`: the list and the metadata that can be changed while a machine runs.

use std::collections::BTreeMap;

use fleet_tests::{Cluster, HarnessError, Machine, Reply, TestResult, on_cluster, request};
use serde_json::json;

fn url(machine: &Machine) -> String {
    format!("{}/fleet/v1/machines", machine.endpoint())
}

/// Demands a status and that the body is called JSON.
fn demand(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.body);
    let kind = reply.header("content-type").unwrap_or_default();
    assert!(kind.contains("application/json"), "content type {kind:?}");
}

async fn patch(machine: &Machine, operations: serde_json::Value) -> Result<Reply, HarnessError> {
    request("PATCH", &url(machine), Some(&operations.to_string())).await
}

/// Machine by machine its metadata, after checking that the rest of the entry is right too.
async fn listed(at: &Machine, all: &[Machine]) -> Result<BTreeMap<String, serde_json::Value>, HarnessError> {
    let reply = request("GET", &url(at), None).await?;
    demand(&reply, 200);
    let page = reply.json()?;
    let machines = page["machines"].as_array().cloned().unwrap_or_default();
    assert_eq!(machines.len(), all.len(), "{page}");
    let mut metadata = BTreeMap::new();
    for entry in machines {
        let machine = all.iter().find(|machine| entry["id"] == machine.id());
        let address = machine.map(|machine| machine.address().to_string());
        assert_eq!(entry["primaryIP"].as_str(), address.as_deref(), "{entry}");
        let name = machine.map(|machine| machine.name().to_owned()).unwrap_or_default();
        metadata.insert(name, entry["metadata"].clone());
    }
    Ok(metadata)
}

/// TestMachinesList
#[test]
fn machines_list() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let metadata = listed(cluster.machine(0)?, cluster.machines()).await?;
        assert_eq!(metadata["m1"], json!({ "hostname": "m1" }));
        Ok(())
    })
}

/// TestMachinesListBadNextPageToken
#[test]
fn machines_list_bad_next_page_token() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let url = format!("{}?nextPageToken=EwBMLg==", url(cluster.machine(0)?));
        demand(&request("GET", &url, None).await?, 400);
        Ok(())
    })
}

/// TestMachinesPatchAddModify
#[test]
fn machines_patch_add_modify() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        let operations = json!([
            { "op": "add", "path": format!("/{}/metadata/foo", m1.id()), "value": { "value": "bar" } },
            { "op": "replace", "path": format!("/{}/metadata/ping", m2.id()), "value": { "value": "splat" } },
        ]);
        demand(&patch(m1, operations).await?, 204);
        let metadata = listed(m1, cluster.machines()).await?;
        assert_eq!(metadata["m1"], json!({ "foo": "bar", "hostname": "m1" }));
        assert_eq!(metadata["m2"], json!({ "hostname": "m2", "ping": "splat" }));
        Ok(())
    })
}

/// TestMachinesPatchDelete
#[test]
fn machines_patch_delete() -> TestResult {
    on_cluster(Cluster::builder().machines(2), async |cluster| {
        let [m1, m2] = cluster.machines() else { unreachable!("two were asked for") };
        let add = json!([
            { "op": "add", "path": format!("/{}/metadata/foo", m1.id()), "value": { "value": "bar" } },
        ]);
        demand(&patch(m1, add).await?, 204);
        // One that is there, and one that is not.
        let remove = json!([
            { "op": "remove", "path": format!("/{}/metadata/foo", m1.id()), "value": { "value": "" } },
            { "op": "remove", "path": format!("/{}/metadata/ping", m2.id()), "value": { "value": "" } },
        ]);
        demand(&patch(m1, remove).await?, 204);
        let metadata = listed(m1, cluster.machines()).await?;
        assert_eq!(metadata["m1"], json!({ "hostname": "m1" }));
        assert_eq!(metadata["m2"], json!({ "hostname": "m2" }));
        Ok(())
    })
}

/// TestMachinesPatchBad
#[test]
fn machines_patch_bad() -> TestResult {
    on_cluster(Cluster::builder(), async |cluster| {
        let machine = cluster.machine(0)?;
        let id = machine.id();
        let bad = [
            json!({ "op": "noop", "path": format!("/{id}/metadata/foo"), "value": { "value": "bar" } }),
            json!({ "op": "add", "path": format!("/{id}/foo"), "value": { "value": "bar" } }),
            json!({ "op": "add", "path": format!("/{id}/metadata/foo"), "value": { "value": "" } }),
        ];
        for operation in bad {
            demand(&patch(machine, json!([operation])).await?, 400);
        }
        let metadata = listed(machine, cluster.machines()).await?;
        assert_eq!(metadata["m1"], json!({ "hostname": "m1" }));
        Ok(())
    })
}
