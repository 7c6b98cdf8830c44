//! One run over one store: a server from its first start to the end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::arguments::{AgentsArguments, Phase, StoreKind};
use super::measure::{Bench, one};
use super::server::{Place, Server};
use super::store::Store;
use super::swarm::{Enrolling, Swarm, enrol};
use super::tally::Tally;
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;

/// All agents are held after this long, at worst.
const BOUND: Duration = Duration::from_secs(180);
/// Enrolments at a time.
const ENROLMENTS: usize = 64;
/// Of the enrolments, so many come over a connection each.
const CONNECTING: usize = 3000;
/// Agents that change their status again and again, over two connections each.
const CHANGING: usize = 256;
/// Starts that are measured.
const STARTS: usize = 3;

/// Measures over one store. What was measured until something failed is returned as well.
pub(super) async fn run(
    arguments: &AgentsArguments,
    kind: StoreKind,
    program: &Path,
    folder: &Path,
) -> (Vec<Figure>, Result<(), BenchError>) {
    let store = match Store::start(kind, folder).await {
        Ok(store) => store,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut bench = Bench {
        arguments,
        store: &store,
        label: kind.to_string(),
        tally: Arc::new(Tally::default()),
        figures: Vec::new(),
        version: 0,
    };
    let outcome = measure(&mut bench, program, folder).await;
    let unexpected = bench.tally.all_unexpected();
    let count: u64 = unexpected.values().sum();
    let note: Vec<String> = unexpected.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    let target = Target { max: Some(0.0), ..Target::default() };
    let name = format!("{kind}: anything unexpected");
    let figure = Figure::new(name, "times", &one(count as f64)).target(target);
    bench.figures.push(figure.note(note.join("; ")));
    (bench.figures, outcome)
}

async fn measure(bench: &mut Bench<'_>, program: &Path, folder: &Path) -> Result<(), BenchError> {
    let arguments = bench.arguments;
    let place = Place::new(program, folder, bench.store, &arguments.options)?;
    let (mut server, took) = place.start().await?;
    bench.figure("first start to ready", "ms", &one(took.as_secs_f64() * 1e3));
    let key = server.make_policy(arguments.policy).await?;
    let (agents, changing) = enrolments(bench, &server, &key).await?;

    // They get their first policy; what is measured then is measured with a server that has only seen them come back.
    let began = Instant::now();
    let swarm = start(bench, &server, &agents);
    swarm.held(BOUND).await?;
    let name = format!("{} start: all have their policy and are held", agents.len());
    bench.figure(&name, "s", &one(began.elapsed().as_secs_f64()));
    swarm.stop().await;
    server.stop().await?;

    let (mut server, _) = place.start().await?;
    if [Phase::Memory, Phase::Idle, Phase::Rollout, Phase::Ack, Phase::Status]
        .iter()
        .any(|phase| arguments.wants(*phase))
    {
        with_held(bench, &mut server, &agents, &changing).await?;
    }
    if arguments.wants(Phase::Start) || arguments.wants(Phase::Action) {
        server.stop().await?;
        let known = agents.len() + changing.len();
        let template = agents.first().ok_or_else(|| BenchError::Wrong("no agents".to_owned()))?;
        bench.store.seed(&template.id, arguments.stored.saturating_sub(known)).await?;
        server = starts(bench, &place).await?;
        if arguments.wants(Phase::Action) {
            let swarm = start(bench, &server, &agents);
            bench.action(&mut server, &swarm, agents.len(), arguments.stored.max(known)).await?;
            swarm.stop().await;
        }
    }
    server.stop().await
}

fn start(bench: &Bench<'_>, server: &Server, agents: &[Arc<Agent>]) -> Swarm {
    Swarm::start(&server.target, agents, &bench.tally, bench.arguments.connections == 2)
}

/// Enrols all agents, and some more that will change their status again and again.
async fn enrolments(
    bench: &mut Bench<'_>,
    server: &Server,
    key: &str,
) -> Result<(Vec<Arc<Agent>>, Vec<Arc<Agent>>), BenchError> {
    let count = bench.arguments.agents;
    let connecting = CONNECTING.min(count / 3);
    let time = || server.process().processor_time();
    let how =
        |first, count, is_connecting| Enrolling { key, first, count, at_a_time: ENROLMENTS, is_connecting };
    let start = time()?;
    let mut connected = enrol(&server.target, how(0, connecting, true)).await?;
    let middle = time()?;
    let kept = enrol(&server.target, how(connecting, count - connecting, false)).await?;
    let end = time()?;
    let changing = enrol(&server.target, how(count, CHANGING, false)).await?;
    if bench.arguments.wants(Phase::Enrol) {
        for (what, done, cost) in [
            ("enrolments, a connection each", &connected, middle - start),
            ("enrolments, connections kept", &kept, end - middle),
        ] {
            let count = done.agents.len() as f64;
            let target = Target { at_least: Some(1500.0), ..Target::default() };
            bench.goal(what, "1/s", &one(count / done.took.as_secs_f64()), target).original =
                "105; 362 unlimited";
            bench.figure("processor time for each", "ms", &one(cost * 1e3 / count));
            bench.figure("answers of 429 meanwhile", "times", &one(done.refused as f64));
        }
    }
    let mut agents = std::mem::take(&mut connected.agents);
    agents.extend(kept.agents);
    Ok((agents, changing.agents))
}

/// What is measured while all agents are held.
async fn with_held(
    bench: &mut Bench<'_>,
    server: &mut Server,
    agents: &[Arc<Agent>],
    changing: &[Arc<Agent>],
) -> Result<(), BenchError> {
    let arguments = bench.arguments;
    let count = agents.len();
    let before = server.process().memory()?;
    let time = server.process().processor_time()?;
    let swarm = start(bench, server, agents);
    swarm.held(BOUND).await?;
    let kilobytes = |now: f64| one((now - before.resident) * 1e3 / count as f64);
    if arguments.wants(Phase::Memory) {
        let now = server.process().memory()?;
        let target = Target { max: Some(16.0), ..Target::default() };
        bench
            .goal(&format!("memory for each of {count} held"), "KB", &kilobytes(now.resident), target)
            .original = "131 to 140";
        bench.figure("memory with none held", "MB", &one(before.resident));
        let time = server.process().processor_time()? - time;
        bench.figure("processor time to come back, for each", "ms", &one(time * 1e3 / count as f64));
    }
    if arguments.wants(Phase::Idle) {
        bench.idle(server, count).await?;
    }
    if arguments.wants(Phase::Rollout) {
        bench.rollout(server, &swarm, count).await?;
        let now = server.process().memory()?;
        bench.figure("memory for each after these revisions", "KB", &kilobytes(now.resident));
    }
    if arguments.wants(Phase::Ack) {
        bench.acks(server, &swarm, agents).await?;
    }
    if arguments.wants(Phase::Status) {
        swarm.held(BOUND).await?;
        let revision = agents.iter().find_map(|agent| agent.policy());
        for agent in changing {
            agent.pretend(revision.as_ref());
        }
        bench.status(server, changing).await?;
    }
    swarm.stop().await;
    Ok(())
}

/// Starts the server again and again; the last one stays.
async fn starts(bench: &mut Bench<'_>, place: &Place) -> Result<Server, BenchError> {
    let (mut times, mut memory, mut cost) = (Samples::new(), Samples::new(), Samples::new());
    loop {
        let (server, took) = place.start().await?;
        times.push_millis(took);
        memory.push(server.process().memory()?.resident);
        cost.push(server.process().processor_time()? * 1e3);
        if times.len() < STARTS {
            server.stop().await?;
            continue;
        }
        if bench.arguments.wants(Phase::Start) {
            let most = |max: f64| Target { max: Some(max), ..Target::default() };
            let stored = bench.arguments.stored;
            bench.goal(&format!("start to ready, {stored} stored"), "ms", &times, most(2000.0));
            bench.goal("memory then", "MB", &memory, most(150.0));
            bench.figure("processor time of the start", "ms", &cost);
        }
        return Ok(server);
    }
}
