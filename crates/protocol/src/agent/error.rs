//! How an error is told.

use serde::{Deserialize, Serialize};

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody<'a> {
    /// The status of HTTP again.
    pub status_code: u16,
    /// The name of the error.
    pub error: &'a str,
    /// For a person: what is wrong, and what to do.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: &'a str,
}
