//! What calls to some engine cost.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::{Buckets, Metrics};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

/// The label of the histogram. It is not that of the counters: the metrics of coreos/fleet have it so.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ops {
    ops: &'static str,
}

/// The names of the metrics of [`Calls`].
#[derive(Clone, Copy, Debug)]
pub struct CallNames {
    /// The counter of calls, labelled `type`.
    pub count: &'static str,
    /// The counter of failed calls, labelled `type`.
    pub failed: &'static str,
    /// The histogram of their durations in seconds, labelled `ops`.
    pub duration: &'static str,
}

/// Counts calls by their kinds, and takes their time.
#[derive(Clone, Debug)]
pub struct Calls {
    calls: Family<Kind, Counter>,
    failures: Family<Kind, Counter>,
    durations: Family<Ops, Histogram, Buckets>,
}

impl Calls {
    /// Calls of these kinds, which are all shown from the start: who watches a counter must see it rise from
    /// 0. `buckets` are upper bounds of durations in seconds.
    pub fn new(
        metrics: &mut Metrics,
        names: CallNames,
        kinds: impl IntoIterator<Item = &'static str>,
        buckets: &'static [f64],
    ) -> Calls {
        let calls = Calls {
            calls: metrics.counters(names.count, "Counter of calls to the store."),
            failures: metrics.counters(names.failed, "Counter of failed calls to the store."),
            durations: metrics.histograms(names.duration, "Time of calls to the store in seconds.", buckets),
        };
        for r#type in kinds {
            drop(calls.calls.get_or_create(&Kind { r#type }));
            drop(calls.failures.get_or_create(&Kind { r#type }));
            drop(calls.durations.get_or_create(&Ops { ops: r#type }));
        }
        calls
    }

    /// A call is over.
    pub fn observe(&self, r#type: &'static str, took: Duration, failed: bool) {
        self.calls.get_or_create(&Kind { r#type }).inc();
        if failed {
            self.failures.get_or_create(&Kind { r#type }).inc();
        }
        self.durations.get_or_create(&Ops { ops: r#type }).observe(took.as_secs_f64());
    }
}
