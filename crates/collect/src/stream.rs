//! A stream of events: where they go, what they have in common, and what processors do to them.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use crate::batch::{Batch, DocumentId};
use crate::config::{Config, Mistake, merge};
use crate::event::{Base, Event, FieldPath};
use crate::metrics::Counters;
use crate::plan::AgentFacts;
use crate::processor::{Chain, Flow};

/// The version of the common schema that events follow.
const ECS_VERSION: &str = "8.17.0";

/// Which top-level fields an input gives its events beside those of the stream.
#[derive(Clone, Copy, Debug)]
pub enum OwnFields {
    /// These alone. Processors that touch none of them are run once, when the stream is built.
    Only(&'static [&'static str]),
    /// Any.
    Any,
}

/// One stream of an input: what is the same for all of its events.
#[derive(Debug)]
pub struct Stream {
    input: String,
    id: String,
    index: Arc<str>,
    data_stream: DataStream,
    pipeline: Option<String>,
    own: OwnFields,
    built: Built,
    /// In the place of `built`, once processors know what they had to find out.
    settled: OnceLock<Built>,
    counters: Counters,
}

/// What events begin with, and what is done to each.
#[derive(Debug, Default)]
struct Built {
    base: Arc<Base>,
    chain: Chain,
}

impl Built {
    fn new(mut document: Map<String, Value>, mut chain: Chain, own: OwnFields) -> Built {
        if let OwnFields::Only(own) = own {
            document = chain.fold(document, own);
        }
        Built { base: Arc::new(Base::new(document)), chain }
    }
}

/// A data stream's name in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataStream {
    /// `logs`, `metrics`, `traces`.
    pub kind: String,
    /// What the events are of.
    pub dataset: String,
    /// A part of the users' own.
    pub namespace: String,
}

impl DataStream {
    /// Of a stream's settings.
    ///
    /// # Errors
    /// A part of it is no text, or has characters that no index may have.
    pub fn read(config: &Config, kind: &str) -> Result<DataStream, Mistake> {
        let part = |key: &str, default: &str| -> Result<String, Mistake> {
            let text = config.text(key)?.unwrap_or_else(|| default.to_owned());
            let bad = |letter: char| {
                letter.is_uppercase() || letter.is_whitespace() || "\\/*?\"<>|,#:".contains(letter)
            };
            if text.is_empty() || text.len() > 100 || text.contains(bad) {
                let problem = format!(
                    "{text:?} cannot be part of an index's name: use 1 to 100 characters of a-z, 0-9, ., _"
                );
                return config.or(text, Err(config.mistake(key, problem)));
            }
            Ok(text)
        };
        Ok(DataStream {
            kind: part("data_stream.type", kind)?,
            dataset: part("data_stream.dataset", "generic")?,
            namespace: part("data_stream.namespace", "default")?,
        })
    }

    /// `type-dataset-namespace`.
    #[must_use]
    pub fn index(&self) -> String {
        format!("{}-{}-{}", self.kind, self.dataset, self.namespace)
    }
}

/// What a stream is made of.
pub(crate) struct Parts<'a> {
    pub(crate) input: &'a str,
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) config: &'a Config,
    pub(crate) data_stream: DataStream,
    pub(crate) agent: &'a AgentFacts,
    pub(crate) host_name: &'a str,
    pub(crate) chain: Chain,
    pub(crate) own: OwnFields,
    pub(crate) counters: Counters,
}

impl Stream {
    /// Writes what is the same for all events once, and runs the processors that touch nothing else.
    pub(crate) fn build(parts: Parts<'_>) -> Result<Stream, Mistake> {
        let Parts { config, data_stream, chain, .. } = parts;
        let mut document = constants(parts.agent, &data_stream, parts.kind);
        if !config.boolean("publisher_pipeline.disable_host", false)? {
            document.insert("host".into(), json!({"name": parts.host_name}));
        }
        let tags = config.texts("tags")?;
        if !tags.is_empty() {
            document.insert("tags".into(), json!(tags));
        }
        let fields = config.section("fields")?;
        if !fields.map().is_empty() {
            let under_root = config.boolean("fields_under_root", false)?;
            let fields = fields.map().clone();
            if under_root {
                fields.into_iter().for_each(|(key, value)| merge(&mut document, key, value));
            } else {
                document.insert("fields".into(), Value::Object(fields));
            }
        }
        Ok(Stream {
            input: parts.input.to_owned(),
            id: parts.id.to_owned(),
            index: data_stream.index().into(),
            data_stream,
            pipeline: config.text("pipeline")?,
            own: parts.own,
            built: Built::new(document, chain, parts.own),
            settled: OnceLock::new(),
            counters: parts.counters,
        })
    }

    /// The stream of events that were queued on disk: where they go, and nothing else.
    pub(crate) fn of_queue(
        input: String,
        id: String,
        data_stream: DataStream,
        pipeline: Option<String>,
    ) -> Stream {
        Stream {
            input,
            id,
            index: data_stream.index().into(),
            data_stream,
            pipeline,
            own: OwnFields::Any,
            built: Built::default(),
            settled: OnceLock::new(),
            counters: Counters::default(),
        }
    }

