//! Documents of what was sent.
//!
//! Attributes keep their names, dots and all, in maps that the engine takes as one field each (`attributes`,
//! `resource.attributes`, `scope.attributes`): any number of them makes no new fields. What identifies a service, its
//! host and container, and its SDK has fields of its own, and so have identifiers and severities, under the names of
//! the common schema where it has some. A document tells the host of its resource, where the resource names one.
//!
//! | of | document |
//! |---|---|
//! | a log record | `message` (a body with a structure as JSON), `log.level`, `severity_number`, `event.name`, `trace.id`, `span.id`, `observed_timestamp` |
//! | a span | `span.id`, `span.name`, `trace.id`, `parent.id`, `kind`, `duration` in nanoseconds, `status`, `event.outcome`, `links`, `events` |
//! | data points of one scope with the same times, attributes and unit | `metrics.<name>` each, `unit`, `start_timestamp` |
//!
//! Values of metrics: a number of gauges and sums; `{values, counts}` of histograms, with the middles of the buckets;
//! `{sum, value_count}` of summaries. These are the forms of the engine's types `histogram` and
//! `aggregate_metric_double`, and can be searched without them too.

pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod origin;
pub(super) mod traces;
mod value;
