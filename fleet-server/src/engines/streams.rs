//! The data streams of engines.
//!
//! What they are asked for is what every Elasticsearch and OpenSearch answers in the same way: which data streams
//! there are, how large their indices are, and the newest time in each. What a login may not read is not listed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use fleet_integration::assets::AssetKind;
use http::Method;
use serde_json::{Value, json};

use super::connection::in_path;
use super::looks::{DATA, Seen, look_into};
use super::{Access, EngineProblem};
use crate::fleet::Fleet;

/// The most data streams that are told of one engine.
const MOST: usize = 10_000;
/// So many are asked for their newest time in one request.
const TOGETHER: usize = 200;

/// A data stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DataStream {
    /// `type-dataset-namespace`.
    pub(crate) name: String,
    /// `logs`, `metrics` …
    pub(crate) kind: String,
    pub(crate) dataset: String,
    pub(crate) namespace: String,
    /// The installed package whose templates it has, and its version.
    pub(crate) package: Option<(String, String)>,
    /// With all copies; `None`: the login may not know.
    pub(crate) bytes: Option<u64>,
    /// The newest `@timestamp`, in ms since 1970; `None`: there is none, or the login may not read it.
    pub(crate) newest: Option<u64>,
}

/// Index templates and the packages that have put them there, with their versions.
type Templates = HashMap<String, (String, String)>;

impl super::Engines {
    /// The data streams of all engines that outputs name.
    pub(crate) async fn data_streams(&self, fleet: &Fleet) -> Seen<Vec<DataStream>> {
        look_into(fleet, engines(fleet), |access, outputs| {
            let templates = self.templates(&outputs);
            async move {
                let mut streams = list(&access, &templates).await?;
                measure(&access, &mut streams).await?;
                Ok(streams.into_values().map(|(stream, _)| stream).collect())
            }
        })
        .await
    }

    /// The same, without sizes and times.
    pub(crate) async fn data_stream_names(&self, fleet: &Fleet) -> Seen<Vec<DataStream>> {
        look_into(fleet, engines(fleet), |access, outputs| {
            let templates = self.templates(&outputs);
            async move {
                let streams = list(&access, &templates).await?;
                Ok(streams.into_values().map(|(stream, _)| stream).collect())
            }
        })
        .await
    }

    fn templates(&self, outputs: &[String]) -> Templates {
        let all = self.packages.all();
        let of_outputs = all.values().filter(|found| outputs.contains(&found.value.output_id));
        let templates = of_outputs.flat_map(|found| {
            let package = (found.value.name.clone(), found.value.version.clone());
            let assets = found.value.assets.iter().filter(|asset| asset.kind == AssetKind::IndexTemplate);
            assets.map(move |asset| (asset.id.clone(), package.clone()))
        });
        templates.collect()
    }
}

/// The outputs that are engines.
fn engines(fleet: &Fleet) -> BTreeSet<String> {
    let outputs = fleet.settings.outputs.all();
    let engines = outputs.iter().filter(|(_, output)| output.value.kind.is_engine());
    engines.map(|(id, _)| id.clone()).collect()
}

/// By their names, with the indices that they are made of.
type Listed = BTreeMap<String, (DataStream, Vec<String>)>;

async fn list(access: &Arc<Access>, templates: &Templates) -> Result<Listed, EngineProblem> {
    let path = format!("/_resolve/index/{DATA}?expand_wildcards=open,hidden");
    let mut answer = access.connection.get(&path).await?.good("GET /_resolve/index")?;
    let Value::Array(found) = answer["data_streams"].take() else { return Ok(Listed::new()) };
    let mut listed = Listed::new();
    for one in found.into_iter().take(MOST) {
        let Some(name) = one["name"].as_str() else { continue };
        let Some(stream) = named(name, templates) else { continue };
        let indices = one["backing_indices"].as_array().into_iter().flatten();
        let indices = indices.filter_map(|index| index.as_str().map(str::to_owned));
        listed.insert(name.to_owned(), (stream, indices.collect()));
    }
    Ok(listed)
}

