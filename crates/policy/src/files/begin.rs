//! Announcing a file.

use fleet_store::Expect;
use serde_json::value::RawValue;

use super::{CHUNK, File, FileError, Files, LARGEST, is_sha256, millis};
use crate::documents::{FileDetails, FileDocument, FileHash, FileTargets};
use crate::timestamp::Timestamp;

/// The longest name of a file, and of what it holds, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest id of an action in bytes.
const LONGEST_ID: usize = 128;
/// A list of contents that is larger is not kept.
const LARGEST_CONTENTS: usize = 16 * 1024;

/// A file that is announced.
#[derive(Debug, Default)]
pub struct Begin<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// What it holds.
    pub mime_type: &'a str,
    /// How it is compressed.
    pub compression: &'a str,
    /// Its hashes.
    pub hash: FileHash,
    /// What of the agent it comes from.
    pub src: &'a str,
    /// Who uploads it. Empty: it is to be delivered.
    pub agent_id: &'a str,
    /// The action that asked for it.
    pub action_id: &'a str,
    /// The spaces that it is seen in.
    pub namespaces: Vec<String>,
    /// What is in it.
    pub contents: Option<&'a RawValue>,
    /// Who is to get it.
    pub targets: Option<FileTargets>,
}

impl Files {
    /// Announces a file: its chunks may come.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn begin(&self, begin: Begin<'_>, now: Timestamp) -> Result<File, FileError> {
        if self.limits.storage == 0 {
            return Err(FileError::Disabled);
        }
        check(&begin)?;
        let id = uuid::Uuid::new_v4().to_string();
        let document = document(begin, &id, now);
        self.room.lock().await.take(&self.files, &document, self.limits.storage).await?;
        let revision = self.files.put(&id, &document, Expect::Absent, None, None).await?;
        Ok(File { id, revision, value: document })
    }
}

fn check(begin: &Begin<'_>) -> Result<(), FileError> {
    let invalid = |text: &str| Err(FileError::Invalid(text.to_owned()));
    let is_text = |text: &str| !text.is_empty() && text.len() <= LONGEST_NAME;
    if !is_text(begin.name) || begin.name.chars().any(char::is_control) {
        return invalid("file.name must be 1 to 255 bytes of text");
    }
    if !is_text(begin.mime_type) || !begin.mime_type.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return invalid("file.mime_type must be a type such as application/zip");
    }
    if begin.size == 0 {
        return invalid("file.size must be more than 0");
    }
    if begin.size > LARGEST {
        return Err(FileError::TooLarge(LARGEST));
    }
    if begin.targets.is_none() && (begin.action_id.is_empty() || begin.action_id.len() > LONGEST_ID) {
        return invalid("action_id must be 1 to 128 bytes");
    }
    if begin.targets.is_none() && !matches!(begin.src, "agent" | "endpoint") {
        return invalid("src must be agent or endpoint");
    }
    if begin.hash.sha256.as_ref().is_some_and(|hash| !is_sha256(hash)) {
        return invalid("file.hash.sha256 must have 64 hexadecimal digits");
    }
    if begin.hash.md5.as_ref().is_some_and(|hash| hash.len() != 32) || begin.compression.len() > 32 {
        return invalid("file.hash.md5 must have 32 digits, file.Compression at most 32 bytes");
    }
    Ok(())
}

fn document(begin: Begin<'_>, id: &str, now: Timestamp) -> FileDocument {
    let ext = begin.name.rsplit_once('.').map_or("", |(_, ext)| ext);
    FileDocument {
        timestamp: millis(now),
        upload_id: id.to_owned(),
        upload_start: millis(now),
        namespaces: begin.namespaces,
        src: begin.src.to_owned(),
        agent_id: begin.agent_id.to_owned(),
        action_id: begin.action_id.to_owned(),
        file: FileDetails {
            name: begin.name.to_owned(),
            size: begin.size,
            mime_type: begin.mime_type.to_owned(),
            ext: ext.to_owned(),
            hash: begin.hash,
            compression: begin.compression.to_owned(),
            chunk_size: CHUNK,
            meta: begin.targets,
            ..FileDetails::default()
        },
        contents: begin
            .contents
            .filter(|contents| contents.get().len() <= LARGEST_CONTENTS)
            .map(ToOwned::to_owned),
        transithash: None,
    }
}
