//! What can go wrong, told apart by what the caller does next.

use std::error::Error as StdError;

use crate::contract::Revision;

/// A call to a store failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of trouble: decides what the caller does next.
    pub kind: ErrorKind,
    /// The operation and the object, as a fragment that fits after "failed to …:".
    pub message: String,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), source: None }
    }

    /// An error with its cause.
    pub fn caused_by(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error { kind, message: message.into(), source: Some(source.into()) }
    }
}

/// The kinds of trouble. A closed set: each has its own next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The engine cannot be reached, has no leader, or does not answer in time. Try again later.
    Unavailable,
    /// The engine refuses who we are or what we may do. A person must mend the configuration.
    Denied,
    /// The engine cannot do what we need, such as an etcd that serves only its v2 API, or there is a
    /// certificate that does not verify. A person must mend it.
    Unsuitable,
    /// The revision asked for is forgotten: list again.
    Compacted,
    /// The request itself is wrong: a bug or unchecked input.
    Invalid,
    /// The engine answers nonsense or has lost data.
    Corrupt,
}

/// Why a write was not acknowledged. The contract's three answers are `Ok`, certainly not done (every
/// variant but the last), and [`WriteError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Certainly not done: the document is not as expected.
    #[error("the document has changed meanwhile")]
    Conflict {
        /// The document's revision; `None` if there is no such document.
        current: Option<Revision>,
    },
    /// Certainly not done: the lease that it depends on (`while_held`, or the one it was to live on) is over.
    #[error("the lease is over")]
    LeaseLost,
    /// Certainly not done, for another reason.
    #[error("not written")]
    NotDone(#[source] Error),
    /// It may have been done, may be done later, or never: read again before acting.
    #[error("unknown whether it was written")]
    Unknown(#[source] Error),
}

/// Why a lease was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It is over: what lived on it is gone or about to go.
    #[error("the lease is over")]
    Lost,
    /// Unknown whether it was renewed.
    #[error("lease not renewed")]
    Failed(#[source] Error),
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The store has forgotten the revision to go on from: list again.
    #[error("the watched revision is forgotten")]
    Compacted,
    /// The watch cannot go on.
    #[error("the watch failed")]
    Failed(#[source] Error),
}
