//! Messages of OpenTelemetry's protocol, version 1.x, as far as documents are made of them. Numbers and names of the
//! fields are those of the published definitions `opentelemetry/proto/*/v1`; in JSON, names are in lower camel case,
//! and what is not known is passed over.

use prost::{Message, Oneof};
use serde::Deserialize;

use super::json::{hexadecimal, maybe_base64, maybe_real, maybe_whole, real, whole, wholes};

/// A value of any kind.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "AnyValueText")]
pub(in crate::input::otlp) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(in crate::input::otlp) value: Option<Any>,
}

/// The kinds that there are.
#[derive(Clone, PartialEq, Oneof)]
pub(in crate::input::otlp) enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

/// In JSON, the kind is the name of the only member.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnyValueText {
    string_value: Option<String>,
    bool_value: Option<bool>,
    #[serde(deserialize_with = "maybe_whole")]
    int_value: Option<i64>,
    #[serde(deserialize_with = "maybe_real")]
    double_value: Option<f64>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KeyValueList>,
    #[serde(deserialize_with = "maybe_base64")]
    bytes_value: Option<Vec<u8>>,
}

impl From<AnyValueText> for AnyValue {
    fn from(text: AnyValueText) -> AnyValue {
        let value = (text.string_value.map(Any::Text))
            .or(text.bool_value.map(Any::Bool))
            .or(text.int_value.map(Any::Int))
            .or(text.double_value.map(Any::Double))
            .or(text.array_value.map(Any::Array))
            .or(text.kvlist_value.map(Any::Map))
            .or(text.bytes_value.map(Any::Bytes));
        AnyValue { value }
    }
}

macro_rules! messages {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[serde($($serde:tt)*)])? $field:ident: $kind:ty = [$($prost:tt)*],)* })*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, PartialEq, Message, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(in crate::input::otlp) struct $name {
                $(#[prost($($prost)*)] $(#[serde($($serde)*)])? pub(in crate::input::otlp) $field: $kind,)*
            }
        )*
    };
}

