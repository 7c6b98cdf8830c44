//! One request: from its bytes to events that are safe on the disk.

use std::time::Duration;

use futures_util::future::try_join_all;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::document::metrics::{Groups, Point};
use super::document::{logs, origin, traces};
use super::route::Route;
use super::signal::Signal;
use super::wire::types::{
    ExponentialHistogramDataPoint, HistogramDataPoint, LogRecord, NumberDataPoint, Resource, Scope, Span,
    SummaryDataPoint,
};
use super::wire::{Encoding, Field, Malformed, Node};
use crate::batch::{Batch, DocumentId};

/// A batch is handed over when it has so many events.
const BATCH_EVENTS: usize = 1000;
/// A batch is handed over when it has so many bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// Batches of a request go to the disk together, with one wait for it, until they are so many bytes. Most requests
/// are smaller: they are taken as a whole or not at all.
const TOGETHER: usize = 4 << 20;

/// A sender waits this long for room in the queue, and is then told to come again. Shorter than the time after which
/// senders give up by themselves, which is 10 s for SDKs and 5 s for collectors, so that they hear the reason.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// So long for a request whose events go to the disk in several parts.
const LONGEST: Duration = Duration::from_secs(30);

/// What was taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Records that could not be: sending them again would not help.
    pub(super) rejected: u64,
    /// Why the first of them was.
    pub(super) reason: String,
}

/// Why a request was not taken, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is not what the protocol says.
    #[error("the request cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The queue has had no room for too long.
    #[error("the agent's queue has no room: send this again later")]
    Busy,
    /// The input stops.
    #[error("the receiver is going away: send this again")]
    Closed,
}

/// Takes a request. Comes back when its events are safe, or with the reason why not all of them are. What was sent
/// again after that may be there twice.
pub(super) async fn export(route: &Route, encoding: Encoding, bytes: &[u8]) -> Result<Taken, Refused> {
    let end = Instant::now() + LONGEST;
    let batch = route.context.batch();
    let mut export = Export { route, batch, full: Vec::new(), held: 0, end, taken: Taken::default() };
    route.context.stream().counters().bytes_read.add(bytes.len() as u64);
    let [resources, scopes, records] = route.signal.fields();
    for resource in Node::root(encoding, bytes).children(resources)? {
        let resource = resource?;
        let common = origin::resource(decoded::<Resource>(resource)?);
        for scope in resource.children(scopes)? {
            let scope = scope?;
            let common = origin::scope(&common, decoded::<Scope>(scope)?);
            export.records(&common, scope, records).await?;
        }
    }
    export.finish_batch();
    export.store().await?;
    Ok(export.taken)
}

/// The resource of a message of that kind, or the scope: both are its field 1.
fn decoded<T: Message + Default + DeserializeOwned + Named>(node: Node<'_>) -> Result<T, Malformed> {
    node.child(Field(1, T::NAME))?.map(Node::parse).transpose().map(Option::unwrap_or_default)
}

trait Named {
    const NAME: &'static str;
}

impl Named for Resource {
    const NAME: &'static str = "resource";
}

impl Named for Scope {
    const NAME: &'static str = "scope";
}

struct Export<'a> {
    route: &'a Route,
    batch: Batch,
    /// Batches that are full, and their bytes.
    full: Vec<Batch>,
    held: usize,
    end: Instant,
    taken: Taken,
}

