//! The three kinds of telemetry.

use super::wire::Field;

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Logs,
    Metrics,
    Traces,
}

impl Signal {
    pub(super) const ALL: [Signal; 3] = [Signal::Logs, Signal::Metrics, Signal::Traces];

    /// As policies and data streams name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::Traces => "traces",
        }
    }

    /// The path of its method over gRPC.
    pub(super) fn method(self) -> &'static str {
        match self {
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }

    /// Its path over HTTP, unless the policy says otherwise.
    pub(super) fn path(self) -> &'static str {
        match self {
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
            Signal::Traces => "/v1/traces",
        }
    }

    /// The fields of resources in a request, of scopes in a resource, and of records in a scope.
    pub(super) fn fields(self) -> [Field; 3] {
        match self {
            Signal::Logs => [Field(1, "resourceLogs"), Field(2, "scopeLogs"), Field(2, "logRecords")],
            Signal::Metrics => [Field(1, "resourceMetrics"), Field(2, "scopeMetrics"), Field(2, "metrics")],
            Signal::Traces => [Field(1, "resourceSpans"), Field(2, "scopeSpans"), Field(2, "spans")],
        }
    }

    /// What of an answer tells how many were rejected, in JSON.
    pub(super) fn rejected(self) -> &'static str {
        match self {
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Traces => "rejectedSpans",
        }
    }
}
