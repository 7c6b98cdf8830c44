//! Events that the engine refuses for good: kept where they can be seen.

use std::sync::Arc;

use serde_json::{Value, json};

use super::bulk::Refusal;
use crate::batch::Batch;
use crate::clock;
use crate::event::write_json;

/// The dataset of the data stream that they go to.
const DATASET: &str = "elastic_agent.dead_letter";

/// The original as text is cut here: a document that was refused for its size must not be refused again.
const MOST_TEXT: usize = 512 * 1024;

/// A batch with one document for each refused event: the original as text, and why it was refused. Its events go to
/// `logs-elastic_agent.dead_letter-<namespace>`.
pub(super) fn batch(refused: &[(&Batch, usize, &Refusal)]) -> Option<Batch> {
    let (first, ..) = refused.first()?;
    let mut out = Batch::new(Arc::clone(first.stream()));
    for (batch, item, refusal) in refused {
        let stream = batch.stream();
        let namespace = &stream.data_stream().namespace;
        let index: Arc<str> = format!("logs-{DATASET}-{namespace}").into();
        let original = String::from_utf8_lossy(batch.document(*item));
        let mut end = original.len().min(MOST_TEXT);
        while !original.is_char_boundary(end) {
            end -= 1;
        }
        let document = json!({
            "@timestamp": clock::now(),
            "message": &original[..end],
            "error": {
                "type": refusal.kind,
                "message": refusal.reason,
                "code": refusal.status.to_string(),
            },
            "event": {"dataset": DATASET, "kind": "pipeline_error"},
            "data_stream": {"type": "logs", "dataset": DATASET, "namespace": namespace},
            "ecs": {"version": "8.17.0"},
            "labels": {"index": batch.destination(*item), "stream_id": stream.id(), "input_id": stream.input()},
            "agent": agent(&original),
        });
        // The same refused event is one dead letter, however often it is sent.
        out.push(batch.id(*item).clone(), Some(index), |bytes| {
            write_json(bytes, &document);
            true
        });
    }
    Some(out)
}

/// Who sent it, as the original says.
fn agent(original: &str) -> Value {
    serde_json::from_str::<Value>(original)
        .ok()
        .and_then(|mut original| original.get_mut("agent").map(Value::take))
        .unwrap_or_else(|| json!({}))
}