messages! {
    /// A list of values.
    ArrayValue {
        values: Vec<AnyValue> = [message, repeated, tag = "1"],
    }
    /// A map.
    KeyValueList {
        values: Vec<KeyValue> = [message, repeated, tag = "1"],
    }
    /// A key and its value.
    KeyValue {
        key: String = [string, tag = "1"],
        value: Option<AnyValue> = [message, optional, tag = "2"],
    }
    /// What sent it.
    Resource {
        attributes: Vec<KeyValue> = [message, repeated, tag = "1"],
        dropped_attributes_count: u32 = [uint32, tag = "2"],
    }
    /// The part of a program that made it.
    Scope {
        name: String = [string, tag = "1"],
        version: String = [string, tag = "2"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "3"],
        dropped_attributes_count: u32 = [uint32, tag = "4"],
    }
    /// A log record. Times are nanoseconds since 1970 here and in all others; 0 is unknown.
    LogRecord {
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "1"],
        #[serde(deserialize_with = "whole")] observed_time_unix_nano: u64 = [fixed64, tag = "11"],
        severity_number: i32 = [int32, tag = "2"],
        severity_text: String = [string, tag = "3"],
        body: Option<AnyValue> = [message, optional, tag = "5"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "6"],
        dropped_attributes_count: u32 = [uint32, tag = "7"],
        #[serde(deserialize_with = "hexadecimal")] trace_id: Vec<u8> = [bytes = "vec", tag = "9"],
        #[serde(deserialize_with = "hexadecimal")] span_id: Vec<u8> = [bytes = "vec", tag = "10"],
        event_name: String = [string, tag = "12"],
    }
    /// A span of a trace.
    Span {
        #[serde(deserialize_with = "hexadecimal")] trace_id: Vec<u8> = [bytes = "vec", tag = "1"],
        #[serde(deserialize_with = "hexadecimal")] span_id: Vec<u8> = [bytes = "vec", tag = "2"],
        trace_state: String = [string, tag = "3"],
        #[serde(deserialize_with = "hexadecimal")] parent_span_id: Vec<u8> = [bytes = "vec", tag = "4"],
        name: String = [string, tag = "5"],
        kind: i32 = [int32, tag = "6"],
        #[serde(deserialize_with = "whole")] start_time_unix_nano: u64 = [fixed64, tag = "7"],
        #[serde(deserialize_with = "whole")] end_time_unix_nano: u64 = [fixed64, tag = "8"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "9"],
        dropped_attributes_count: u32 = [uint32, tag = "10"],
        events: Vec<SpanEvent> = [message, repeated, tag = "11"],
        dropped_events_count: u32 = [uint32, tag = "12"],
        links: Vec<SpanLink> = [message, repeated, tag = "13"],
        dropped_links_count: u32 = [uint32, tag = "14"],
        status: Option<SpanStatus> = [message, optional, tag = "15"],
    }
    /// Something that happened in a span.
    SpanEvent {
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "1"],
        name: String = [string, tag = "2"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "3"],
    }
    /// A pointer to another span.
    SpanLink {
        #[serde(deserialize_with = "hexadecimal")] trace_id: Vec<u8> = [bytes = "vec", tag = "1"],
        #[serde(deserialize_with = "hexadecimal")] span_id: Vec<u8> = [bytes = "vec", tag = "2"],
        trace_state: String = [string, tag = "3"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "4"],
    }
    /// How a span ended.
    SpanStatus {
        message: String = [string, tag = "2"],
        code: i32 = [int32, tag = "3"],
    }
    /// A point of a gauge or a sum.
    NumberDataPoint {
        #[serde(deserialize_with = "whole")] start_time_unix_nano: u64 = [fixed64, tag = "2"],
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "3"],
        #[serde(deserialize_with = "maybe_real")] as_double: Option<f64> = [double, optional, tag = "4"],
        #[serde(deserialize_with = "maybe_whole")] as_int: Option<i64> = [sfixed64, optional, tag = "6"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "7"],
        flags: u32 = [uint32, tag = "8"],
    }
    /// A point of a histogram with the bounds of its buckets.
    HistogramDataPoint {
        #[serde(deserialize_with = "whole")] start_time_unix_nano: u64 = [fixed64, tag = "2"],
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "3"],
        #[serde(deserialize_with = "whole")] count: u64 = [fixed64, tag = "4"],
        #[serde(deserialize_with = "maybe_real")] sum: Option<f64> = [double, optional, tag = "5"],
        #[serde(deserialize_with = "wholes")] bucket_counts: Vec<u64> = [fixed64, repeated, tag = "6"],
        explicit_bounds: Vec<f64> = [double, repeated, tag = "7"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "9"],
        flags: u32 = [uint32, tag = "10"],
    }
    /// A point of a histogram whose bounds grow by a factor.
    ExponentialHistogramDataPoint {
        attributes: Vec<KeyValue> = [message, repeated, tag = "1"],
        #[serde(deserialize_with = "whole")] start_time_unix_nano: u64 = [fixed64, tag = "2"],
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "3"],
        scale: i32 = [sint32, tag = "6"],
        #[serde(deserialize_with = "whole")] zero_count: u64 = [fixed64, tag = "7"],
        positive: Option<Buckets> = [message, optional, tag = "8"],
        negative: Option<Buckets> = [message, optional, tag = "9"],
        flags: u32 = [uint32, tag = "10"],
    }
    /// Counts of buckets, from the one with this index on.
    Buckets {
        offset: i32 = [sint32, tag = "1"],
        #[serde(deserialize_with = "wholes")] bucket_counts: Vec<u64> = [uint64, repeated, tag = "2"],
    }
    /// A point of a summary.
    SummaryDataPoint {
        #[serde(deserialize_with = "whole")] start_time_unix_nano: u64 = [fixed64, tag = "2"],
        #[serde(deserialize_with = "whole")] time_unix_nano: u64 = [fixed64, tag = "3"],
        #[serde(deserialize_with = "whole")] count: u64 = [fixed64, tag = "4"],
        #[serde(deserialize_with = "real")] sum: f64 = [double, tag = "5"],
        attributes: Vec<KeyValue> = [message, repeated, tag = "7"],
        flags: u32 = [uint32, tag = "8"],
    }
}

/// The flag of a data point that says that there is no value.
pub(in crate::input::otlp) const NO_RECORDED_VALUE: u32 = 1;
