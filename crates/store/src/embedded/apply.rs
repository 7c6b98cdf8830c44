//! Writes inside of a transaction. What is decided here is true once the transaction is committed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::{OptionalExtension, Transaction, params};

use super::feed::Event;
use crate::contract::{Action, Change, Collection, Document, Expect, LeaseId, Revision, Write};
use crate::error::WriteError;

/// What the writer knows beside the tables. Taken from them again when a transaction fails.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// When each lease ends, by this process's monotonic clock.
    pub(super) leases: HashMap<LeaseId, Held>,
    /// Collections whose indexes are as their descriptor says.
    pub(super) collections: HashMap<&'static str, i64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) ttl: Duration,
    pub(super) ends: Instant,
}

impl Memory {
    /// Reads what the tables say. A lease that was not known here gets its full time: who holds it could
    /// not renew it while nobody ran.
    pub(super) fn load(&mut self, connection: &rusqlite::Connection, now: Instant) -> rusqlite::Result<()> {
        let state = |name: &str| {
            connection
                .query_row("SELECT value FROM state WHERE name = ?1", [name], |row| row.get::<_, i64>(0))
                .map(to_revision)
        };
        self.revision = state("revision")?;
        self.compacted = state("compacted")?;
        self.collections.clear();
        let mut statement = connection.prepare("SELECT id, ttl_ms FROM lease")?;
        let stored = statement.query_map([], |row| {
            let ttl = Duration::from_millis(u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0));
            Ok((LeaseId(row.get(0)?), ttl))
        })?;
        let mut leases = HashMap::new();
        for lease in stored {
            let (id, ttl) = lease?;
            let held = self.leases.get(&id).copied().unwrap_or(Held { ttl, ends: now + ttl });
            leases.insert(id, held);
        }
        self.leases = leases;
        Ok(())
    }

    fn holds(&self, lease: Option<LeaseId>) -> bool {
        lease.is_none_or(|lease| self.leases.contains_key(&lease))
    }
}

pub(super) fn to_revision(value: i64) -> Revision {
    Revision(u64::try_from(value).unwrap_or(0))
}

pub(super) fn from_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// A transaction under way, and what it has changed so far.
pub(super) struct Batch<'connection, 'memory> {
    pub(super) transaction: Transaction<'connection>,
    pub(super) memory: &'memory mut Memory,
    pub(super) events: Vec<Event>,
}

/// A document that is there.
struct Current {
    key: i64,
    revision: Revision,
}

impl Batch<'_, '_> {
    fn next_revision(&mut self) -> Revision {
        self.memory.revision = Revision(self.memory.revision.0 + 1);
        self.memory.revision
    }

    fn current(&self, collection: i64, id: &str) -> rusqlite::Result<Option<Current>> {
        let sql = "SELECT key, revision FROM document WHERE collection = ?1 AND id = ?2";
        let mut statement = self.transaction.prepare_cached(sql)?;
        statement
            .query_row(params![collection, id], |row| {
                Ok(Current { key: row.get(0)?, revision: to_revision(row.get(1)?) })
            })
            .optional()
    }

    /// Does one write, or says why not. An `Err` outside is trouble with the database.
    pub(super) fn write(
        &mut self,
        collection: i64,
        write: &Write,
        while_held: Option<LeaseId>,
    ) -> rusqlite::Result<Result<Revision, WriteError>> {
        let on = match &write.action {
            Action::Put { lease, .. } => *lease,
            Action::Delete => None,
        };
        if !self.memory.holds(while_held) || !self.memory.holds(on) {
            return Ok(Err(WriteError::LeaseLost));
        }
        let current = self.current(collection, &write.id)?;
        let revision = current.as_ref().map(|current| current.revision);
        let as_expected = match write.expect {
            Expect::Any => true,
            Expect::Absent => revision.is_none(),
            Expect::Revision(wanted) => revision == Some(wanted),
        };
        if !as_expected {
            return Ok(Err(WriteError::Conflict { current: revision }));
        }
        match &write.action {
            Action::Put { body, lease } => self.put(collection, &write.id, current, body, *lease).map(Ok),
            Action::Delete => match current {
                Some(current) => self.delete(collection, write.id.clone(), current.key).map(Ok),
                None => Ok(Ok(self.memory.revision)),
            },
        }
    }

    fn put(
        &mut self,
        collection: i64,
        id: &str,
        current: Option<Current>,
        body: &Bytes,
        lease: Option<LeaseId>,
    ) -> rusqlite::Result<Revision> {
        let revision = self.next_revision();
        // Checked to be UTF-8 before it came here.
        let text = String::from_utf8_lossy(body);
        let lease = lease.map(|lease| lease.0);
        match current {
            Some(current) => {
                self.remember(current.key, revision, false)?;
                let sql = "UPDATE document SET revision = ?2, lease = ?3, body = ?4 WHERE key = ?1";
                self.transaction.prepare_cached(sql)?.execute(params![
                    current.key,
                    from_revision(revision),
                    lease,
                    text
                ])?;
            }
            None => {
                let sql = "INSERT INTO document (collection, id, revision, lease, body)
                           VALUES (?1, ?2, ?3, ?4, ?5)";
                self.transaction.prepare_cached(sql)?.execute(params![
                    collection,
                    id,
                    from_revision(revision),
                    lease,
                    text
                ])?;
            }
        }
        let document = Document { id: id.to_owned(), revision, body: body.clone() };
        self.events.push(Event { collection, revision, change: Change::Put(document) });
        Ok(revision)
    }

