//! Processors: what a policy does to events on their way, in the order written.
//!
//! Each is a map with one key, its name, over its settings; `when` beside them says for which events. A name that is
//! not known makes the unit fail with that name: to go on without it could ship what it was meant to take out.

mod add;
mod append;
mod attempt;
mod cache;
mod cloud;
mod community_id;
mod condition;
mod convert;
mod decode;
mod dissect;
mod docker;
mod domain;
mod fields;
mod fingerprint;
mod host;
mod kubernetes;
mod lists;
mod moves;
mod network;
mod process;
mod rate_limit;
mod replace;
mod shared;
mod syslog;
mod text;
mod timestamp;
mod unpack;
mod web;
mod xml;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde_json::{Map, Value};

use crate::config::{Config, Mistake, Mistakes};
use crate::event::{Base, Event, FieldPath};
use condition::Condition;
pub(crate) use shared::Shared;

/// Whoever waits for what processors have to find out waits no longer: it may take seconds in a network that answers
/// nothing, and events do not wait.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether an event goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It does.
    Keep,
    /// It is dropped.
    Drop,
}

/// One step on the way of an event.
pub(crate) trait Processor: fmt::Debug + Send + Sync {
    /// Changes the event.
    fn run(&self, event: &mut Event) -> Flow;

    /// The top-level fields that it reads or writes, if what it does depends on nothing else: not on time, not on
    /// the rest of the event. Such a step may be run once for a whole stream.
    fn touches(&self) -> Option<Vec<String>> {
        None
    }

