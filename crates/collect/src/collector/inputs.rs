//! Inputs, brought up and kept up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::failures::Reasons;
use super::outputs::OutputPart;
use super::{Collector, Common, Running};
use crate::config::{Config, Mistake, Mistakes, merge, nested};
use crate::input::{self, Builder, Context, Definition, Input};
use crate::link::Link;
use crate::plan::InputUnit;
use crate::processor::Chain;
use crate::state::{State, Status, Unit};
use crate::stream::OwnFields;

/// An input that failed is tried again after this, and after twice as long each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// An input that runs.
#[derive(Debug)]
pub(super) struct RunningInput {
    pub(super) unit: InputUnit,
    /// What of its output it depends on.
    pub(super) output: Option<OutputPart>,
    /// What it calls the machine.
    pub(super) host_name: Arc<str>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Keys of a policy's input that are not settings of its streams.
const ENVELOPE: [&str; 11] = [
    "id",
    "name",
    "revision",
    "type",
    "use_output",
    "meta",
    "package_policy_id",
    "streams",
    "enabled",
    "condition",
    "original_id",
];

impl Collector {
    /// Starts an input, unless it is running.
    pub(super) fn start_input(&self, running: &mut Running, unit: InputUnit) {
        if running.inputs.contains_key(&unit.id) {
            return;
        }
        let name = Unit::Input(unit.id.clone());
        let board = &self.common.board;
        let mut failed = |problem: String| {
            board.unit(&name, Status::new(State::Failed, problem.clone()));
            running.failures.built(&name, Reasons::from([(String::new(), problem)]));
        };
        let Some(definition) = input::definition(&unit.kind) else {
            failed(format!("type: {:?} is no input that this agent has", unit.kind));
            return;
        };
        let Some(link) = running.links.get(&unit.output).cloned() else {
            failed(format!("use_output: the policy has no output {:?}", unit.output));
            return;
        };
        let output = running.outputs.get(&unit.output).map(|output| OutputPart::of(&output.unit));
        board.unit(&name, Status::new(State::Starting, "starting"));
        let stop = self.stop.child_token();
        let tasks = TaskTracker::new();
        let processors = output.as_ref().and_then(|output| output.processors.clone());
        let mut failures = Reasons::new();
        for (id, config) in streams(&unit) {
            let host_name = &*running.host_name;
            let processors = processors.as_ref();
            let part = Part { unit: &unit, id: &id, config, processors, definition, host_name };
            match part.build(&self.common, &link, &stop) {
                Ok((input, context)) => {
                    board.stream(&unit.id, &id, Status::new(State::Starting, "starting"));
                    tasks.spawn(keep_running(input, context));
                }
                Err(mistakes) => {
                    board.stream(&unit.id, &id, Status::new(State::Failed, mistakes.to_string()));
                    failures.insert(id, mistakes.to_string());
                }
            }
        }
        running.failures.built(&name, failures);
        let host_name = Arc::clone(&running.host_name);
        running.inputs.insert(unit.id.clone(), RunningInput { unit, output, host_name, stop, tasks });
    }
}

/// One stream of an input, to be built.
struct Part<'a> {
    unit: &'a InputUnit,
    id: &'a str,
    config: Map<String, Value>,
    processors: Option<&'a Value>,
    definition: &'static Definition,
    host_name: &'a str,
}

