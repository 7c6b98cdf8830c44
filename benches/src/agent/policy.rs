//! From a policy that is saved to one that is carried out.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::arguments::AgentArguments;
use super::fleet::{Fleet, Policy, files, port, well};
use super::lines;
use super::shipper::make;
use super::sink::Sink;
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

/// The inputs of a large policy.
const MANY: usize = 200;
/// The longest time for a policy, and for a large one, in ms.
const SOON: f64 = 100.0;
const SOON_MANY: f64 = 1000.0;
/// Lines that each input finds.
const FEW: usize = 10;
/// The longest time for all of them to arrive.
const ARRIVES: Duration = Duration::from_secs(60);
/// An agent waits so long between two check-ins at most; then it is asked again.
const PAUSE: Duration = Duration::from_secs(3);

/// Saves policies that differ, with few inputs and with very many.
pub(super) async fn measure(
    arguments: &AgentArguments,
    folder: &Path,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let (sink, port) = (Sink::start().await?, port()?);
    let mut fleet = Fleet::start(folder).await?;
    let mut policy = Policy { id: "bench-policy", engine: &sink.url(), gzip: true, inputs: json!([]), port };
    let key = fleet.policy(&policy).await?;
    let _agent = fleet.agent("policy", &key, (&folder.join("logs"), &sink), port).await?;
    let (mut one, mut many) = (Samples::new(), Samples::new());
    let mut many_arrived = Samples::new();
    for number in 0..MANY {
        let logs = folder.join(format!("logs-{number}"));
        make(&logs)?;
        lines::write(&logs, "few", FEW)?;
    }
    for round in 0..arguments.rounds {
        for count in [1, MANY] {
            tokio::time::sleep(PAUSE).await;
            policy.inputs = inputs(folder, round, count);
            let wanted = sink.lines() + (count * FEW) as u64;
            let began = Instant::now();
            let revision = fleet.save(&policy).await?;
            let saved = began.elapsed();
            let applied = well(port, revision).await?;
            if count == 1 {
                one.push_millis(saved + applied);
            } else {
                many.push_millis(saved + applied);
            }
            until("a line of each input arrives", ARRIVES, Duration::from_millis(2), async || {
                let seen = sink.lines();
                Ok(if seen >= wanted { Look::Found(()) } else { Look::NotYet(seen.to_string()) })
            })
            .await?;
            if count == MANY {
                many_arrived.push_millis(began.elapsed());
            }
        }
    }
    let most = |most| Target { max: Some(most), ..Target::default() };
    let name = "policy with an input: sent to be saved until the agent carries it out";
    figures.push(Figure::new(name, "ms", &one).target(most(SOON)));
    let name = format!("policy with {MANY} inputs: sent to be saved until the agent carries it out");
    figures.push(Figure::new(name, "ms", &many).target(most(SOON_MANY)));
    let name = format!("policy with {MANY} inputs: until lines of all of them have arrived");
    let note = "an output waits for company for a second";
    figures.push(Figure::new(name, "ms", &many_arrived).note(note));
    fleet.stop().await
}

/// Inputs that no round before had.
fn inputs(folder: &Path, round: usize, count: usize) -> Value {
    let input = |number: usize| {
        files(&format!("input-{round}-{count}-{number}"), &folder.join(format!("logs-{number}")))
    };
    (0..count).map(input).collect()
}
