//! `/metrics`: what the engine and the store count, under the documented names.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fleet_cluster::engine::metrics::Metrics as EngineMetrics;
use fleet_service::metrics::{CONTENT_TYPE, CallNames, Calls, Metrics};
use fleet_store::decorate::{Observer, Operation};
use http::{HeaderValue, Response, StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Upper bounds for the duration of a round of the engine, in seconds: from a change of one unit to a first
/// pass over a large cluster.
const ROUND_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds for the duration of a call to the store, in seconds: from a read of an embedded store to
/// `etcd_request_timeout`, and somewhat more.
const CALL_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

/// Counts calls to the store.
#[derive(Clone, Debug)]
struct StoreCalls(Calls);

impl StoreCalls {
    fn new(metrics: &mut Metrics) -> StoreCalls {
        let names = CallNames {
            count: Operation::COUNT,
            failed: Operation::FAILED_COUNT,
            duration: Operation::DURATION,
        };
        StoreCalls(Calls::new(metrics, names, Operation::ALL.map(Operation::as_str), CALL_BUCKETS))
    }
}

impl Observer for StoreCalls {
    fn observe(&self, operation: Operation, took: Duration, failed: bool) {
        self.0.observe(operation.as_str(), took, failed);
    }
}

/// Shows the daemon's metrics.
#[derive(Debug)]
pub struct Exporter {
    metrics: Metrics,
    engine: Arc<EngineMetrics>,
    calls: StoreCalls,
    leader_start_time: Gauge,
    tasks: Family<Kind, Counter>,
    task_failures: Family<Kind, Counter>,
    reconciles: Counter,
    reconcile_failures: Family<Kind, Counter>,
    waiting: Gauge,
}

impl Exporter {
    /// An exporter of the engine's and the process's metrics.
    pub fn new() -> Exporter {
        let mut metrics = Metrics::with_process();
        let rounds = metrics.histogram(
            "fleet_engine_reconcile_duration_second",
            "Time of a reconcile round in seconds.",
            ROUND_BUCKETS,
        );
        let engine = EngineMetrics::observed(Box::new(move |took| rounds.observe(took.as_secs_f64())));
        Exporter {
            leader_start_time: metrics.gauge(
                "fleet_engine_leader_start_time",
                "Start time of becoming an engine leader since epoch in seconds; 0 when not the leader.",
            ),
            tasks: metrics.counters("fleet_engine_task_count_total", "Counter of engine schedule tasks."),
            task_failures: metrics.counters(
                "fleet_engine_task_failure_count_total",
                "Counter of engine schedule tasks that failed.",
            ),
            reconciles: metrics.counter("fleet_engine_reconcile_count_total", "Counter of reconcile rounds."),
            reconcile_failures: metrics.counters(
                "fleet_engine_reconcile_failure_count_total",
                "Counter of what a reconcile round found or ran into: machine_away, run, schedule.",
            ),
            waiting: metrics.gauge(
                "fleet_engine_units_pending",
                "Units that are not where they should be, as of the leader's last round.",
            ),
            calls: StoreCalls::new(&mut metrics),
            engine: Arc::new(engine),
            metrics,
        }
    }

    /// What the engine counts into.
    pub fn engine(&self) -> Arc<EngineMetrics> {
        Arc::clone(&self.engine)
    }

    /// Who counts calls to the store.
    pub fn store_observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.calls.clone())
    }

    /// The answer to `GET /metrics`.
    pub fn response(&self) -> Response<Bytes> {
        self.update();
        match self.metrics.encode() {
            Ok(text) => {
                let mut response = Response::new(text.into());
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            Err(_) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    fn update(&self) {
        let engine = &self.engine;
        let set = |family: &Family<Kind, Counter>, r#type, value| {
            family.get_or_create(&Kind { r#type }).inner().store(value, Ordering::Relaxed);
        };
        self.leader_start_time
            .set(engine.leader_since().and_then(|since| since.try_into().ok()).unwrap_or(0));
        set(&self.tasks, "attemptscheduleunit", engine.scheduled.get());
        set(&self.tasks, "unscheduleunit", engine.unscheduled.get());
        set(&self.task_failures, "attemptscheduleunit", engine.schedule_failures.get());
        set(&self.task_failures, "unscheduleunit", engine.unschedule_failures.get());
        self.reconciles.inner().store(engine.rounds.get(), Ordering::Relaxed);
        set(&self.reconcile_failures, "machine_away", engine.machine_away.get());
        set(&self.reconcile_failures, "run", engine.unscheduled.get());
        set(&self.reconcile_failures, "schedule", engine.store_failures.get());
        self.waiting.set(engine.waiting.get().try_into().unwrap_or(i64::MAX));
    }
}

impl Default for Exporter {
    fn default() -> Exporter {
        Exporter::new()
    }
}