    fn delete(&mut self, collection: i64, id: String, key: i64) -> rusqlite::Result<Revision> {
        let revision = self.next_revision();
        self.remember(key, revision, true)?;
        self.transaction.prepare_cached("DELETE FROM document WHERE key = ?1")?.execute([key])?;
        self.events.push(Event { collection, revision, change: Change::Delete { id } });
        Ok(revision)
    }

    /// Moves what is about to be replaced into the history.
    fn remember(&mut self, key: i64, until: Revision, deleted: bool) -> rusqlite::Result<()> {
        let sql = "INSERT INTO history (collection, id, revision, until, deleted, body)
                   SELECT collection, id, revision, ?2, ?3, body FROM document WHERE key = ?1";
        let parameters = params![key, from_revision(until), deleted];
        self.transaction.prepare_cached(sql)?.execute(parameters)?;
        Ok(())
    }

    /// Stores a new lease.
    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> rusqlite::Result<LeaseId> {
        let id = loop {
            let id = LeaseId(rand::random_range(1..i64::MAX));
            if !self.memory.leases.contains_key(&id) {
                break id;
            }
        };
        let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO lease (id, ttl_ms) VALUES (?1, ?2)";
        self.transaction.prepare_cached(sql)?.execute(params![id.0, milliseconds])?;
        self.memory.leases.insert(id, Held { ttl, ends: now + ttl });
        Ok(id)
    }

    /// Ends a lease with all that lives on it.
    pub(super) fn end_lease(&mut self, lease: LeaseId) -> rusqlite::Result<()> {
        if self.memory.leases.remove(&lease).is_none() {
            return Ok(());
        }
        let sql = "SELECT key, collection, id FROM document WHERE lease = ?1 ORDER BY collection, id";
        let on_it: Vec<(i64, i64, String)> = {
            let mut statement = self.transaction.prepare_cached(sql)?;
            let rows = statement.query_map([lease.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for (key, collection, id) in on_it {
            self.delete(collection, id, key)?;
        }
        self.transaction.prepare_cached("DELETE FROM lease WHERE id = ?1")?.execute([lease.0])?;
        Ok(())
    }

    /// Ends every lease whose time is over.
    pub(super) fn end_expired(&mut self, now: Instant) -> rusqlite::Result<()> {
        let over: Vec<LeaseId> =
            self.memory.leases.iter().filter(|(_, held)| held.ends <= now).map(|(id, _)| *id).collect();
        over.into_iter().try_for_each(|lease| self.end_lease(lease))
    }

    /// Makes sure that a collection has a number and the indexes of its descriptor, and no others.
    pub(super) fn register(&mut self, collection: &'static Collection) -> rusqlite::Result<i64> {
        if let Some(number) = self.memory.collections.get(collection.name) {
            return Ok(*number);
        }
        let sql = "INSERT INTO collection (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
        self.transaction.execute(sql, [collection.name])?;
        let sql = "SELECT number FROM collection WHERE name = ?1";
        let number: i64 = self.transaction.query_row(sql, [collection.name], |row| row.get(0))?;
        let name = |field: &str| format!("document_{number}_{field}");
        let wanted: HashSet<String> = collection.indexed.iter().map(|field| name(field)).collect();
        let there: HashSet<String> = {
            let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND name GLOB ?1";
            let mut statement = self.transaction.prepare(sql)?;
            let rows = statement.query_map([name("*")], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for old in there.difference(&wanted) {
            self.transaction.execute_batch(&format!("DROP INDEX \"{old}\""))?;
        }
        for field in collection.indexed {
            let (name, value) = (name(field), field_value(field));
            self.transaction.execute_batch(&format!(
                "CREATE INDEX IF NOT EXISTS \"{name}\" ON document ({value}, id) WHERE collection = {number}"
            ))?;
        }
        self.memory.collections.insert(collection.name, number);
        Ok(number)
    }

    /// Writes the counters and commits.
    pub(super) fn commit(self) -> rusqlite::Result<Vec<Event>> {
        let sql = "UPDATE state SET value = ?2 WHERE name = ?1 AND value <> ?2";
        for (name, value) in [("revision", self.memory.revision), ("compacted", self.memory.compacted)] {
            self.transaction.prepare_cached(sql)?.execute(params![name, from_revision(value)])?;
        }
        self.transaction.commit()?;
        Ok(self.events)
    }
}

/// The SQL expression of a document's field. Field names are checked to need no quoting.
pub(super) fn field_value(field: &str) -> String {
    format!("json_extract(body, '$.\"{field}\"')")
}

/// The SQL expression of the JSON type of a document's field: a list or an object has a text form too.
pub(super) fn field_type(field: &str) -> String {
    format!("json_type(body, '$.\"{field}\"')")
}