impl Export<'_> {
    async fn records(
        &mut self,
        common: &Map<String, Value>,
        scope: Node<'_>,
        records: Field,
    ) -> Result<(), Refused> {
        let mut groups = Groups::default();
        for record in scope.children(records)? {
            let record = record?;
            match self.route.signal {
                Signal::Logs => {
                    if let Some(log) = self.accepted(record.parse::<LogRecord>()) {
                        self.push(common, logs::document(log), None).await?;
                    }
                }
                Signal::Traces => {
                    if let Some(span) = self.accepted(record.parse::<Span>()) {
                        let id = traces::id(&span, record.bytes);
                        self.push(common, traces::document(span), id).await?;
                    }
                }
                Signal::Metrics => self.metric(common, record, &mut groups).await?,
            }
        }
        self.push_all(common, &mut groups).await
    }

    async fn metric(
        &mut self,
        common: &Map<String, Value>,
        metric: Node<'_>,
        groups: &mut Groups,
    ) -> Result<(), Refused> {
        let (name, unit) = (metric.text(Field(1, "name"))?, metric.text(Field(3, "unit"))?);
        for kind in KINDS {
            let Some(data) = metric.child(kind.field)? else { continue };
            for point in data.children(Field(1, "dataPoints"))? {
                let point = point?;
                let parsed = if name.is_empty() {
                    Err(Malformed("a metric has no name".to_owned()))
                } else {
                    (kind.parse)(point)
                };
                if let Some(point) = self.accepted(parsed) {
                    groups.add(&name, &unit, point);
                }
                if groups.is_full() {
                    self.push_all(common, groups).await?;
                }
            }
        }
        Ok(())
    }

    /// What can be used; what cannot is counted.
    fn accepted<T>(&mut self, parsed: Result<T, Malformed>) -> Option<T> {
        parsed
            .inspect_err(|Malformed(reason)| {
                self.taken.rejected += 1;
                if self.taken.reason.is_empty() {
                    self.taken.reason.clone_from(reason);
                }
            })
            .ok()
    }

    async fn push_all(&mut self, common: &Map<String, Value>, groups: &mut Groups) -> Result<(), Refused> {
        for document in groups.take() {
            self.push(common, document, None).await?;
        }
        Ok(())
    }

    async fn push(
        &mut self,
        common: &Map<String, Value>,
        document: Map<String, Value>,
        id: Option<DocumentId>,
    ) -> Result<(), Refused> {
        let stream = self.route.context.stream();
        let mut event = stream.event();
        event.merge(common.clone());
        event.merge(document);
        stream.push(&mut self.batch, event, id.unwrap_or_else(|| self.route.ids.next()));
        if self.batch.len() >= BATCH_EVENTS || self.batch.size() >= BATCH_BYTES {
            self.finish_batch();
            if self.held >= TOGETHER {
                self.store().await?;
            }
        }
        Ok(())
    }

    fn finish_batch(&mut self) {
        self.held += self.batch.size();
        self.full.push(std::mem::replace(&mut self.batch, self.route.context.batch()));
    }

    async fn store(&mut self) -> Result<(), Refused> {
        let until = (Instant::now() + PATIENCE).min(self.end);
        let stored = try_join_all(self.full.drain(..).map(|batch| self.route.context.store(batch)));
        let stored = tokio::time::timeout_at(until, stored).await;
        self.held = 0;
        match stored {
            Ok(stored) => stored.map(|_| ()).map_err(|_| Refused::Closed),
            Err(_) => Err(Refused::Busy),
        }
    }
}

/// A kind of metric: where its data is, and what its points are.
struct Kind {
    field: Field,
    parse: fn(Node<'_>) -> Result<Point, Malformed>,
}

const KINDS: [Kind; 5] = [
    Kind { field: Field(5, "gauge"), parse: point::<NumberDataPoint> },
    Kind { field: Field(7, "sum"), parse: point::<NumberDataPoint> },
    Kind { field: Field(9, "histogram"), parse: point::<HistogramDataPoint> },
    Kind { field: Field(10, "exponentialHistogram"), parse: point::<ExponentialHistogramDataPoint> },
    Kind { field: Field(11, "summary"), parse: point::<SummaryDataPoint> },
];

fn point<T: Message + Default + DeserializeOwned + Into<Point>>(node: Node<'_>) -> Result<Point, Malformed> {
    node.parse::<T>().map(Into::into)
}
