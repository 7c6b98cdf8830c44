//! Data points: those of one scope with the same times, attributes and unit become one document.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::value::{attributes, filled, maybe, named, number, time};
use crate::clock;
use crate::input::otlp::wire::types::{
    Buckets, ExponentialHistogramDataPoint, HistogramDataPoint, KeyValue, NO_RECORDED_VALUE, NumberDataPoint,
    SummaryDataPoint,
};

/// A data point of any kind.
pub(in crate::input::otlp) struct Point {
    start: u64,
    time: u64,
    attributes: Vec<KeyValue>,
    /// `None`: it has none, which is no fault.
    value: Option<Value>,
}

impl Point {
    /// From when and of when (nanoseconds since 1970), and what was measured, unless the flags say that nothing was.
    fn new((start, time): (u64, u64), attributes: Vec<KeyValue>, flags: u32, value: Option<Value>) -> Point {
        Point { start, time, attributes, value: value.filter(|_| flags & NO_RECORDED_VALUE == 0) }
    }
}

impl From<NumberDataPoint> for Point {
    fn from(point: NumberDataPoint) -> Point {
        let value = match (point.as_int, point.as_double) {
            (Some(whole), _) => Some(whole.into()),
            (None, Some(value)) => number(value),
            (None, None) => None,
        };
        Point::new((point.start_time_unix_nano, point.time_unix_nano), point.attributes, point.flags, value)
    }
}

impl From<HistogramDataPoint> for Point {
    fn from(point: HistogramDataPoint) -> Point {
        let value = if point.bucket_counts.is_empty() {
            // Without buckets it is a count and a sum.
            Some(summary(point.sum, point.count))
        } else {
            let bound = |index: usize| point.explicit_bounds.get(index).copied();
            let middle = |index: usize| match (index.checked_sub(1).and_then(bound), bound(index)) {
                (Some(low), Some(high)) => low + (high - low) / 2.0,
                // Neither end is open in truth: durations and sizes begin at 0.
                (None, Some(high)) if high > 0.0 => high / 2.0,
                (None, Some(high)) => high,
                (Some(low), None) => low,
                (None, None) => 0.0,
            };
            let counts = point.bucket_counts.iter().enumerate();
            histogram(counts.map(|(index, count)| (middle(index), *count)))
        };
        Point::new((point.start_time_unix_nano, point.time_unix_nano), point.attributes, point.flags, value)
    }
}

impl From<ExponentialHistogramDataPoint> for Point {
    fn from(point: ExponentialHistogramDataPoint) -> Point {
        let base = 2_f64.powf(2_f64.powi(point.scale.saturating_neg()));
        let middles = |buckets: Option<Buckets>| -> Vec<(f64, u64)> {
            let Buckets { offset, bucket_counts } = buckets.unwrap_or_default();
            let middle = |(index, count): (usize, u64)| {
                let exponent = f64::from(offset) + u32::try_from(index).map_or(f64::INFINITY, f64::from);
                let low = base.powf(exponent);
                (low + (low * base - low) / 2.0, count)
            };
            bucket_counts.into_iter().enumerate().map(middle).collect()
        };
        let negative = middles(point.negative).into_iter().rev().map(|(middle, count)| (-middle, count));
        let zero = [(0.0, point.zero_count)];
        let value = histogram(negative.chain(zero).chain(middles(point.positive)));
        Point::new((point.start_time_unix_nano, point.time_unix_nano), point.attributes, point.flags, value)
    }
}

impl From<SummaryDataPoint> for Point {
    fn from(point: SummaryDataPoint) -> Point {
        Point::new(
            (point.start_time_unix_nano, point.time_unix_nano),
            point.attributes,
            point.flags,
            Some(summary(Some(point.sum), point.count)),
        )
    }
}

/// As fields of the type `histogram` have it: the middles of the buckets that are not empty, ascending.
fn histogram(buckets: impl Iterator<Item = (f64, u64)>) -> Option<Value> {
    let (mut values, mut counts) = (Vec::new(), Vec::new());
    for (middle, count) in buckets.filter(|(_, count)| *count > 0) {
        values.push(number(middle)?);
        counts.push(count);
    }
    Some(json!({ "values": values, "counts": counts }))
}

/// As fields of the type `aggregate_metric_double` have it.
fn summary(sum: Option<f64>, count: u64) -> Value {
    let mut fields = Map::from_iter([("value_count".to_owned(), json!(count))]);
    maybe(&mut fields, "sum", sum.and_then(number));
    Value::Object(fields)
}

/// Documents of one scope in the making.
#[derive(Default)]
pub(in crate::input::otlp) struct Groups {
    places: HashMap<String, usize>,
    documents: Vec<Group>,
    values: usize,
}

struct Group {
    fields: Map<String, Value>,
    metrics: Map<String, Value>,
}

/// So many values are held before documents are made of them.
const MOST: usize = 4096;

impl Groups {
    /// Adds a point of this metric.
    pub(in crate::input::otlp) fn add(&mut self, name: &str, unit: &str, point: Point) {
        let Some(value) = point.value else { return };
        let attributes = attributes(point.attributes);
        let key = json!([point.time, point.start, unit, attributes]).to_string();
        // A metric that is in a document already, at the same time with the same attributes, begins another.
        let place = self.places.get(&key).copied();
        let place = place.filter(|place| {
            self.documents.get(*place).is_some_and(|group| !group.metrics.contains_key(name))
        });
        let place = place.unwrap_or_else(|| {
            self.places.insert(key, self.documents.len());
            let mut fields = Map::new();
            let when = time(point.time).unwrap_or_else(clock::now);
            fields.insert("@timestamp".to_owned(), when.into());
            maybe(&mut fields, "start_timestamp", time(point.start));
            named(&mut fields, "unit", unit.to_owned());
            filled(&mut fields, "attributes", attributes);
            self.documents.push(Group { fields, metrics: Map::new() });
            self.documents.len() - 1
        });
        if let Some(group) = self.documents.get_mut(place) {
            group.metrics.insert(name.to_owned(), value);
            self.values += 1;
        }
    }

    /// Whether it is time to make documents.
    pub(in crate::input::otlp) fn is_full(&self) -> bool {
        self.values >= MOST
    }

    /// The documents, and nothing is held any more.
    pub(in crate::input::otlp) fn take(&mut self) -> impl Iterator<Item = Map<String, Value>> + use<> {
        let Groups { documents, .. } = std::mem::take(self);
        documents.into_iter().map(|Group { mut fields, metrics }| {
            filled(&mut fields, "metrics", metrics);
            fields
        })
    }
}
