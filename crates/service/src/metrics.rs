//! Metrics in the text format of Prometheus, version 0.0.4.
//!
//! The registry below writes OpenMetrics, which leaves `_total` off in the comments of a counter and ends
//! with a mark. Readers of the older format, which all understand, would then take a counter for a metric of
//! unknown type: [`Metrics::encode`] translates.

mod calls;
mod process;

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use calls::{CallNames, Calls};
use process::ProcessCollector;

/// The content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels that a metric may have. Each combination of values is a series of its own that is never dropped, so
/// there must be few: no names of units, no ids.
pub trait Labels: EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static {}

impl<T: EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static> Labels for T {}

/// All metrics of a daemon.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
}

/// Makes the histograms of a family, all with the same buckets.
#[derive(Clone, Debug)]
pub struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Metrics {
    /// Without any metric.
    #[must_use]
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// With those of the process: `process_cpu_seconds_total`, `process_open_fds`, `process_max_fds`,
    /// `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_start_time_seconds`.
    #[must_use]
    pub fn with_process() -> Metrics {
        let mut metrics = Metrics::new();
        metrics.registry.register_collector(Box::new(ProcessCollector));
        metrics
    }

    /// A counter. Its name ends in `_total`; if it does not, that is added.
    pub fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.registry.register(without_total(name), without_stop(help), counter.clone());
        counter
    }

    /// A counter for each set of labels.
    pub fn counters<L: Labels>(&mut self, name: &str, help: &str) -> Family<L, Counter> {
        let family = Family::default();
        self.registry.register(without_total(name), without_stop(help), family.clone());
        family
    }

    /// A gauge of whole numbers.
    pub fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.registry.register(name, without_stop(help), gauge.clone());
        gauge
    }

    /// A gauge for each set of labels.
    pub fn gauges<L: Labels>(&mut self, name: &str, help: &str) -> Family<L, Gauge> {
        let family = Family::default();
        self.registry.register(name, without_stop(help), family.clone());
        family
    }

    /// A histogram with these upper bounds; the one for all the rest is added.
    pub fn histogram(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Histogram {
        let histogram = Histogram::new(buckets.iter().copied());
        self.registry.register(name, without_stop(help), histogram.clone());
        histogram
    }

    /// A histogram for each set of labels.
    pub fn histograms<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        buckets: &'static [f64],
    ) -> Family<L, Histogram, Buckets> {
        let family = Family::new_with_constructor(Buckets(buckets));
        self.registry.register(name, without_stop(help), family.clone());
        family
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut openmetrics = String::with_capacity(4096);
        text::encode_registry(&mut openmetrics, &self.registry)?;
        Ok(translate(&openmetrics))
    }
}

/// The registry adds a full stop.
fn without_stop(help: &str) -> &str {
    help.strip_suffix('.').unwrap_or(help)
}

fn without_total(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// OpenMetrics to Prometheus: a counter is called in its comments what it is called in its samples.
fn translate(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 256);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let followed_by_counter = lines.peek().is_some_and(|next| is_counter(next));
        if is_counter(line) || (line.starts_with("# HELP ") && followed_by_counter) {
            push_renamed(&mut text, line);
        } else if !line.starts_with("# UNIT ") {
            text.push_str(line);
        } else {
            continue;
        }
        text.push('\n');
    }
    text
}

/// A comment is `# WORD name …`.
fn push_renamed(text: &mut String, comment: &str) {
    let mut parts = comment.splitn(4, ' ');
    for part in parts.by_ref().take(2) {
        text.push_str(part);
        text.push(' ');
    }
    text.push_str(parts.next().unwrap_or_default());
    text.push_str("_total ");
    text.push_str(parts.next().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;

    use super::Metrics;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Task {
        r#type: &'static str,
    }

    #[test]
    fn names_come_out_as_they_are_documented() {
        let mut metrics = Metrics::new();
        let reconciles = metrics.counter("fleet_engine_reconcile_count_total", "Reconcile rounds.");
        let tasks = metrics.counters::<Task>("fleet_engine_task_count_total", "Engine tasks.");
        let leader = metrics.gauge("fleet_engine_leader_start_time", "When it became the leader.");
        let buckets = &[0.5, 1.0];
        let duration =
            metrics.histogram("fleet_engine_reconcile_duration_second", "Duration of rounds.", buckets);
        reconciles.inc_by(774);
        tasks.get_or_create(&Task { r#type: "unscheduleunit" }).inc();
        leader.set(1_795_287_758);
        duration.observe(0.7);
        let expected = "\
# HELP fleet_engine_reconcile_count_total Reconcile rounds.
# TYPE fleet_engine_reconcile_count_total counter
fleet_engine_reconcile_count_total 774
# HELP fleet_engine_task_count_total Engine tasks.
# TYPE fleet_engine_task_count_total counter
fleet_engine_task_count_total{type=\"unscheduleunit\"} 1
# HELP fleet_engine_leader_start_time When it became the leader.
# TYPE fleet_engine_leader_start_time gauge
fleet_engine_leader_start_time 1795287758
# HELP fleet_engine_reconcile_duration_second Duration of rounds.
# TYPE fleet_engine_reconcile_duration_second histogram
fleet_engine_reconcile_duration_second_sum 0.7
fleet_engine_reconcile_duration_second_count 1
fleet_engine_reconcile_duration_second_bucket{le=\"0.5\"} 0
fleet_engine_reconcile_duration_second_bucket{le=\"1.0\"} 1
fleet_engine_reconcile_duration_second_bucket{le=\"+Inf\"} 1
";
        assert_eq!(metrics.encode().unwrap(), expected);
    }

    #[test]
    fn families_of_gauges_and_histograms_have_labels() {
        let mut metrics = Metrics::new();
        metrics.gauges::<Task>("units", "Units.").get_or_create(&Task { r#type: "a" }).set(2);
        let durations = metrics.histograms::<Task>("seconds", "Durations.", &[1.0]);
        durations.get_or_create(&Task { r#type: "b" }).observe(3.0);
        let text = metrics.encode().unwrap();
        assert!(text.contains("units{type=\"a\"} 2\n"), "{text}");
        assert!(text.contains("seconds_bucket{le=\"1.0\",type=\"b\"} 0\n"), "{text}");
        assert!(text.contains("seconds_bucket{le=\"+Inf\",type=\"b\"} 1\n"), "{text}");
    }

    #[test]
    fn the_process_measures_itself() {
        let text = Metrics::with_process().encode().unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0, "{text}");
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"), "{text}");
        assert!(value("process_open_fds") >= 3.0, "{text}");
        assert!(value("process_max_fds") >= value("process_open_fds"), "{text}");
        assert!(value("process_cpu_seconds_total") >= 0.0, "{text}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
    }
}
