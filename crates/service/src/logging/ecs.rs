//! Lines of JSON whose fields are named as the Elastic Common Schema names them.
//!
//! What a line is about beside its message stands below `labels`, where the schema has room for fields that it
//! does not know: names such as `agent` mean something else in it.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The version of the schema whose names these are.
const SCHEMA: &str = "1.6.0";

/// Writes a line for each event of this service.
pub(super) struct EcsLines(pub(super) &'static str);

impl<S, N> FormatEvent<S, N> for EcsLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut message = String::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            message.push_str(span.name());
            message.push_str(": ");
            if let Some(of) = span.extensions().get::<FormattedFields<N>>().filter(|of| !of.is_empty()) {
                fields.labels.insert(span.name().to_owned(), of.fields.clone().into());
            }
        }
        message.push_str(&fields.message);
        let metadata = event.metadata();
        let mut line = json!({
            "@timestamp": time,
            "log.level": level(*metadata.level()),
            "log.logger": metadata.target(),
            "message": message,
            "service.name": self.0,
            "ecs.version": SCHEMA,
        });
        if let Some(error) = fields.error {
            line["error.message"] = error.into();
        }
        if !fields.labels.is_empty() {
            line["labels"] = fields.labels.into();
        }
        // What JSON does not escape by itself ends no line and forges none.
        writeln!(writer, "{line}")
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    error: Option<String>,
    labels: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("error", Value::String(text)) => self.error = Some(text),
            (name, value) => drop(self.labels.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        self.put(field, text.into());
    }
}
