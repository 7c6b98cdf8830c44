//! Reads run beside the writer, on a few connections of their own, off the runtime's threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::schema;
use crate::error::{Error, ErrorKind};

/// How many reads run at once; more wait.
const READERS: usize = 4;

/// How long a read may wait for its turn and its answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A bounded pool of read connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// What a read found out, or what is wrong with it.
pub(super) type Outcome<T> = Result<T, ReadError>;

/// Trouble of a read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// SQLite failed.
    #[error("SQLite failed")]
    Database(#[from] rusqlite::Error),
    /// The revision asked for is forgotten.
    #[error("the revision is forgotten")]
    Forgotten,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, turns: Arc::new(Semaphore::new(READERS)), idle: Mutex::default() }
    }

    /// Runs a read in a transaction: all that it sees is from one moment. `of` names it in errors.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        of: &str,
        read: impl FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Error> {
        let late = || Error::new(ErrorKind::Unavailable, format!("{of}: the database is busy"));
        let turn = match timeout(LIMIT, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => return Err(late()),
        };
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            // Kept until the connection is free again, also when nobody waits for the answer any more.
            let _turn = turn;
            readers.read(read)
        });
        match timeout(LIMIT, task).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(explain(of, error)),
            Ok(Err(error)) => Err(Error::caused_by(ErrorKind::Unavailable, of.to_owned(), error)),
            Err(_) => Err(late()),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Transaction<'_>) -> Outcome<T>) -> Outcome<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::open_for_reading(&self.path)?,
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let result = read(&transaction);
        transaction.finish()?;
        // One that failed is not used again.
        if result.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        result
    }
}

fn explain(of: &str, error: ReadError) -> Error {
    let kind = match &error {
        ReadError::Database(error) => schema::kind(error),
        ReadError::Forgotten => ErrorKind::Compacted,
    };
    Error::caused_by(kind, of.to_owned(), error)
}
