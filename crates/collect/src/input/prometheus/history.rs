//! What counters were at the last scrape.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

/// A series, by a number made of its name and labels: names and labels themselves would take ten times the memory.
/// Two series with the same number would spoil each other's rate, once in billions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Series(u64);

impl Series {
    /// Of a metric, or of one bucket of it.
    pub(super) fn new(name: &str, labels: &Map<String, Value>, bound: Option<f64>) -> Series {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        bound.map(f64::to_bits).hash(&mut hasher);
        for (label, value) in labels {
            label.hash(&mut hasher);
            value.as_str().hash(&mut hasher);
        }
        Series(hasher.finish())
    }
}

/// The counters of one target. What is no longer told is forgotten with the next scrape.
#[derive(Debug, Default)]
pub(super) struct History {
    last: HashMap<Series, f64>,
    now: HashMap<Series, f64>,
}

impl History {
    /// By how much it has grown since the last scrape. `None`: it was not there, or has begun anew.
    pub(super) fn increase(&mut self, series: Series, value: f64) -> Option<f64> {
        self.now.insert(series, value);
        let last = self.last.get(&series)?;
        (value >= *last).then_some(value - last)
    }

    /// The scrape is over.
    pub(super) fn turn(&mut self) {
        self.last = std::mem::take(&mut self.now);
    }
}
