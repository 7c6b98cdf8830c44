//! The database file: its lock, its format, its settings.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind};

/// Marks a file as ours: "FLET". See <https://sqlite.org/pragma.html#pragma_application_id>.
const APPLICATION: i64 = 0x464c_4554;

/// The format that this code reads and writes.
const FORMAT: i64 = 1;

/// What is current stands in `document`; what was, until the revision that replaced it, in `history`.
pub(super) const TABLES: &str = "
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state (name, value) VALUES ('revision', 0), ('compacted', 0);

CREATE TABLE collection (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL);

CREATE TABLE document (
    key INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    lease INTEGER,
    body TEXT NOT NULL,
    UNIQUE (collection, id)
);
CREATE INDEX document_revision ON document (collection, revision);
CREATE INDEX document_lease ON document (lease) WHERE lease IS NOT NULL;

CREATE TABLE history (
    key INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    until INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX history_id ON history (collection, id);
CREATE INDEX history_revision ON history (collection, revision);
CREATE INDEX history_deleted ON history (collection, until) WHERE deleted;
CREATE INDEX history_until ON history (until);
";

/// The lock that keeps a second process out, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Opens the database for writing, making it if there is none.
pub(super) fn open(path: &Path) -> Result<(Connection, Lock), Error> {
    let lock = lock(path)?;
    let fault = |error| fault(path, error);
    // What is in it is for its owner only; SQLite gives its own further files the same mode.
    private().open(path).map_err(|error| {
        let message = format!("database {} cannot be opened for writing", path.display());
        Error::caused_by(ErrorKind::Unsuitable, message, error)
    })?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(fault)?;
    prepare(&connection).map_err(fault)?;
    migrate(path, &connection)?;
    // Waits for the disk at every commit: an acknowledged write survives power loss.
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    Ok((connection, lock))
}

/// Opens the database for reading; it is there.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    Ok(connection)
}

/// How long a connection waits for a lock of another one: they are held for moments.
const BUSY: Duration = Duration::from_secs(5);

/// The page cache of one connection; negative means KiB.
const CACHE_KIB: i64 = -1024;

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    // A log that grew under load shrinks again.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)
}

fn migrate(path: &Path, connection: &Connection) -> Result<(), Error> {
    let fault = |error| fault(path, error);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(fault)?;
    let format = number("user_version").map_err(fault)?;
    let tables = "SELECT count(*) FROM sqlite_master";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(fault)?;
    let shown = path.display();
    match (application, format) {
        (APPLICATION, FORMAT) => Ok(()),
        (APPLICATION, newer) if newer > FORMAT => Err(Error::new(
            ErrorKind::Unsuitable,
            format!("{shown} has format {newer}, this program reads up to {FORMAT}: use the newer program"),
        )),
        (0, 0) if tables == 0 => {
            let script = format!(
                "BEGIN IMMEDIATE; {TABLES}
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"
            );
            connection.execute_batch(&script).map_err(fault)
        }
        _ => Err(Error::new(
            ErrorKind::Unsuitable,
            format!("{shown} is no database of Fleet: set store_path to another file"),
        )),
    }
}

/// Opens for writing, or makes for its owner only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options
}

fn lock(path: &Path) -> Result<Lock, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = private().open(&name).map_err(|error| {
        let message = format!(
            "lock file {} cannot be made: set store_path to a file in a directory that exists and is writable",
            name.display()
        );
        Error::caused_by(ErrorKind::Unsuitable, message, error)
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "{} is in use by another process: end that one, or set another store_path",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => {
            let message = format!("lock file {} cannot be locked", name.display());
            Err(Error::caused_by(ErrorKind::Unsuitable, message, error))
        }
    }
}

fn fault(path: &Path, error: rusqlite::Error) -> Error {
    let kind = kind(&error);
    Error::caused_by(kind, format!("open database {}", path.display()), error)
}

/// What kind of trouble an error of SQLite is.
pub(super) fn kind(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DatabaseCorrupt) => ErrorKind::Corrupt,
        Some(Code::NotADatabase | Code::CannotOpen | Code::PermissionDenied | Code::ReadOnly) => {
            ErrorKind::Unsuitable
        }
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn commits_wait_for_the_disk_and_files_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let (connection, _lock) = open(&path).unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.path());
        }
    }
}
