//! Whether data of agents has arrived: what agents send goes past this server, so that their engines are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::looks::{DATA, Seen, look_into};
use super::streams::in_one_path;
use super::wanted::data_outputs;
use super::{Access, EngineProblem};
use crate::fleet::Fleet;

/// Data counts that is so old at most: whoever asks has just set an agent up.
const RECENT: &str = "now-5m";
/// Documents that are shown.
const SHOWN: usize = 5;
/// So many agents are asked about in one request.
const TOGETHER: usize = 200;

/// Whose data is looked for, and where.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// The agents, with their policies.
    pub(crate) agents: BTreeMap<String, String>,
    /// Patterns of data streams; none: all data.
    pub(crate) patterns: Vec<String>,
    /// Whether to show some of it.
    pub(crate) preview: bool,
}

/// What of it one engine has.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// The agents whose data is there.
    pub(crate) agents: BTreeSet<String>,
    /// The newest documents, as the engine gives them.
    pub(crate) preview: Vec<Value>,
}

impl super::Engines {
    /// What of agents' data has arrived in the engines that their policies send it to.
    pub(crate) async fn arrived(&self, fleet: &Fleet, looked: Looked) -> Seen<Arrived> {
        let policies: BTreeSet<&str> = looked.agents.values().map(String::as_str).collect();
        let outputs = data_outputs(fleet, &policies);
        let looked = Arc::new(looked);
        look_into(fleet, outputs, |access, _| arrived(access, Arc::clone(&looked))).await
    }
}

async fn arrived(access: Arc<Access>, looked: Arc<Looked>) -> Result<Arrived, EngineProblem> {
    let streams = match looked.patterns.is_empty() {
        true => DATA.to_owned(),
        false => in_one_path(looked.patterns.iter().map(String::as_str)),
    };
    let path = format!(
        "/{streams}/_search?ignore_unavailable=true&allow_no_indices=true\
         &filter_path=hits.hits,aggregations.agents.buckets.*.doc_count"
    );
    let mut arrived = Arrived::default();
    let ids: Vec<&String> = looked.agents.keys().collect();
    for ids in ids.chunks(TOGETHER) {
        // A phrase finds an id as a keyword and as a text: not every engine was given templates.
        let of = |id: &String| json!({"match_phrase": {"agent.id": id}});
        let each: Map<String, Value> = ids.iter().map(|id| ((*id).clone(), of(id))).collect();
        let some: Vec<&Value> = each.values().collect();
        let size = if looked.preview { SHOWN - arrived.preview.len() } else { 0 };
        let body = json!({
            "size": size, "track_total_hits": false, "timeout": "5s",
            "sort": [{"@timestamp": {"order": "desc", "unmapped_type": "date"}}],
            "query": {"bool": {
                "filter": [{"range": {"@timestamp": {"gte": RECENT}}}],
                "should": some, "minimum_should_match": 1,
            }},
            "aggs": {"agents": {"filters": {"filters": each}}},
        });
        let mut answer = access.connection.post(&path, &body).await?.good("POST /_search")?;
        let buckets = &answer["aggregations"]["agents"]["buckets"];
        let is_there =
            |id: &&&String| buckets[id.as_str()]["doc_count"].as_u64().is_some_and(|count| count > 0);
        arrived.agents.extend(ids.iter().filter(is_there).map(|id| (*id).clone()));
        if let Value::Array(hits) = answer["hits"]["hits"].take() {
            // An engine may send more than it was asked for.
            arrived.preview.extend(hits.into_iter().take(size));
        }
    }
    Ok(arrived)
}
