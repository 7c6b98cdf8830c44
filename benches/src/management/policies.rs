//! Very many policies: how large the server is with them, their lists, and saving one that is large itself.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::arguments::ManagementArguments;
use super::copies;
use super::measure::Bench;
use crate::agents::StoreKind;
use crate::agents::server::{Place, Server};
use crate::agents::store::Store;
use crate::error::BenchError;
use crate::samples::Samples;

const POLICIES: &str = "/api/fleet/agent_policies";
const INTEGRATIONS: &str = "/api/fleet/package_policies";
/// Items of a page.
const PAGE: usize = 100;
/// The policy that is saved again and again.
const LARGE: &str = "bench-large";
/// Its integrations.
const MANY: usize = 100;
/// The longest time for a list, or a save.
const MOST_MILLIS: f64 = 50.0;
/// The most memory in MB with all of them.
const MOST_MEMORY: f64 = 250.0;
/// What the others are copies of, with their integrations: three for two policies.
const TEMPLATES: [(&str, &[&str]); 2] =
    [("bench-one-template", &["system"]), ("bench-two-template", &["system", "filestream"])];

/// Measures over one store.
pub(super) async fn measure(
    bench: &mut Bench<'_>,
    kind: StoreKind,
    program: &Path,
    folder: &Path,
) -> Result<(), BenchError> {
    let ManagementArguments { policies, options, .. } = bench.arguments;
    let store = Store::start(kind, folder).await?;
    let place = Place::new(program, folder, &store, options)?;
    let (mut server, _) = place.start().await?;
    for (id, packages) in TEMPLATES {
        make(&mut server, id, packages).await?;
    }
    let various: Vec<&str> =
        ["system", "filestream", "journald", "otlp"].into_iter().cycle().take(MANY).collect();
    make(&mut server, LARGE, &various).await?;
    server.stop().await?;
    copies::store(&store, TEMPLATES.map(|(id, _)| id), *policies).await?;
    let (mut server, took) = place.start().await?;
    let started = [took.as_secs_f64()].into_iter().collect();
    bench.figure(&format!("start with {policies} policies"), "s", &started, None);
    memory(bench, &server, "memory with these policies")?;
    lists(bench, &mut server).await?;
    saves(bench, &mut server).await?;
    memory(bench, &server, "memory after lists and saves of policies")?;
    server.stop().await
}

fn memory(bench: &mut Bench<'_>, server: &Server, name: &str) -> Result<(), BenchError> {
    let resident = [server.process().memory()?.resident].into_iter().collect();
    bench.figure(name, "MB", &resident, Some(MOST_MEMORY));
    Ok(())
}

/// A policy with these integrations.
async fn make(server: &mut Server, id: &str, packages: &[&str]) -> Result<(), BenchError> {
    let body =
        json!({"id": id, "name": id, "namespace": "default", "monitoring_enabled": ["logs", "metrics"]});
    let _: Value = server.management.post(POLICIES, body.to_string()).await?;
    for (number, package) in packages.iter().enumerate() {
        let shown: Value = server.management.get(&format!("/api/fleet/epm/packages/{package}")).await?;
        let body = json!({
            "id": format!("{id}-{number}"),
            "name": format!("{id}-{number}"),
            "policy_ids": [id],
            "package": {"name": package, "version": shown["item"]["latestVersion"]},
            "inputs": inputs(package, number),
        });
        let _: Value = server.management.post(INTEGRATIONS, body.to_string()).await?;
    }
    Ok(())
}

/// What has to be said, and else what the package has.
fn inputs(package: &str, number: usize) -> Value {
    let paths = json!({"paths": [format!("/var/log/shop-{number}/*.log")], "data_stream.dataset": "shop"});
    match package {
        "filestream" => {
            json!({"filestream-filestream": {"streams": {"filestream.filestream": {"vars": paths}}}})
        }
        _ => json!({}),
    }
}

async fn lists(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    for (what, all) in [("agent policies", POLICIES), ("package policies", INTEGRATIONS)] {
        for (how, query) in [
            ("as they are stored", ""),
            (
                "by name, filtered",
                "&sortField=name&sortOrder=desc&kuery=name:bench-*%20and%20not%20name:*77*",
            ),
            ("by their last change", "&sortField=updated_at&sortOrder=desc"),
        ] {
            let path = format!("{all}?perPage={PAGE}{query}");
            let name = format!("{what}, {how}: the first page of 100");
            let first = bench.asked(server, &name, &path, Some(MOST_MILLIS)).await?;
            let total = first["total"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
            if total < bench.arguments.policies * 4 / 5 {
                return Err(BenchError::Wrong(format!("{total} {what} are listed")));
            }
            let path = format!("{path}&page={}", total.div_ceil(PAGE));
            bench.asked(server, &format!("{what}, {how}: the last page"), &path, Some(MOST_MILLIS)).await?;
        }
    }
    let path = format!("{POLICIES}?perPage={PAGE}&full=true&withAgentCount=true");
    bench.asked(server, "agent policies with their integrations: the first page of 100", &path, None).await?;
    Ok(())
}

/// A policy with a hundred integrations is saved: itself, and one of its integrations.
async fn saves(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    let (mut whole, mut one) = (Samples::new(), Samples::new());
    for round in 0..bench.arguments.rounds {
        let description = json!({"description": format!("round {round}")}).to_string();
        for (path, samples) in
            [(format!("{POLICIES}/{LARGE}"), &mut whole), (format!("{INTEGRATIONS}/{LARGE}-1"), &mut one)]
        {
            let began = Instant::now();
            server.management.ask("PUT", &path, Some(description.clone())).await?;
            samples.push_millis(began.elapsed());
        }
    }
    let shown: Value = server.management.get(&format!("{POLICIES}/{LARGE}/full")).await?;
    let size = [shown["item"].to_string().len() as f64 / 1024.0].into_iter().collect();
    bench.figure(&format!("a policy with {MANY} integrations: what agents get"), "KiB", &size, None);
    bench.figure(&format!("a policy with {MANY} integrations: saved"), "ms", &whole, Some(MOST_MILLIS));
    bench.figure("one of its integrations: saved", "ms", &one, Some(MOST_MILLIS));
    Ok(())
}
