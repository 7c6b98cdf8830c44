//! What all records of a resource and a scope have in common.

use serde_json::{Map, Value};

use super::value::{attributes, counted, filled, named, text};
use crate::config::{merge, nested};
use crate::input::otlp::wire::types::{Resource, Scope};

/// Attributes of a resource that have a field of their own, under the same name or another. The names are those of
/// OpenTelemetry's semantic conventions and of the common schema.
const FIELDS: &[(&str, &str)] = &[
    ("cloud.account.id", "cloud.account.id"),
    ("cloud.availability_zone", "cloud.availability_zone"),
    ("cloud.provider", "cloud.provider"),
    ("cloud.region", "cloud.region"),
    ("container.id", "container.id"),
    ("container.image.name", "container.image.name"),
    ("container.name", "container.name"),
    ("deployment.environment", "deployment.environment.name"),
    ("deployment.environment.name", "deployment.environment.name"),
    ("host.arch", "host.architecture"),
    ("host.id", "host.id"),
    ("host.name", "host.name"),
    ("host.type", "host.type"),
    ("service.instance.id", "service.instance.id"),
    ("service.name", "service.name"),
    ("service.namespace", "service.namespace"),
    ("service.version", "service.version"),
    ("telemetry.sdk.language", "telemetry.sdk.language"),
    ("telemetry.sdk.name", "telemetry.sdk.name"),
    ("telemetry.sdk.version", "telemetry.sdk.version"),
];

/// The fields of a resource.
pub(in crate::input::otlp) fn resource(resource: Resource) -> Map<String, Value> {
    let mut own = Map::new();
    let mut rest = attributes(resource.attributes);
    for (attribute, field) in FIELDS {
        if let Some(value) = rest.remove(*attribute) {
            own.insert((*field).to_owned(), Value::String(text(value)));
        }
    }
    let mut fields = nested(&own);
    let mut left = Map::new();
    filled(&mut left, "attributes", rest);
    counted(&mut left, "dropped_attributes_count", resource.dropped_attributes_count);
    filled(&mut fields, "resource", left);
    fields
}

/// Those of a scope, over those of its resource.
pub(in crate::input::otlp) fn scope(resource: &Map<String, Value>, scope: Scope) -> Map<String, Value> {
    let mut fields = resource.clone();
    let mut own = Map::new();
    named(&mut own, "name", scope.name);
    named(&mut own, "version", scope.version);
    filled(&mut own, "attributes", attributes(scope.attributes));
    counted(&mut own, "dropped_attributes_count", scope.dropped_attributes_count);
    if !own.is_empty() {
        merge(&mut fields, "scope".to_owned(), Value::Object(own));
    }
    fields
}
