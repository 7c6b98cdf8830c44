//! What is asked, and the figures.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::arguments::{ManagementArguments, Part};
use super::policies;
use super::seed::seed;
use crate::agents::StoreKind;
use crate::agents::server::{Place, Server};
use crate::agents::store::Store;
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

/// Policies that the agents have.
const POLICIES: usize = 10;
/// Agents of a page.
const PAGE: usize = 100;
/// All agents have another policy after this long, at worst.
const BOUND: Duration = Duration::from_secs(120);
/// What the filtered lists are filtered by: three of four agents.
const FILTER: &str = "status:online%20and%20not%20tags:ring-3%20and%20agent.version%3E=8.19";

/// What is measured over one store.
pub(super) struct Bench<'a> {
    pub(super) arguments: &'a ManagementArguments,
    label: String,
    figures: Vec<Figure>,
}

impl Bench<'_> {
    pub(super) fn figure(&mut self, name: &str, unit: &'static str, samples: &Samples, most: Option<f64>) {
        let figure = Figure::new(format!("{}: {name}", self.label), unit, samples);
        let target = Target { max: most, ..Target::default() };
        self.figures.push(if most.is_some() { figure.target(target) } else { figure });
    }

    /// Asks for a list again and again.
    pub(super) async fn asked(
        &mut self,
        server: &mut Server,
        name: &str,
        path: &str,
        most: Option<f64>,
    ) -> Result<Value, BenchError> {
        let (mut took, mut last) = (Samples::new(), Value::Null);
        for _ in 0..self.arguments.rounds {
            let began = Instant::now();
            last = server.management.get(path).await?;
            took.push_millis(began.elapsed());
        }
        self.figure(name, "ms", &took, most);
        Ok(last)
    }
}

/// Measures over one store. What was measured until something failed is returned as well.
pub(super) async fn run(
    arguments: &ManagementArguments,
    kind: StoreKind,
    program: &Path,
    folder: &Path,
) -> (Vec<Figure>, Result<(), BenchError>) {
    let mut bench = Bench { arguments, label: kind.to_string(), figures: Vec::new() };
    let mut outcome = Ok(());
    for part in &arguments.part {
        // Each has a server and a store of its own.
        let folder = folder.join(part.to_string());
        let made = std::fs::create_dir(&folder).map_err(BenchError::file("make", &folder));
        let measured = match (made, part) {
            (Err(error), _) => Err(error),
            (Ok(()), Part::Agents) => measure(&mut bench, kind, program, &folder).await,
            (Ok(()), Part::Policies) => policies::measure(&mut bench, kind, program, &folder).await,
        };
        outcome = outcome.and(measured);
    }
    (bench.figures, outcome)
}

fn policy(number: usize) -> String {
    format!("bench-{number}")
}

async fn measure(
    bench: &mut Bench<'_>,
    kind: StoreKind,
    program: &Path,
    folder: &Path,
) -> Result<(), BenchError> {
    let store = Store::start(kind, folder).await?;
    let place = Place::new(program, folder, &store, &bench.arguments.options)?;
    let (mut server, _) = place.start().await?;
    let policies: Vec<String> = (0..POLICIES).map(policy).collect();
    for id in policies.iter().chain([&policy(POLICIES)]) {
        let body = json!({"id": id, "name": id, "namespace": "default"}).to_string();
        let _: Value = server.management.post("/api/fleet/agent_policies", body).await?;
    }
    server.stop().await?;
    seed(&store, &policies, bench.arguments.stored).await?;
    let (mut server, _) = place.start().await?;
    let memory = [server.process().memory()?.resident].into_iter().collect();
    bench.figure(&format!("memory, {} agents stored", bench.arguments.stored), "MB", &memory, None);
    lists(bench, &mut server).await?;
    summaries(bench, &mut server).await?;
    let memory = [server.process().memory()?.resident].into_iter().collect();
    bench.figure("memory after these lists", "MB", &memory, None);
    reassignments(bench, &mut server).await?;
    server.stop().await
}