    /// Lets processors find out what they have to know, before the input makes its first event; what takes long is not
    /// waited for. What turns out to be the same for all events is written once.
    pub(crate) async fn settle(&self) {
        if self.settled.get().is_none() && self.built.chain.prepare().await {
            let document = self.built.base.fields().map(|(key, value)| (key.to_owned(), value.clone()));
            let chain = self.built.chain.without_idle();
            // An input runs once at a time: nobody else settles its stream.
            let _ = self.settled.set(Built::new(document.collect(), chain, self.own));
        }
    }

    fn now(&self) -> &Built {
        self.settled.get().unwrap_or(&self.built)
    }

    /// The id of the stream.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of its input.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The data stream that its events go to, unless an event says otherwise.
    #[must_use]
    pub fn index(&self) -> &str {
        &self.index
    }

    /// The same in parts.
    #[must_use]
    pub fn data_stream(&self) -> &DataStream {
        &self.data_stream
    }

    /// The engine's ingest pipeline, if the stream names one.
    #[must_use]
    pub fn pipeline(&self) -> Option<&str> {
        self.pipeline.as_deref()
    }

    /// An event with what all events of this stream have in common.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::new(Arc::clone(&self.now().base))
    }

    /// Runs the processors on an event, and adds it to the batch unless they drop it.
    pub fn push(&self, batch: &mut Batch, mut event: Event, id: DocumentId) {
        self.counters.events_read.add(1);
        let flow = self.now().chain.run(&mut event);
        if event.is_overgrown() {
            self.counters.events_overgrown.add(1);
        }
        if flow == Flow::Drop {
            self.counters.events_filtered.add(1);
            return;
        }
        let metadata = event.remove(&FieldPath::top("@metadata".to_owned()));
        let id = match metadata.as_ref().and_then(|metadata| metadata.get("_id")?.as_str()) {
            Some(text) => DocumentId::Text(text.into()),
            None => id,
        };
        let index = self.index_of(&event);
        batch.push(id, index, |out| {
            event.encode(out);
            true
        });
    }

    /// Whether no processor has to see each event: then [`Stream::push_plain`] is the cheap way.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.now().chain.is_empty()
    }

    /// Adds an event without building it: the stream's own fields, then what `write` appends, `,"key":value` each.
    /// Only for streams that are [plain](Stream::is_plain), and for keys that the input named as its own.
    pub fn push_plain(&self, batch: &mut Batch, id: DocumentId, write: impl FnOnce(&mut Vec<u8>)) {
        self.counters.events_read.add(1);
        batch.push(id, None, |out| {
            self.now().base.open(out);
            write(out);
            out.push(b'}');
            true
        });
    }

    /// The collector's counts.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where an event goes whose `data_stream` is not the stream's.
    fn index_of(&self, event: &Event) -> Option<Arc<str>> {
        let field = event.get(&FieldPath::top("data_stream".to_owned()));
        let part = |key: &str, default: &str| -> String {
            let text = field.and_then(|field| field.get(key)).and_then(Value::as_str).unwrap_or(default);
            let allowed = |letter: char| if "-\\/*?\"<>| ,#:".contains(letter) { '_' } else { letter };
            text.to_lowercase().chars().take(100).map(allowed).collect()
        };
        let own = &self.data_stream;
        let same = |key: &str, value: &str| {
            field.and_then(|field| field.get(key)).and_then(Value::as_str).is_none_or(|text| text == value)
        };
        if same("type", &own.kind) && same("dataset", &own.dataset) && same("namespace", &own.namespace) {
            return None;
        }
        let name = format!(
            "{}-{}-{}",
            part("type", &own.kind),
            part("dataset", &own.dataset),
            part("namespace", &own.namespace)
        );
        Some(name.into())
    }
}

fn constants(agent: &AgentFacts, data_stream: &DataStream, kind: &str) -> Map<String, Value> {
    let DataStream { kind: signal, dataset, namespace } = data_stream;
    let document = json!({
        "agent": {
            "id": agent.id,
            "name": agent.name,
            "type": "fleet-agent",
            "version": agent.version,
            "ephemeral_id": agent.ephemeral_id,
        },
        "data_stream": {"type": signal, "dataset": dataset, "namespace": namespace},
        "ecs": {"version": ECS_VERSION},
        "elastic_agent": {"id": agent.id, "version": agent.version, "snapshot": false},
        "event": {"dataset": dataset},
        "input": {"type": kind},
    });
    match document {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_turns_out_to_be_nothing_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let processors = json!([
            {"add_docker_metadata": {"host": folder.path().join("none.sock")}},
            {"add_tags": {"tags": ["a"]}},
        ]);
        let empty = Map::new();
        let config = Config::new(&empty);
        let agent =
            AgentFacts { id: "a".into(), version: "1".into(), name: "n".into(), ephemeral_id: "e".into() };
        let stream = Stream::build(Parts {
            input: "input",
            id: "stream",
            kind: "test",
            config: &config,
            data_stream: DataStream::read(&config, "logs").unwrap(),
            agent: &agent,
            host_name: "here",
            chain: Chain::build(&[("processors", Some(&processors))], &Arc::default()).unwrap(),
            own: OwnFields::Only(&["message"]),
            counters: Counters::default(),
        });
        let stream = stream.unwrap();
        assert!(!stream.is_plain());
        stream.settle().await;
        assert!(stream.is_plain());
        let event = Value::Object(stream.event().to_map());
        assert_eq!((&event["tags"], &event["host"]["name"]), (&json!(["a"]), &json!("here")));
    }
}
