//! Who asks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Ask, Told};

/// The longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// The largest answer.
const LARGEST: u64 = 128 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody is there.
    #[error("the agent is not running, or not with this data directory: nobody listens at {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The caller may not ask.
    #[error("{} belongs to another user: run this as the agent's user, or as root", path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer does not come, or not whole.
    #[error("the agent gives no answer")]
    Broken(#[source] io::Error),
    /// The agent says no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the agent that listens at `path`.
///
/// # Errors
/// [`ControlError`].
pub async fn ask(path: &Path, what: &Ask) -> Result<Value, ControlError> {
    let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ControlError::Forbidden { path: path.to_owned(), source },
        _ => ControlError::NotRunning { path: path.to_owned(), source },
    })?;
    let told = timeout(ANSWER_MAX, exchange(stream, what)).await;
    let told = told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(ControlError::Broken)?;
    match told {
        Told::Done(value) => Ok(value),
        Told::Refused(why) => Err(ControlError::Refused(why)),
    }
}

async fn exchange(mut stream: UnixStream, what: &Ask) -> io::Result<Told> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(LARGEST).read_until(b'\n', &mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