impl Part<'_> {
    fn build(
        self,
        common: &Common,
        link: &Arc<Link>,
        stop: &CancellationToken,
    ) -> Result<(Box<dyn Input>, Context), Mistakes> {
        let config = Config::gathering(&self.config);
        config.allow(&["processors", "data_stream", "id", "publisher_pipeline", "keep_null", "index"]);
        let lists = [
            ("processors", self.config.get("processors")),
            ("input processors", self.unit.config.get("processors").filter(|_| has_streams(self.unit))),
            ("output processors", self.processors),
        ];
        let chain = Chain::build(&lists, &common.processors);
        let chain = config.or_all(Chain::default(), chain)?;
        let mut unknown = chain.unknown().to_vec();
        let mut builder = Builder {
            config: &config,
            kind: &self.unit.kind,
            input: &self.unit.id,
            id: self.id,
            signal: self.definition.signal,
            settings: &common.settings,
            host_name: self.host_name,
            machine: &common.machine,
            hub: &common.hub,
            notifier: &common.notifier,
            chain: Some(chain),
            counters: common.counters.clone(),
            stream: None,
        };
        let input = (self.definition.build)(&mut builder);
        if input.is_err() && builder.stream.is_none() {
            // For the mistakes in what all streams have.
            let _ = builder.stream(OwnFields::Any);
        }
        let input = config.judge(input)?;
        let stream = builder.stream.ok_or_else(|| Mistake::new("type", "this input has built no stream"))?;
        unknown.splice(0..0, config.unknown());
        if !unknown.is_empty() {
            tracing::warn!(stream = self.id, ?unknown, "settings that are not known have no effect");
        }
        let note = if unknown.is_empty() {
            String::new()
        } else {
            format!("settings without effect here: {}", unknown.join(", "))
        };
        let context = Context {
            stream,
            link: Arc::clone(link),
            positions: common.registry.positions(self.id),
            board: common.board.clone(),
            note,
            stop: stop.clone(),
        };
        Ok((input, context))
    }
}

fn has_streams(unit: &InputUnit) -> bool {
    unit.config.get("streams").and_then(Value::as_array).is_some_and(|streams| !streams.is_empty())
}

/// What the streams of an input are called.
pub(super) fn stream_ids(unit: &InputUnit) -> Vec<String> {
    streams(unit).into_iter().map(|(id, _)| id).collect()
}

/// The streams of an input with their settings: their own, over those of the input. An input without streams is one
/// itself. Processors are not merged: both lists are run.
fn streams(unit: &InputUnit) -> Vec<(String, Map<String, Value>)> {
    let mut common: Map<String, Value> =
        unit.config.iter().filter(|(key, _)| !ENVELOPE.contains(&key.as_str())).map(pair).collect();
    let list = unit.config.get("streams").and_then(Value::as_array);
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return vec![(unit.id.clone(), common)];
    };
    common.remove("processors");
    let common = nested(&common);
    let mut out = Vec::with_capacity(list.len());
    for (index, stream) in list.iter().enumerate() {
        let Some(own) = stream.as_object() else { continue };
        let id = own.get("id").and_then(Value::as_str).map(str::to_owned);
        let mut config = common.clone();
        for (key, value) in own {
            if matches!(key.as_str(), "id" | "enabled" | "condition" | "meta" | "release" | "original_id") {
                continue;
            }
            let one = Map::from_iter([pair((key, value))]);
            // Lists of processors and tags keep their dots: only keys above them are nested.
            for (key, value) in nested(&one) {
                merge(&mut config, key, value);
            }
        }
        out.push((id.unwrap_or_else(|| format!("{}-{index}", unit.id)), config));
    }
    out
}

fn pair((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// Runs an input until it is to stop; one that fails or breaks down is reported and run again.
async fn keep_running(mut input: Box<dyn Input>, context: Context) {
    let mut wait = RETRY.0;
    context.stream().settle().await;
    while !context.stop.is_cancelled() {
        let began = tokio::time::Instant::now();
        let reason = match AssertUnwindSafe(input.run(&context)).catch_unwind().await {
            Ok(Ok(())) if context.stop.is_cancelled() => break,
            Ok(Ok(())) => "it ended by itself".to_owned(),
            Ok(Err(reason)) => reason,
            Err(_) => "it broke down; this is a fault of the agent: please report it with the agent's log"
                .to_owned(),
        };
        tracing::error!(stream = context.stream().id(), reason, "an input failed");
        context.failed(reason);
        if began.elapsed() > RETRY.1 {
            wait = RETRY.0;
        }
        if context.pause(wait).await {
            break;
        }
        wait = (wait * 2).min(RETRY.1);
    }
}
