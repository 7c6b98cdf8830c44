use proptest::prelude::*;

use super::*;
use crate::input::otlp::document::metrics::{Groups, Point};
use crate::input::otlp::document::{logs, traces};
use crate::input::otlp::wire::types::{
    Buckets, ExponentialHistogramDataPoint, HistogramDataPoint, KeyValue, NumberDataPoint, Span,
    SummaryDataPoint,
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<i64>().prop_map(Any::Int),
        any::<f64>().prop_map(Any::Double),
        ".*".prop_map(Any::Text)
    ];
    let attributes = prop::collection::vec((".{0,5}", value), 0..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(key, value)| KeyValue { key, value: Some(AnyValue { value: Some(value) }) })
            .collect::<Vec<_>>()
    });
    let encoded =
        (attributes, any::<u64>(), any::<i32>(), 0..5_u8).prop_map(|(attributes, time, number, kind)| {
            match kind {
                0 => LogRecord { attributes, time_unix_nano: time, severity_number: number, ..log("x") }
                    .encode_to_vec(),
                1 => Span { attributes, start_time_unix_nano: time, kind: number, ..Span::default() }
                    .encode_to_vec(),
                2 => {
                    let counts = vec![time, 1, 0, 5];
                    let bounds = vec![f64::from_bits(time), f64::from(number)];
                    let point = HistogramDataPoint {
                        attributes,
                        bucket_counts: counts,
                        explicit_bounds: bounds,
                        ..Default::default()
                    };
                    point.encode_to_vec()
                }
                3 => {
                    let buckets = Buckets { offset: number, bucket_counts: vec![1, time] };
                    let (positive, negative) = (Some(buckets.clone()), Some(buckets));
                    ExponentialHistogramDataPoint {
                        attributes,
                        scale: number,
                        positive,
                        negative,
                        ..Default::default()
                    }
                    .encode_to_vec()
                }
                _ => SummaryDataPoint {
                    attributes,
                    time_unix_nano: time,
                    sum: f64::from_bits(time),
                    ..Default::default()
                }
                .encode_to_vec(),
            }
        });
    (encoded, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(mut bytes, changes)| {
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn documents_are_made_of_anything_that_can_be_read(bytes in bytes()) {
        let mut groups = Groups::default();
        let mut documents: Vec<Value> = Vec::new();
        documents.extend(LogRecord::decode(bytes.as_slice()).ok().map(|log| Value::Object(logs::document(log))));
        if let Ok(span) = Span::decode(bytes.as_slice()) {
            traces::id(&span, &bytes);
            documents.push(Value::Object(traces::document(span)));
        }
        let points: [Option<Point>; 4] = [
            NumberDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            HistogramDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            ExponentialHistogramDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
            SummaryDataPoint::decode(bytes.as_slice()).ok().map(Into::into),
        ];
        points.into_iter().flatten().for_each(|point| groups.add("m", "", point));
        documents.extend(groups.take().map(Value::Object));
        for document in documents {
            prop_assert!(document["@timestamp"].is_string());
            prop_assert_eq!(serde_json::from_str::<Value>(&document.to_string()).unwrap().is_object(), true);
        }
    }
}
