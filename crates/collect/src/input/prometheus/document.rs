//! Samples to documents, in the form that users of Prometheus modules know: samples with the same labels become one.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::history::{History, Series};
use super::parse::{Kind, Sample};
use super::settings::Form;
use crate::clock;

/// Documents of one scrape in the making.
pub(super) struct Documents<'a> {
    form: &'a Form,
    history: &'a mut History,
    /// `instance` and `job`, unless a sample has its own.
    usual: &'a Map<String, Value>,
    places: HashMap<String, usize>,
    documents: Vec<Document>,
}

/// What one document has of its own.
#[derive(Debug)]
pub(super) struct Document {
    /// `None`: that of the scrape.
    pub(super) timestamp: Option<String>,
    labels: Map<String, Value>,
    metrics: Map<String, Value>,
    /// Counts of buckets up to each bound, by the name of the histogram.
    buckets: HashMap<String, Vec<(f64, f64)>>,
}

impl<'a> Documents<'a> {
    pub(super) fn new(
        form: &'a Form,
        history: &'a mut History,
        usual: &'a Map<String, Value>,
    ) -> Documents<'a> {
        Documents { form, history, usual, places: HashMap::new(), documents: Vec::new() }
    }

    /// Adds a sample. One whose value is infinite, or none, is left out: there is no such number in JSON.
    pub(super) fn add(&mut self, sample: Sample<'_>) {
        let (name, family, typed) = (sample.name, sample.family, self.form.types);
        if !self.form.wants(&name, family) || !sample.value.is_finite() || name.is_empty() {
            return;
        }
        let bucket = typed && sample.kind == Kind::Histogram && name.ends_with("_bucket");
        let mut labels = self.usual.clone();
        let mut bound = None;
        for (label, value) in sample.labels {
            if bucket && label == "le" {
                bound = value.parse::<f64>().ok();
            } else {
                labels.insert(label.into_owned(), value.into_owned().into());
            }
        }
        let place = self.place(labels, sample.timestamp);
        let Some(document) = self.documents.get_mut(place) else { return };
        if bucket {
            if let Some(bound) = bound.filter(|bound| !bound.is_nan()) {
                document.buckets.entry(family.to_owned()).or_default().push((bound, sample.value));
            }
            return;
        }
        let value = number(sample.value);
        let value = match kind(&name, sample.kind) {
            _ if !typed => value,
            Kind::Counter => {
                let mut fields = Map::from_iter([("counter".to_owned(), value)]);
                let series = Series::new(&name, &document.labels, None);
                // Without two values there is no rate.
                if self.form.rates
                    && let Some(increase) = self.history.increase(series, sample.value)
                {
                    fields.insert("rate".to_owned(), number(increase));
                }
                Value::Object(fields)
            }
            _ => json!({ "value": value }),
        };
        document.metrics.insert(name.into_owned(), value);
    }

    fn place(&mut self, labels: Map<String, Value>, timestamp: Option<i64>) -> usize {
        let key = json!([timestamp, labels]).to_string();
        *self.places.entry(key).or_insert_with(|| {
            let timestamp = timestamp.and_then(|millis| {
                OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
                    .ok()
                    .map(clock::timestamp)
            });
            let document = Document { timestamp, labels, metrics: Map::new(), buckets: HashMap::new() };
            self.documents.push(document);
            self.documents.len() - 1
        })
    }

    /// The documents, those that say nothing left out.
    pub(super) fn finish(self) -> impl Iterator<Item = Document> {
        let Documents { documents, history, .. } = self;
        documents.into_iter().filter_map(move |mut document| {
            for (name, buckets) in std::mem::take(&mut document.buckets) {
                if let Some(value) = histogram(&name, buckets, &document.labels, history) {
                    document.metrics.insert(name, json!({ "histogram": value }));
                }
            }
            (!document.metrics.is_empty()).then_some(document)
        })
    }
}

impl Document {
    /// Whether the target could be scraped, and why not.
    pub(super) fn up(form: &Form, usual: &Map<String, Value>, up: bool) -> Document {
        let value = json!(u8::from(up));
        let value = if form.types { json!({ "value": value }) } else { value };
        let metrics = Map::from_iter([("up".to_owned(), value)]);
        Document { timestamp: None, labels: usual.clone(), metrics, buckets: HashMap::new() }
    }

    /// What stands below `prometheus`.
    pub(super) fn into_value(self, types: bool) -> Value {
        let mut fields = if types {
            self.metrics
        } else {
            Map::from_iter([("metrics".to_owned(), Value::Object(self.metrics))])
        };
        fields.insert("labels".to_owned(), Value::Object(self.labels));
        Value::Object(fields)
    }
}

/// Sums and counts of histograms and summaries only grow too.
fn kind(name: &str, kind: Kind) -> Kind {
    match kind {
        Kind::Histogram | Kind::Summary if name.ends_with("_sum") || name.ends_with("_count") => {
            Kind::Counter
        }
        other => other,
    }
}

/// A number without a fraction as a whole one, so that it looks as it was sent.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "these are whole numbers that fit")]
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// As fields of the type `histogram` have it: the middles of the buckets, and how many came into each since the last
/// scrape. `None`: there was none.
fn histogram(
    name: &str,
    mut buckets: Vec<(f64, f64)>,
    labels: &Map<String, Value>,
    history: &mut History,
) -> Option<Value> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut values, mut counts) = (Vec::new(), Vec::new());
    let (mut low, mut below) = (0.0_f64, 0.0_f64);
    let mut known = true;
    for (index, (bound, cumulated)) in buckets.into_iter().enumerate() {
        // All are told to the history, even when one is new.
        let increase = history.increase(Series::new(name, labels, Some(bound)), cumulated);
        known &= increase.is_some();
        let count = (increase.unwrap_or_default() - below).max(0.0);
        below = increase.unwrap_or_default();
        let middle = match bound {
            bound if bound.is_infinite() => low,
            bound if index == 0 && bound <= 0.0 => bound,
            bound => low + (bound - low) / 2.0,
        };
        low = bound;
        values.push(number(middle));
        counts.push(number(count.round()));
    }
    known.then(|| json!({ "values": values, "counts": counts }))
}
