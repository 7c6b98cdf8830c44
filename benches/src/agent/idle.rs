//! With nothing to do: memory and processor time of all, over the same minute.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::arguments::AgentArguments;
use super::fleet::{Fleet, Policy, port};
use super::peers;
use super::shipper::Shipper;
use super::sink::Sink;
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;

/// The most memory in MB with the integration `system`.
const MOST_MEMORY: f64 = 15.0;
/// The most processor time, in hundredths of a core.
const MOST_TIME: f64 = 0.3;

/// What was seen of one.
#[derive(Debug, Default)]
struct Seen {
    resident: Samples,
    anonymous: Samples,
}

/// Watches an agent with the integration `system` and peers that follow one file.
pub(super) async fn measure(
    arguments: &AgentArguments,
    folder: &Path,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let sink = Sink::start().await?;
    let (mut fleet, port) = (Fleet::start(folder).await?, port()?);
    let policy = Policy { id: "bench-idle", engine: &sink.url(), gzip: true, inputs: Value::Null, port };
    let key = fleet.policy(&policy).await?;
    fleet.integrate(policy.id, "system").await?;
    let mut agent = fleet.agent("idle", &key, (&folder.join("nothing"), &sink), port).await?;
    "fleet-agent with `system`".clone_into(&mut agent.name);
    agent.note.clear();
    let mut all = vec![agent, peers::rsyslog(&folder.join("rsyslog"), &sink, true)?];
    let collector = peers::build_collector().await?;
    all.push(peers::collector(&collector, &folder.join("collector"), &sink, true)?);
    for peer in &mut all[1..] {
        peer.ship("first", 1000).await?;
        peer.note = "follows one file".to_owned();
    }
    tokio::time::sleep(Duration::from_secs(arguments.settle)).await;
    let mut seen: Vec<Seen> = all.iter().map(|_| Seen::default()).collect();
    let before = times(&all)?;
    for _ in 0..arguments.idle {
        for (one, seen) in all.iter().zip(&mut seen) {
            let memory = one.process.memory()?;
            seen.resident.push(memory.resident);
            seen.anonymous.push(memory.anonymous);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let after = times(&all)?;
    for (index, (one, seen)) in all.iter().zip(&seen).enumerate() {
        let share = (after[index] - before[index]) / arguments.idle as f64 * 100.0;
        let resident = Figure::new(format!("{}, idle: resident memory", one.name), "MB", &seen.resident);
        let time = [share].into_iter().collect();
        let time = Figure::new(format!("{}, idle: processor time", one.name), "% of a core", &time);
        let own = Figure::new(format!("{}, idle: its own memory", one.name), "MB", &seen.anonymous);
        let most = |most| Target { max: Some(most), ..Target::default() };
        let (resident, time) = match index {
            0 => (resident.target(most(MOST_MEMORY)), time.target(most(MOST_TIME))),
            _ => (resident.note(one.note.clone()), time),
        };
        figures.extend([resident, own, time]);
    }
    drop(all);
    fleet.stop().await
}

fn times(all: &[Shipper]) -> Result<Vec<f64>, BenchError> {
    all.iter().map(|one| one.process.processor_time()).collect()
}
