//! Log records.

use serde_json::{Map, Value, json};

use super::value::{attributes, counted, filled, identifier, named, text, time, value};
use crate::clock;
use crate::input::otlp::wire::types::LogRecord;

/// The document of a record.
pub(in crate::input::otlp) fn document(record: LogRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    let observed = time(record.observed_time_unix_nano);
    let when = time(record.time_unix_nano).or_else(|| observed.clone()).unwrap_or_else(clock::now);
    fields.insert("@timestamp".to_owned(), when.into());
    if let Some(observed) = observed {
        fields.insert("observed_timestamp".to_owned(), observed.into());
    }
    // A body with a structure is its text in JSON: whoever wants fields of it has decode_json_fields.
    if let Some(body) = record.body.map(value).filter(|body| !body.is_null()) {
        fields.insert("message".to_owned(), text(body).into());
    }
    let level = if record.severity_text.is_empty() {
        severity(record.severity_number).to_owned()
    } else {
        record.severity_text
    };
    if !level.is_empty() {
        fields.insert("log".to_owned(), json!({ "level": level }));
    }
    if record.severity_number != 0 {
        fields.insert("severity_number".to_owned(), record.severity_number.into());
    }
    filled(&mut fields, "attributes", attributes(record.attributes));
    counted(&mut fields, "dropped_attributes_count", record.dropped_attributes_count);
    for (key, id) in [("trace", &record.trace_id), ("span", &record.span_id)] {
        if let Some(id) = identifier(id) {
            fields.insert(key.to_owned(), json!({ "id": id }));
        }
    }
    let mut event = Map::new();
    named(&mut event, "name", record.event_name);
    filled(&mut fields, "event", event);
    fields
}

/// The short name of a severity, as the protocol's data model lists them.
fn severity(number: i32) -> &'static str {
    match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => "",
    }
}
