//! How a collector says that it is.

use std::sync::Arc;

use fleet_protocol::opamp::ComponentHealth;
use serde_json::{Map, Value, json};

use super::shorten;
use crate::documents::{CheckinStatus, UnhealthyReason};

/// The longest message that is kept, in bytes.
const LONGEST_MESSAGE: usize = 2048;

/// How it is: well, or not at all, or not in each of its parts. A collector's own word for trouble that it may
/// get over is `StatusRecoverableError`, and for its start `StatusStarting`.
pub(super) fn status(health: &ComponentHealth) -> CheckinStatus {
    match (health.healthy, health.status.as_str()) {
        (true, _) if reasons(health).is_empty() => CheckinStatus::Online,
        (true, _) | (false, "StatusRecoverableError") => CheckinStatus::Degraded,
        (false, "StatusStarting") => CheckinStatus::Starting,
        (false, _) => CheckinStatus::Error,
    }
}

/// The same for a person.
pub(super) fn message(health: &ComponentHealth) -> Arc<str> {
    let text = if health.last_error.is_empty() { &health.status } else { &health.last_error };
    shorten(text, LONGEST_MESSAGE).into()
}

/// What of it is not healthy, by the names of its parts: `receiver:otlp`, `exporter:debug`.
pub(super) fn reasons(health: &ComponentHealth) -> Vec<UnhealthyReason> {
    let mut reasons = Vec::new();
    collect("", health, &mut reasons);
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

fn collect(name: &str, health: &ComponentHealth, reasons: &mut Vec<UnhealthyReason>) {
    let before = reasons.len();
    for (name, part) in &health.component_health_map {
        collect(name, part, reasons);
    }
    // What is wrong with a part is said of that part alone.
    if !health.healthy && reasons.len() == before {
        reasons.push(match name.split([':', '/']).next() {
            Some("receiver") => UnhealthyReason::Input,
            Some("exporter") => UnhealthyReason::Output,
            _ => UnhealthyReason::Other,
        });
    }
}

/// As it is stored.
pub(super) fn value(health: &ComponentHealth) -> Value {
    let mut value = Map::from_iter([("healthy".to_owned(), health.healthy.into())]);
    for (key, text) in [("status", &health.status), ("last_error", &health.last_error)] {
        if !text.is_empty() {
            value.insert(key.to_owned(), text.as_str().into());
        }
    }
    for (key, time) in [
        ("start_time_unix_nano", health.start_time_unix_nano),
        ("status_time_unix_nano", health.status_time_unix_nano),
    ] {
        if time != 0 {
            value.insert(key.to_owned(), time.into());
        }
    }
    if !health.component_health_map.is_empty() {
        let parts = health.component_health_map.iter();
        let parts: Map<String, Value> = parts.map(|(name, part)| (name.clone(), self::value(part))).collect();
        value.insert("component_health_map".to_owned(), json!(parts));
    }
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn health(healthy: bool, status: &str, parts: &[(&str, ComponentHealth)]) -> ComponentHealth {
        let parts = parts.iter().map(|(name, part)| ((*name).to_owned(), part.clone()));
        ComponentHealth {
            healthy,
            status: status.to_owned(),
            component_health_map: BTreeMap::from_iter(parts),
            ..ComponentHealth::default()
        }
    }

    #[test]
    fn health_is_a_status() {
        assert_eq!(status(&health(true, "StatusOK", &[])), CheckinStatus::Online);
        assert_eq!(status(&health(false, "StatusPermanentError", &[])), CheckinStatus::Error);
        assert_eq!(status(&health(false, "StatusRecoverableError", &[])), CheckinStatus::Degraded);
        assert_eq!(status(&health(false, "StatusStarting", &[])), CheckinStatus::Starting);
        let ill = health(false, "", &[]);
        assert_eq!(status(&health(true, "", &[("exporter:debug", ill)])), CheckinStatus::Degraded);
    }

    #[test]
    fn parts_tell_what_is_not_healthy() {
        let (well, ill) = (health(true, "", &[]), health(false, "", &[]));
        let pipeline = health(false, "", &[("receiver:otlp", ill.clone()), ("exporter:debug", well)]);
        let whole = health(false, "", &[("pipeline:logs", pipeline), ("extensions", ill.clone())]);
        assert_eq!(reasons(&whole), [UnhealthyReason::Input, UnhealthyReason::Other]);
        assert_eq!(reasons(&ill), [UnhealthyReason::Other]);
    }

    #[test]
    fn it_is_stored_as_it_was_said() {
        let mut said = health(true, "StatusOK", &[("pipeline:logs", health(true, "", &[]))]);
        said.start_time_unix_nano = 5;
        let expected = json!({
            "healthy": true,
            "status": "StatusOK",
            "start_time_unix_nano": 5,
            "component_health_map": {"pipeline:logs": {"healthy": true}},
        });
        assert_eq!(value(&said), expected);
    }
}
