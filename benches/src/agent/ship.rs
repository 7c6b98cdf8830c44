//! The same file by each, into the same kind of sink; and by the agent into a real engine.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_test_engine::{Engine, EngineError};
use serde_json::{Value, json};

use super::arguments::AgentArguments;
use super::fleet::{Fleet, Policy, files, port};
use super::shipper::Shipper;
use super::sink::Sink;
use super::{lines, peers};
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

/// The longest time for a file to be found in an engine.
const FOUND: Duration = Duration::from_mins(5);

/// How much more the agent ships with the same processor time than the better peer.
const LEAST: f64 = 1.5;

/// What was seen of one.
#[derive(Debug, Default)]
struct Seen {
    /// Lines per second of processor time.
    thrift: Samples,
    /// Lines per second.
    speed: Samples,
}

/// Each ships file after file, in turn; with requests as they are, and packed.
pub(super) async fn measure(
    arguments: &AgentArguments,
    folder: &Path,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let collector = peers::build_collector().await?;
    let mut fleet = Fleet::start(folder).await?;
    for gzip in [false, true] {
        let how = if gzip { "packed" } else { "plain" };
        let place = |who: &str| folder.join(format!("{who}-{how}"));
        let (port, sink) = (port()?, Sink::start().await?);
        let logs = place("agent");
        let id = format!("bench-{how}");
        let inputs = json!([files("lines", &logs)]);
        let policy = Policy { id: &id, engine: &sink.url(), gzip, inputs, port };
        let key = fleet.policy(&policy).await?;
        let mut all = vec![
            fleet.agent(how, &key, (&logs, &sink), port).await?,
            peers::rsyslog(&place("rsyslog"), &Sink::start().await?, gzip)?,
            peers::collector(&collector, &place("collector"), &Sink::start().await?, gzip)?,
        ];
        rounds(arguments, how, &mut all, figures).await?;
    }
    fleet.stop().await
}

async fn rounds(
    arguments: &AgentArguments,
    how: &str,
    all: &mut [Shipper],
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    for one in &mut *all {
        // Whoever starts has other things to do.
        one.ship("first", 1000).await?;
    }
    let mut seen: Vec<Seen> = all.iter().map(|_| Seen::default()).collect();
    for round in 0..arguments.rounds {
        for (one, seen) in all.iter_mut().zip(&mut seen) {
            let (used, took) = one.ship(&format!("round-{round}"), arguments.lines).await?;
            seen.thrift.push(arguments.lines as f64 / used);
            seen.speed.push(arguments.lines as f64 / took.as_secs_f64());
        }
    }
    let best = |seen: &Seen| seen.thrift.quantile(1.0).unwrap_or_default();
    let better = seen[1..].iter().map(best).fold(0.0, f64::max);
    let ratio = [best(&seen[0]) / better].into_iter().collect();
    for (one, seen) in all.iter().zip(&seen) {
        let bytes = one.sink.bytes() / one.sink.lines().max(1);
        let name = format!("{}, {how}: lines per second of processor time", one.name);
        let note = format!("{bytes} bytes a line; {}", one.note);
        figures.push(Figure::new(name, "lines/s", &seen.thrift).note(note));
        figures.push(Figure::new(format!("{}, {how}: lines per second", one.name), "lines/s", &seen.speed));
    }
    let target = Target { at_least: Some(LEAST), ..Target::default() };
    let name = format!("{how}: the agent's best round over the better peer's");
    figures.push(Figure::new(name, "times", &ratio).target(target));
    tokio::time::sleep(Duration::from_secs(10)).await;
    for one in all.iter() {
        let (now, most) = (one.process.memory()?.resident, one.process.most_memory()?);
        let both = |value: f64| [value].into_iter().collect();
        figures.push(Figure::new(format!("{}, {how}: most memory", one.name), "MB", &both(most)));
        figures.push(Figure::new(format!("{}, {how}: memory 10 s later", one.name), "MB", &both(now)));
    }
    Ok(())
}

/// One file by the agent into a real OpenSearch: every line is there, once.
pub(super) async fn into_an_engine(
    arguments: &AgentArguments,
    folder: &Path,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let fault = |error: EngineError| BenchError::Wrong(error.chain());
    let engine = Engine::start().await.map_err(fault)?;
    let template = json!({
        "index_patterns": ["logs-*"], "data_stream": {}, "priority": 100,
        "template": {"settings": {"number_of_replicas": 0, "refresh_interval": "1s"}},
    });
    let put = engine.put("/_index_template/bench", &template).await;
    put.and_then(fleet_test_engine::Reply::success).map_err(fault)?;
    let mut fleet = Fleet::start(folder).await?;
    let (port, sink, logs) = (port()?, Sink::start().await?, folder.join("agent"));
    let inputs = json!([files("lines", &logs)]);
    let policy = Policy { id: "bench-engine", engine: engine.url(), gzip: true, inputs, port };
    let key = fleet.policy(&policy).await?;
    let agent = fleet.agent("engine", &key, (&logs, &sink), port).await?;
    lines::write(&logs, "engine", arguments.lines)?;
    let (began, processor) = (Instant::now(), agent.process.processor_time()?);
    let all: Value = json!({"match_all": {}});
    let wanted = arguments.lines as u64;
    until("all lines are found in the engine", FOUND, Duration::from_millis(200), async || {
        // The data stream comes with the first line.
        let found = engine.count("logs-bench-default", &all).await.unwrap_or_default();
        Ok(if found >= wanted { Look::Found(()) } else { Look::NotYet(found.to_string()) })
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    let used = agent.process.processor_time()? - processor;
    let found = engine.count("logs-bench-default", &all).await.map_err(fault)?;
    if found != wanted {
        return Err(BenchError::Wrong(format!("{found} of {wanted} lines are in the engine")));
    }
    let one = |value: f64| [value].into_iter().collect();
    let speed = one(arguments.lines as f64 / took);
    let thrift = one(arguments.lines as f64 / used);
    figures.push(
        Figure::new("fleet-agent into OpenSearch: lines per second", "lines/s", &speed)
            .note(format!("{found} lines, each once; until a search finds them")),
    );
    let name = "fleet-agent into OpenSearch: lines per second of processor time";
    figures.push(Figure::new(name, "lines/s", &thrift));
    drop(agent);
    fleet.stop().await
}
