//! Why a benchmark ended without a figure.

use std::path::PathBuf;
use std::time::Duration;

use fleet_tests::HarnessError;

/// Why a benchmark ended without a figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A machine, etcd or program did not do what it was asked for.
    #[error(transparent)]
    Harness(#[from] HarnessError),

    /// No answer from an API.
    #[error("{method} {url}")]
    Http {
        /// The method.
        method: &'static str,
        /// What was asked.
        url: String,
        /// Why there is no answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// An answer that is a refusal.
    #[error("{method} {url}: status {status}: {body}")]
    Refused {
        /// The method.
        method: &'static str,
        /// What was asked.
        url: String,
        /// The status code.
        status: u16,
        /// What the answer says.
        body: String,
    },

    /// An answer that is not what the protocol promises.
    #[error("the answer to {url} cannot be read")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },

    /// Something did not come about in time.
    #[error("{what}: not within {bound:?}; last seen: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        bound: Duration,
        /// The state at the end.
        last: String,
    },

    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },

    /// A figure must not be reported, as something beside it is wrong.
    #[error("{0}")]
    Wrong(String),

    /// A benchmark failed.
    #[error("benchmark {name}")]
    Benchmark {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<BenchError>,
    },
}

impl BenchError {
    /// A file error, for `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> BenchError {
        let path = path.into();
        move |source| BenchError::File { action, path, source }
    }
}
