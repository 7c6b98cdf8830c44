//! The data streams of the engines that outputs name.

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right::ReadPackages;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Management;
use super::catalogue::SortOrder;
use super::input::Params;
use super::routes::{Routes, get};
use crate::engines::{DataStream, NotSeen};

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Lists the data streams of the engines that outputs name";
    let names = "Lists the names of these data streams";
    routes.add(get("/api/fleet/data_streams", ReadPackages, summary).answers::<DataStreams>(), list).add(
        get("/api/fleet/epm/data_streams", ReadPackages, names).query::<NamesQuery>().answers::<Names>(),
        list_names,
    )
}

/// The data streams.
#[derive(Debug, Serialize, JsonSchema)]
struct DataStreams {
    data_streams: Vec<Shown>,
    /// The outputs whose engines could not be looked into, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_seen: Vec<NotSeen>,
}

/// A data stream.
#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    /// Its name.
    index: String,
    #[serde(rename = "type")]
    kind: String,
    dataset: String,
    namespace: String,
    /// The installed package whose templates it has; empty: none.
    package: String,
    package_version: String,
    /// The newest `@timestamp` in it, in ms since 1970. `null`: it is empty, or may not be read.
    last_activity_ms: Option<u64>,
    /// With all copies. `null`: the server may not know.
    size_in_bytes: Option<u64>,
    /// As `1.5mb`.
    size_in_bytes_formatted: Option<String>,
    /// An output that names its engine.
    output_id: String,
    /// This server has none.
    dashboards: Vec<Value>,
    /// Of traces alone, and told by others.
    #[serde(rename = "serviceDetails")]
    service_details: Option<Value>,
}

impl Shown {
    fn new(output_id: &str, stream: DataStream) -> Shown {
        let (package, package_version) = stream.package.unwrap_or_default();
        Shown {
            index: stream.name,
            kind: stream.kind,
            dataset: stream.dataset,
            namespace: stream.namespace,
            package,
            package_version,
            last_activity_ms: stream.newest,
            size_in_bytes: stream.bytes,
            size_in_bytes_formatted: stream.bytes.map(formatted),
            output_id: output_id.to_owned(),
            dashboards: Vec::new(),
            service_details: None,
        }
    }
}

/// `GET /data_streams`: those with the newest data first.
async fn list(State(management): State<Management>) -> Json<DataStreams> {
    let fleet = &management.fleet;
    let seen = fleet.engines.data_streams(fleet).await;
    let shown = seen.found.into_iter().flat_map(|(output_id, streams)| {
        streams.into_iter().map(move |stream| Shown::new(&output_id, stream))
    });
    let mut data_streams: Vec<Shown> = shown.collect();
    data_streams
        .sort_by(|a, b| b.last_activity_ms.cmp(&a.last_activity_ms).then_with(|| a.index.cmp(&b.index)));
    Json(DataStreams { data_streams, not_seen: seen.not_seen })
}

/// As engines write sizes.
fn formatted(bytes: u64) -> String {
    let units = ["kb", "mb", "gb", "tb", "pb"];
    if bytes < 1024 {
        return format!("{bytes}b");
    }
    // In tenths, so that nothing is rounded up to what is not there.
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        tenth => format!("{}.{tenth}{unit}", tenths / 10),
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct NamesQuery {
    /// `logs`, `metrics` …
    #[serde(rename = "type")]
    kind: Option<String>,
    /// A part of the dataset.
    dataset_query: Option<String>,
    sort_order: Option<SortOrder>,
    /// Only those that no package has the templates of.
    uncategorised_only: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Names {
    items: Vec<Name>,
    /// The outputs whose engines could not be looked into, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_seen: Vec<NotSeen>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Name {
    name: String,
}

/// `GET /epm/data_streams`
async fn list_names(State(management): State<Management>, Params(asked): Params<NamesQuery>) -> Json<Names> {
    let fleet = &management.fleet;
    let is_wanted = |stream: &DataStream| {
        asked.kind.as_ref().is_none_or(|kind| *kind == stream.kind)
            && asked.dataset_query.as_ref().is_none_or(|part| stream.dataset.contains(part))
            && (asked.uncategorised_only != Some(true) || stream.package.is_none())
    };
    let seen = fleet.engines.data_stream_names(fleet).await;
    let streams = seen.found.into_iter().flat_map(|(_, streams)| streams);
    let mut names: Vec<String> = streams.filter(is_wanted).map(|stream| stream.name).collect();
    names.sort();
    names.dedup();
    if asked.sort_order == Some(SortOrder::Desc) {
        names.reverse();
    }
    Json(Names { items: names.into_iter().map(|name| Name { name }).collect(), not_seen: seen.not_seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [
            (0, "0b"),
            (1023, "1023b"),
            (1024, "1kb"),
            (1536, "1.5kb"),
            (1024 * 1024 - 1, "1023.9kb"),
            (5 << 30, "5gb"),
            (u64::MAX, "16383.9pb"),
        ] {
            assert_eq!(formatted(bytes), expected, "{bytes}");
        }
    }
}
