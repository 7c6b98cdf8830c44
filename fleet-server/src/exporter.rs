//! `/metrics`: what a server does, and how its agents are.

use std::sync::Arc;
use std::time::Duration;

use fleet_service::metrics::{Buckets, CallNames, Calls, Metrics};
use fleet_store::decorate::{Observer, Operation};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::fleet::Fleet;

/// Upper bounds for the time of a call to the store, in seconds.
const CALL_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Upper bounds for the time of an answer, in seconds.
const ANSWER_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteStatus {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Counts the requests of agents.
#[derive(Clone, Debug)]
pub struct Requests {
    answered: Family<RouteStatus, Counter>,
    durations: Family<Route, Histogram, Buckets>,
}

impl Requests {
    /// A request was answered, or is held from now on: with this status, after this time.
    pub fn observe(&self, route: &'static str, status: u16, took: Duration) {
        self.answered.get_or_create(&RouteStatus { route, status }).inc();
        self.durations.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }
}

/// Counts calls to the store.
#[derive(Debug)]
struct StoreCalls(Calls);

impl Observer for StoreCalls {
    fn observe(&self, operation: Operation, took: Duration, failed: bool) {
        self.0.observe(operation.as_str(), took, failed);
    }
}

/// Shows the metrics of a server.
#[derive(Debug)]
pub struct Exporter {
    metrics: Metrics,
    calls: Calls,
    requests: Requests,
    held: Gauge,
    agents: Family<Status, Gauge>,
    quarantined: Family<Kind, Gauge>,
    is_ready: Gauge,
}

impl Default for Exporter {
    fn default() -> Exporter {
        let mut metrics = Metrics::with_process();
        let names = CallNames {
            count: "fleet_server_store_calls_total",
            failed: "fleet_server_store_calls_failed_total",
            duration: "fleet_server_store_call_duration_seconds",
        };
        let kinds = Operation::ALL.map(Operation::as_str);
        Exporter {
            calls: Calls::new(&mut metrics, names, kinds, CALL_BUCKETS),
            requests: Requests {
                answered: metrics.counters(
                    "fleet_server_requests_total",
                    "Requests of agents that were answered, by route and status; held ones when they are answered.",
                ),
                durations: metrics.histograms(
                    "fleet_server_request_duration_seconds",
                    "Time until a request of an agent is answered or held, in seconds.",
                    ANSWER_BUCKETS,
                ),
            },
            held: metrics.gauge("fleet_server_checkins_held", "Check-ins that are held now."),
            agents: metrics.gauges("fleet_server_agents", "Agents by status."),
            quarantined: metrics.gauges(
                "fleet_server_documents_quarantined",
                "Documents that cannot be used and are set aside, by kind.",
            ),
            is_ready: metrics.gauge("fleet_server_ready", "1 once everything has been read from the store."),
            metrics,
        }
    }
}

impl Exporter {
    /// Who counts calls to the store.
    #[must_use]
    pub fn store_observer(&self) -> Arc<dyn Observer> {
        Arc::new(StoreCalls(self.calls.clone()))
    }

    /// Who counts requests.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// All metrics as text. `None`: one cannot be written.
    #[must_use]
    pub fn text(&self, fleet: &Fleet) -> Option<String> {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.held.set(gauge(fleet.sessions.count()));
        self.is_ready.set(i64::from(fleet.is_ready()));
        for (status, count) in fleet.count_by_status().iter() {
            self.agents
                .get_or_create(&Status { status: status.as_str() })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for (kind, count) in [
            ("agent", fleet.agents.malformed().len()),
            ("policy", fleet.policies.malformed().len()),
            ("action", fleet.actions.quarantined().len()),
        ] {
            self.quarantined.get_or_create(&Kind { kind }).set(gauge(count));
        }
        self.metrics.encode().ok()
    }
}
