//! Artifacts: lists and the like that parts of agents fetch.

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// An artifact, by [`Artifact::id`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is, such as `endpoint-trustlist-linux-v1`.
    pub identifier: String,
    /// How `body` is compressed: `none` or `zlib`.
    pub compression_algorithm: String,
    /// How it is encrypted: `none`.
    pub encryption_algorithm: String,
    /// SHA-256 of what is sent, in hexadecimal.
    pub encoded_sha256: String,
    /// Bytes of what is sent.
    pub encoded_size: u64,
    /// SHA-256 of what it is once it is unpacked, in hexadecimal.
    pub decoded_sha256: String,
    /// Bytes of what it is once it is unpacked.
    pub decoded_size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// What is sent, in base64. `None`: it lies in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How many parts it lies in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parts: u32,
    /// The package that it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub package_name: String,
    /// Where agents fetch it.
    pub relative_url: String,
    /// Its kind, such as `trustlist`.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Artifact {
    /// The id of an artifact.
    #[must_use]
    pub fn id(identifier: &str, decoded_sha256: &str) -> String {
        format!("{identifier}-{decoded_sha256}")
    }

    /// The id of a part of it.
    #[must_use]
    pub fn part_id(&self, part: u32) -> String {
        format!("{}.{part}", Artifact::id(&self.identifier, &self.decoded_sha256))
    }
}
