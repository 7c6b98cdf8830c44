//! `POST /api/fleet/uploads` and what follows it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A file that is to be uploaded.
#[derive(Debug, Deserialize)]
pub struct UploadBeginRequest<'a> {
    /// The file.
    #[serde(borrow, default)]
    pub file: Option<UploadFile<'a>>,
    /// The action that asked for it.
    #[serde(borrow, default)]
    pub action_id: Option<Cow<'a, str>>,
    /// The agent that sends it.
    #[serde(borrow, default)]
    pub agent_id: Option<Cow<'a, str>>,
    /// What of the agent it comes from: `agent` or `endpoint`.
    #[serde(borrow, default)]
    pub src: Option<Cow<'a, str>>,
    /// What is in it, if it is an archive.
    #[serde(borrow, default)]
    pub contents: Option<&'a RawValue>,
}

/// What an agent tells of a file.
#[derive(Debug, Deserialize)]
pub struct UploadFile<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: Option<i64>,
    /// What it holds.
    #[serde(borrow, default)]
    pub mime_type: Option<Cow<'a, str>>,
    /// How it is compressed.
    #[serde(borrow, default, rename = "Compression")]
    pub compression: Option<Cow<'a, str>>,
    /// Its hashes.
    #[serde(borrow, default)]
    pub hash: Option<UploadHash<'a>>,
}

/// Hashes, in hexadecimal.
#[derive(Debug, Deserialize)]
pub struct UploadHash<'a> {
    /// SHA-256.
    #[serde(borrow, default)]
    pub sha256: Option<Cow<'a, str>>,
    /// MD5.
    #[serde(borrow, default)]
    pub md5: Option<Cow<'a, str>>,
}

/// How the file is to be sent.
#[derive(Debug, Serialize)]
pub struct UploadBeginResponse<'a> {
    /// What its chunks name.
    pub upload_id: &'a str,
    /// Bytes of each chunk but the last.
    pub chunk_size: u64,
}

/// All chunks have been sent.
#[derive(Debug, Deserialize)]
pub struct UploadFinishRequest<'a> {
    /// Over the digests of all chunks in their order.
    #[serde(borrow, default)]
    pub transithash: Option<UploadHash<'a>>,
}