    /// Begins to find out what it has to know, and ends when that is known. It is asked before the first event, and
    /// goes on by itself when nobody waits any more.
    fn prepare(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Whether it will never change an event, as it turned out.
    fn is_idle(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Step {
    condition: Option<Condition>,
    processor: Box<dyn Processor>,
}

/// Processors in their order.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    steps: Vec<Arc<Step>>,
    /// Settings that no processor has asked for.
    unknown: Vec<String>,
}

impl Chain {
    /// Reads the lists of processors of a stream, its input and its output, and puts them behind each other.
    ///
    /// # Errors
    /// Those of all processors that cannot be used.
    pub(crate) fn build(lists: &[(&str, Option<&Value>)], shared: &Arc<Shared>) -> Result<Chain, Mistakes> {
        let mut chain = Chain::default();
        let mut mistakes = Mistakes::default();
        for (place, list) in lists {
            match list {
                None | Some(Value::Null) => {}
                Some(Value::Array(list)) => {
                    for (index, item) in list.iter().enumerate() {
                        match step(&format!("{place}[{index}]"), item, shared) {
                            Ok((step, unknown)) => {
                                chain.steps.push(Arc::new(step));
                                chain.unknown.extend(unknown);
                            }
                            Err(mistake) => mistakes.add(mistake),
                        }
                    }
                }
                Some(_) => mistakes.add(Mistake::new(*place, "must be a list of processors")),
            }
        }
        if mistakes.is_empty() { Ok(chain) } else { Err(mistakes) }
    }

    /// The settings that no processor has asked for, whole names.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Runs all steps.
    pub(crate) fn run(&self, event: &mut Event) -> Flow {
        for step in &self.steps {
            if step.condition.as_ref().is_some_and(|condition| !condition.holds(event)) {
                continue;
            }
            if step.processor.run(event) == Flow::Drop {
                return Flow::Drop;
            }
        }
        Flow::Keep
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Lets all steps find out what they have to know. False: none has to.
    pub(crate) async fn prepare(&self) -> bool {
        let waits: Vec<_> = self.steps.iter().filter_map(|step| step.processor.prepare()).collect();
        if waits.is_empty() {
            return false;
        }
        // What is not known by then is used as soon as it is.
        let _ = tokio::time::timeout(PATIENCE, join_all(waits)).await;
        true
    }

    /// The same steps without those that will never change an event.
    pub(crate) fn without_idle(&self) -> Chain {
        let busy = self.steps.iter().filter(|step| !step.processor.is_idle());
        Chain { steps: busy.map(Arc::clone).collect(), unknown: Vec::new() }
    }

    /// Runs the first steps on what all events have in common, as far as they touch nothing that differs from event
    /// to event, and forgets them.
    pub(crate) fn fold(&mut self, document: Map<String, Value>, own: &[&str]) -> Map<String, Value> {
        let constant = |step: &Arc<Step>| {
            let condition = match &step.condition {
                None => Some(Vec::new()),
                Some(condition) => condition.touches(),
            };
            let (Some(condition), Some(fields)) = (condition, step.processor.touches()) else { return false };
            !condition
                .iter()
                .chain(&fields)
                .any(|field| own.contains(&field.as_str()) || field == "@metadata")
        };
        let count = self.steps.iter().take_while(|step| constant(step)).count();
        if count == 0 {
            return document;
        }
        let rest = self.steps.split_off(count);
        let mut event = Event::new(Arc::new(Base::new(document)));
        self.run(&mut event);
        self.steps = rest;
        event.to_map()
    }
}

/// A processor of the policy, and its settings that nobody has asked for.
fn step(place: &str, item: &Value, shared: &Arc<Shared>) -> Result<(Step, Vec<String>), Mistake> {
    let wrong = || Mistake::new(place, "must be a map with one key, the processor's name");
    let map = item.as_object().filter(|map| map.len() == 1).ok_or_else(wrong)?;
    let (name, settings) = map.iter().next().ok_or_else(wrong)?;
    // `drop_event.when.regexp: {…}` is a map in a map, written short.
    let path = FieldPath::new(name);
    let unfolded = (!path.is_top()).then(|| path.wrap(settings.clone()));
    let name = path.first();
    let settings = unfolded.as_ref().unwrap_or(settings);
    let empty = Map::new();
    let settings = match settings {
        Value::Null => &empty,
        Value::Object(settings) => settings,
        _ => return Err(Mistake::new(format!("{place}.{name}"), "must be a map of settings")),
    };
    let config = Config::new(settings);
    let prefixed =
        |mistake: Mistake| Mistake::new(format!("{place}.{name}.{}", mistake.field), mistake.problem);
    let condition = config.value("when").map(Condition::read).transpose().map_err(prefixed)?;
    let processor = match build(name, &config, shared).map_err(prefixed)? {
        Some(processor) => processor,
        None => {
            let problem = "is not a processor that this agent has: take it out of the policy, or do it in an ingest pipeline";
            return Err(Mistake::new(format!("{place}.{name}"), problem));
        }
    };
    config.allow(&["id", "tag", "description"]);
    let unknown = config.unknown().into_iter().map(|key| format!("{place}.{name}.{key}")).collect();
    Ok((Step { condition, processor }, unknown))
}

fn build(name: &str, config: &Config, shared: &Arc<Shared>) -> Result<Option<Box<dyn Processor>>, Mistake> {
    Ok(Some(match name {
        "add_fields" => add::fields(config, "fields")?,
        "add_labels" => add::labels(config)?,
        "add_tags" => add::tags(config)?,
        "add_locale" => add::locale(config),
        "add_host_metadata" => host::build(config)?,
        "add_cloud_metadata" => cloud::build(config, shared)?,
        "add_docker_metadata" => docker::build(config, shared)?,
        "add_id" => add::id(config)?,
        "add_kubernetes_metadata" => kubernetes::build(config)?,
        "add_process_metadata" => process::build(config, shared)?,
        "cache" => cache::build(config, shared)?,
        "drop_event" => Box::new(fields::DropEvent),
        "drop_fields" => fields::drop(config)?,
        "include_fields" => fields::include(config)?,
        "rename" => fields::rename(config)?,
        "copy_fields" => fields::copy(config)?,
        "replace" => text::replace(config)?,
        "truncate_fields" => text::truncate(config)?,
        "lowercase" => text::case(config, false)?,
        "uppercase" => text::case(config, true)?,
        "convert" => convert::build(config)?,
        "timestamp" => timestamp::build(config)?,
        "decode_json_fields" => decode::json(config)?,
        "decode_base64_field" => decode::base64(config)?,
        "append" => append::build(config)?,
        "add_network_direction" => network::direction(config)?,
        "community_id" => community_id::build(config)?,
        "decode_csv_fields" => lists::csv(config)?,
        "decode_duration" => unpack::duration(config)?,
        "decode_xml" => xml::build(config)?,
        "dissect" => dissect::build(config)?,
        "extract_array" => lists::extract(config)?,
        "fingerprint" => fingerprint::build(config)?,
        "move_fields" => moves::build(config)?,
        "rate_limit" => rate_limit::build(config)?,
        "registered_domain" => domain::build(config)?,
        "syslog" => syslog::build(config)?,
        "urldecode" => unpack::url(config)?,
        _ => return Ok(None),
    }))
}
