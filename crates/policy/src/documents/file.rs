//! Files: what agents upload, and what is delivered to them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How far a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FileStatus {
    /// Announced; nothing of it has come.
    #[default]
    AwaitingUpload,
    /// Some of it has come.
    Uploading,
    /// All of it is there, and is what it should be.
    Ready,
    /// What came is not what was announced: it was dropped.
    UploadError,
    /// Its bytes were removed.
    Deleted,
}

impl FileStatus {
    /// Whether more of it may come.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, FileStatus::AwaitingUpload | FileStatus::Uploading)
    }
}

/// A file, without its bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FileDocument {
    /// When it last changed: milliseconds since 1970 began.
    #[serde(rename = "@timestamp")]
    pub timestamp: i64,
    /// The file's id: what chunks and downloads name.
    pub upload_id: String,
    /// When it was announced: milliseconds since 1970 began.
    pub upload_start: i64,
    /// The spaces that it is seen in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// What of the agent it comes from (`agent`, `endpoint`), or `fleet`: it is to be delivered.
    pub src: String,
    /// The agent that uploads it. Empty: it is to be delivered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// The action that asked for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action_id: String,
    /// The file.
    pub file: FileDetails,
    /// What is in it, if it is an archive, as the agent told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Box<RawValue>>,
    /// Of what arrived, once all of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transithash: Option<TransitHash>,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FileDetails {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it holds, such as `application/zip`.
    pub mime_type: String,
    /// The end of its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ext: String,
    /// Hashes of all of it, as its origin told.
    #[serde(default)]
    pub hash: FileHash,
    /// How it was compressed on the way.
    #[serde(rename = "Compression", default, skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// Bytes of each chunk but the last.
    #[serde(rename = "ChunkSize")]
    pub chunk_size: u64,
    /// How far it is.
    #[serde(rename = "Status")]
    pub status: FileStatus,
    /// Who is to get it.
    #[serde(rename = "Meta", default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<FileTargets>,
}

/// Hashes of a file, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// MD5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
}

/// Who is to get a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTargets {
    /// Ids of agents.
    pub target_agents: Vec<String>,
}

/// SHA-256 over the digests of all chunks in their order, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitHash {
    /// The hash.
    pub sha256: String,
}

/// A chunk that has arrived whole. Its bytes are parts with the ids of [`FileChunk::part_ids`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChunk {
    /// When it came: milliseconds since 1970 began.
    #[serde(rename = "@timestamp")]
    pub timestamp: i64,
    /// The file.
    pub bid: String,
    /// Its number, from 0.
    pub number: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha2: String,
    /// How many bytes it has.
    pub size: u64,
    /// Tells its parts from those of other attempts to send it.
    pub attempt: String,
    /// How many parts it has.
    pub parts: u32,
}

impl FileChunk {
    /// The id of the chunk of this number: in the order of numbers, up to 99 999.
    #[must_use]
    pub fn id(file_id: &str, number: u32) -> String {
        format!("{file_id}.{number:05}")
    }

    /// The ids of its parts, in their order.
    pub fn part_ids(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.parts).map(|part| part_id(&self.bid, self.number, &self.attempt, part))
    }
}

/// The id of a part.
#[must_use]
pub fn part_id(file_id: &str, number: u32, attempt: &str, part: u32) -> String {
    format!("{file_id}.{number:05}.{attempt}.{part}")
}