/// What a name tells. No part but the last may have a `-` in it.
fn named(name: &str, templates: &Templates) -> Option<DataStream> {
    let mut parts = name.splitn(3, '-');
    let (kind, dataset, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    Some(DataStream {
        package: templates.get(&format!("{kind}-{dataset}")).cloned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        dataset: dataset.to_owned(),
        namespace: namespace.to_owned(),
        bytes: None,
        newest: None,
    })
}

/// Sizes and newest times.
async fn measure(access: &Arc<Access>, listed: &mut Listed) -> Result<(), EngineProblem> {
    if listed.is_empty() {
        return Ok(());
    }
    let path = format!(
        "/{DATA}/_stats/store?level=indices&expand_wildcards=open,hidden\
         &filter_path=indices.*.total.store.size_in_bytes"
    );
    let stats = access.connection.get(&path).await?;
    // Who may read data need not be somebody who may know how large it is.
    if stats.status != 403 {
        let stats = stats.good("GET /_stats")?;
        for (stream, indices) in listed.values_mut() {
            let sizes = indices
                .iter()
                .filter_map(|index| stats["indices"][index]["total"]["store"]["size_in_bytes"].as_u64());
            stream.bytes = Some(sizes.sum());
        }
    }
    let names: Vec<String> = listed.keys().cloned().collect();
    for names in names.chunks(TOGETHER) {
        let newest = newest(access, names).await?;
        for (name, newest) in names.iter().zip(newest) {
            if let Some((stream, _)) = listed.get_mut(name) {
                stream.newest = newest;
            }
        }
    }
    Ok(())
}

/// The newest times of data streams, in their order. The engine knows them without reading documents.
async fn newest(access: &Arc<Access>, names: &[String]) -> Result<Vec<Option<u64>>, EngineProblem> {
    let search = json!({"size": 0, "aggs": {"newest": {"max": {"field": "@timestamp"}}}});
    let mut lines = String::new();
    for name in names {
        let head = json!({"index": name, "ignore_unavailable": true});
        // Writing into a text does not fail.
        let _ = write!(lines, "{head}\n{search}\n");
    }
    let path = "/_msearch?filter_path=responses.status,responses.aggregations.newest.value";
    let answer =
        access.connection.send(Method::POST, path, Bytes::from(lines)).await?.good("POST /_msearch")?;
    let newest = |at: usize| {
        let value = answer["responses"][at]["aggregations"]["newest"]["value"].as_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "times after 1970, in ms"
        )]
        value.filter(|value| *value >= 0.0).map(|value| value as u64)
    };
    Ok((0..names.len()).map(newest).collect())
}

/// Names of data streams as a part of a path.
pub(super) fn in_one_path<'a>(patterns: impl IntoIterator<Item = &'a str>) -> String {
    let patterns =
        patterns.into_iter().map(|pattern| pattern.split('*').map(in_path).collect::<Vec<_>>().join("*"));
    patterns.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_are_of() {
        let package = ("nginx".to_owned(), "1.0.0".to_owned());
        let templates = Templates::from([("logs-nginx.access".to_owned(), package.clone())]);
        let stream = named("logs-nginx.access-a-b", &templates).unwrap();
        assert_eq!((&*stream.kind, &*stream.dataset, &*stream.namespace), ("logs", "nginx.access", "a-b"));
        assert_eq!(stream.package, Some(package));
        assert_eq!(named("logs-nginx.error-default", &templates).unwrap().package, None);
        assert_eq!(named("logs-nginx", &templates), None);
    }

    #[test]
    fn stars_stay_in_patterns() {
        assert_eq!(in_one_path(["logs-a/b.*-*", "x-y-*"]), "logs-a%2Fb.*-*,x-y-*");
    }
}