async fn lists(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    for (what, sort) in [
        ("newest first", "enrolled_at&sortOrder=desc"),
        ("by host", "hostname"),
        ("by last check-in", "last_checkin&sortOrder=desc"),
        ("by version", "agent.version&sortOrder=desc"),
    ] {
        let path = format!("/api/fleet/agents?perPage={PAGE}&kuery={FILTER}&sortField={sort}");
        let first = bench
            .asked(server, &format!("{what}, filtered: the first page of 100"), &path, Some(50.0))
            .await?;
        let total = first["total"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
        if total < bench.arguments.stored / 2 {
            return Err(BenchError::Wrong(format!("{total} agents are listed")));
        }
        let last = total.div_ceil(PAGE);
        for (name, page) in [("a page in the middle", last / 2), ("the last page", last)] {
            let path = format!("{path}&page={page}");
            bench.asked(server, &format!("{what}, filtered: {name}"), &path, Some(50.0)).await?;
        }
    }
    let path = format!("/api/fleet/agents?perPage={PAGE}");
    bench.asked(server, "all, newest first: the first page", &path, Some(50.0)).await?;
    cursor(bench, server).await
}

/// All agents, page by page from cursor to cursor.
async fn cursor(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    let (mut took, mut met) = (Samples::new(), 0);
    let base = "/api/fleet/agents?perPage=10000&sortField=hostname";
    let mut path = base.to_owned();
    let began = Instant::now();
    loop {
        let page: Value = server.management.get(&path).await?;
        met += page["items"].as_array().map_or(0, Vec::len);
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{base}&cursor={cursor}");
    }
    took.push_millis(began.elapsed());
    bench.figure("all agents by cursor, pages of 10000: the whole", "ms", &took, None);
    if met != bench.arguments.stored {
        return Err(BenchError::Wrong(format!("a cursor met {met} agents")));
    }
    Ok(())
}

async fn summaries(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    let status = "/api/fleet/agent_status";
    let all = bench.asked(server, "status summary", status, Some(10.0)).await?;
    if all["results"]["all"] != bench.arguments.stored {
        return Err(BenchError::Wrong(format!("the summary is {all}")));
    }
    let path = format!("{status}?policyId={}", policy(0));
    bench.asked(server, "status summary of a policy", &path, Some(10.0)).await?;
    let path = format!("{status}?kuery=tags:ring-1");
    bench.asked(server, "status summary of a query", &path, Some(50.0)).await?;
    bench.asked(server, "tags", "/api/fleet/agents/tags", Some(50.0)).await?;
    bench.asked(server, "facets", "/api/fleet/agents/facets", Some(50.0)).await?;
    Ok(())
}

/// All agents get another policy, and then another.
async fn reassignments(bench: &mut Bench<'_>, server: &mut Server) -> Result<(), BenchError> {
    let (mut accepted, mut done, mut offline) = (Samples::new(), Samples::new(), Samples::new());
    let (stored, mut most_offline) = (bench.arguments.stored as u64, 0);
    for round in 0..bench.arguments.reassignments {
        let target = policy(if round % 2 == 0 { POLICIES } else { 0 });
        let body = json!({"agents": "*", "policy_id": target}).to_string();
        let began = Instant::now();
        let _: Value = server.management.post("/api/fleet/agents/bulk_reassign", body).await?;
        accepted.push_millis(began.elapsed());
        let path = format!("/api/fleet/agent_status?policyId={target}");
        let management = &mut server.management;
        until("all agents have the policy", BOUND, Duration::from_millis(20), async || {
            let all: Value = management.get("/api/fleet/agent_status").await?;
            most_offline = most_offline.max(all["results"]["offline"].as_u64().unwrap_or(u64::MAX));
            let counts: Value = management.get(&path).await?;
            let count = counts["results"]["all"].as_u64().unwrap_or(0);
            Ok(if count == stored { Look::Found(()) } else { Look::NotYet(format!("{count} have it")) })
        })
        .await?;
        done.push_millis(began.elapsed());
    }
    offline.push(most_offline as f64);
    let name = |what: &str| format!("another policy for {stored}: {what}");
    bench.figure(&name("accepted"), "ms", &accepted, Some(1000.0));
    bench.figure(&name("all have it"), "ms", &done, Some(5000.0));
    bench.figure(&name("shown offline meanwhile"), "agents", &offline, Some(0.0));
    Ok(())
}
