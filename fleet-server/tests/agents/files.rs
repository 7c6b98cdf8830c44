//! Files, and how they are cut up and hashed.

use bytes::Bytes;
use http::StatusCode;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::agent::{Agent, Answer, Way, raw, request, with};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 4 << 20;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is to be uploaded.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) chunks: Vec<Bytes>,
}

/// Bytes that differ from place to place.
pub(crate) fn content(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from((at / 7 + at / 4099) % 251).unwrap()).collect::<Vec<u8>>().into()
}

pub(crate) fn announcement(agent: &Agent, size: usize) -> Value {
    json!({
        "file": {"name": "diagnostics.zip", "size": size, "mime_type": "application/zip", "Compression": ""},
        "action_id": "action-1",
        "agent_id": agent.id,
        "src": "agent",
        "unknown": true,
    })
}

impl Upload {
    pub(crate) async fn begin(way: &Way, agent: &Agent, content: &Bytes) -> Upload {
        let body = announcement(agent, content.len());
        let answer = way.send(request("POST", "/api/fleet/uploads", &agent.key, &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.body["chunk_size"], CHUNK);
        let id = answer.body["upload_id"].as_str().unwrap().to_owned();
        let starts = (0..content.len()).step_by(CHUNK);
        let chunks = starts.map(|at| content.slice(at..content.len().min(at + CHUNK))).collect();
        Upload { id, chunks }
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/fleet/uploads/{}", self.id)
    }

    pub(crate) async fn send(&self, way: &Way, agent: &Agent, number: usize) -> Answer {
        let chunk = &self.chunks[number];
        let request = raw("PUT", &format!("{}/{number}", self.path()), &agent.key, chunk.clone());
        way.send(with(request, "x-chunk-sha2", &sha256(chunk))).await
    }

    pub(crate) fn transit(&self) -> String {
        let digests: Vec<u8> =
            self.chunks.iter().flat_map(|chunk| digest(&SHA256, chunk).as_ref().to_vec()).collect();
        sha256(&digests)
    }

    pub(crate) async fn finish(&self, way: &Way, agent: &Agent) -> Answer {
        let body = json!({"transithash": {"sha256": self.transit()}});
        way.send(request("POST", &self.path(), &agent.key, &body)).await
    }
}
