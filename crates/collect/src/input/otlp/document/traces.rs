//! Spans.

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::value::{attributes, counted, filled, identifier, maybe, named, time};
use crate::batch::DocumentId;
use crate::clock;
use crate::input::otlp::wire::types::{Span, SpanEvent, SpanLink};

/// The document of a span.
pub(in crate::input::otlp) fn document(span: Span) -> Map<String, Value> {
    let mut fields = Map::new();
    let when = time(span.start_time_unix_nano).unwrap_or_else(clock::now);
    fields.insert("@timestamp".to_owned(), when.into());
    if span.start_time_unix_nano > 0 {
        let duration = span.end_time_unix_nano.checked_sub(span.start_time_unix_nano);
        maybe(&mut fields, "duration", duration.filter(|nanos| i64::try_from(*nanos).is_ok()));
    }
    maybe(&mut fields, "trace", identifier(&span.trace_id).map(|id| json!({ "id": id })));
    maybe(&mut fields, "parent", identifier(&span.parent_span_id).map(|id| json!({ "id": id })));
    let mut own = Map::new();
    maybe(&mut own, "id", identifier(&span.span_id));
    named(&mut own, "name", span.name);
    filled(&mut fields, "span", own);
    named(&mut fields, "trace_state", span.trace_state);
    maybe(&mut fields, "kind", kind(span.kind));

    let status = span.status.unwrap_or_default();
    let (code, outcome) = match status.code {
        1 => ("ok", "success"),
        2 => ("error", "failure"),
        _ => ("unset", "unknown"),
    };
    let mut own = Map::from_iter([("code".to_owned(), json!(code))]);
    named(&mut own, "message", status.message);
    filled(&mut fields, "status", own);
    fields.insert("event".to_owned(), json!({ "outcome": outcome }));

    filled(&mut fields, "attributes", attributes(span.attributes));
    maybe(&mut fields, "links", list(span.links, link));
    maybe(&mut fields, "events", list(span.events, happening));
    counted(&mut fields, "dropped_attributes_count", span.dropped_attributes_count);
    counted(&mut fields, "dropped_events_count", span.dropped_events_count);
    counted(&mut fields, "dropped_links_count", span.dropped_links_count);
    fields
}

/// A span is the same however often it is sent: its own identifiers and times are in these bytes. They begin with the
/// time, which keeps the engine's look-ups cheap. `None`: it says not which span it is.
pub(in crate::input::otlp) fn id(span: &Span, bytes: &[u8]) -> Option<DocumentId> {
    if identifier(&span.trace_id).is_none() || identifier(&span.span_id).is_none() {
        return None;
    }
    let seconds = (span.start_time_unix_nano / 1_000_000_000).to_be_bytes();
    let hash = digest(&SHA256, bytes);
    let mut id = [0; 20];
    // The lower four bytes last until 2106.
    id[..4].copy_from_slice(&seconds[4..]);
    id[4..].copy_from_slice(hash.as_ref().get(..16)?);
    Some(DocumentId::Stable(id))
}

fn list<T>(items: Vec<T>, document: impl Fn(T) -> Map<String, Value>) -> Option<Value> {
    (!items.is_empty()).then(|| items.into_iter().map(|item| Value::Object(document(item))).collect())
}

fn link(link: SpanLink) -> Map<String, Value> {
    let mut fields = Map::new();
    maybe(&mut fields, "trace_id", identifier(&link.trace_id));
    maybe(&mut fields, "span_id", identifier(&link.span_id));
    named(&mut fields, "trace_state", link.trace_state);
    filled(&mut fields, "attributes", attributes(link.attributes));
    fields
}

fn happening(event: SpanEvent) -> Map<String, Value> {
    let mut fields = Map::new();
    maybe(&mut fields, "timestamp", time(event.time_unix_nano));
    named(&mut fields, "name", event.name);
    filled(&mut fields, "attributes", attributes(event.attributes));
    fields
}

fn kind(number: i32) -> Option<&'static str> {
    ["internal", "server", "client", "producer", "consumer"]
        .get(usize::try_from(number).ok()?.checked_sub(1)?)
        .copied()
}
