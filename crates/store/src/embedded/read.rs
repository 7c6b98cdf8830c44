//! Queries: documents, lists at a revision, and changes after one.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, Transaction, params, params_from_iter};

use super::apply::{field_type, field_value, from_revision, to_revision};
use super::readers::{Outcome, ReadError};
use crate::contract::{Change, Document, ListRequest, Page, PageToken, Revision, Scope};

/// One document.
pub(super) fn get(transaction: &Transaction<'_>, collection: i64, id: &str) -> Outcome<Option<Document>> {
    let sql = "SELECT id, revision, body FROM document WHERE collection = ?1 AND id = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row(params![collection, id], document).optional()?)
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { id: row.get(0)?, revision: to_revision(row.get(1)?), body: body(row, 2)? })
}

fn body(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::from(row.get::<_, String>(column)?))
}

fn state(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Revision> {
    let mut statement = transaction.prepare_cached("SELECT value FROM state WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).map(to_revision)
}

/// The current revision.
pub(super) fn now(transaction: &Transaction<'_>) -> Outcome<Revision> {
    Ok(state(transaction, "revision")?)
}

/// A page of a list.
pub(super) fn list(transaction: &Transaction<'_>, collection: i64, request: &ListRequest) -> Outcome<Page> {
    let now = now(transaction)?;
    let revision = request.page.as_ref().map_or(now, |token| token.revision);
    if revision > now || revision < state(transaction, "compacted")? {
        return Err(ReadError::Forgotten);
    }
    let (sql, values) = list_query(collection, request, revision, revision == now);
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut documents: Vec<Document> = Vec::new();
    let mut next = None;
    while let Some(row) = rows.next()? {
        let document = document(row)?;
        // Where a prefix ends, so does the list.
        if !request.scope.contains(&document.id) {
            break;
        }
        if request.limit.is_some_and(|limit| documents.len() == limit) {
            next = documents.last().map(|last| PageToken { revision, after: last.id.clone() });
            break;
        }
        documents.push(document);
    }
    Ok(Page { documents, revision, next })
}

fn list_query(
    collection: i64,
    request: &ListRequest,
    revision: Revision,
    is_now: bool,
) -> (String, Vec<Value>) {
    let mut wheres = String::new();
    let mut values = vec![Value::Integer(from_revision(revision))];
    let mut condition = |sql: &str, value: &str| {
        values.push(Value::Text(value.to_owned()));
        wheres.push_str(&sql.replace('?', &format!("?{}", values.len())));
    };
    match &request.scope {
        Scope::All => {}
        Scope::Prefix(prefix) => condition(" AND id >= ?", prefix),
        Scope::Id(id) => condition(" AND id = ?", id),
    }
    if let Some(token) = &request.page {
        condition(" AND id > ?", &token.after);
    }
    for (field, wanted) in &request.filter {
        let (value, kind) = (field_value(field), field_type(field));
        condition(&format!(" AND {value} = ? AND {kind} = 'text'"), wanted);
    }
    // The collection stands there as a number, so that SQLite sees that its partial indexes fit; the plus
    // keeps it from using the indexes on revisions, which do not give the order of ids.
    let part = |table: &str, at: &str| {
        format!("SELECT id, revision, body FROM {table} WHERE collection = {collection} {at}{wheres}")
    };
    let current = part("document", "AND +revision <= ?1");
    let sql = match is_now {
        true => format!("{current} ORDER BY id"),
        false => {
            let past = part("history", "AND +revision <= ?1 AND +until > ?1");
            format!("{current} UNION ALL {past} ORDER BY id")
        }
    };
    (sql, values)
}

/// Puts that still stand, puts that were replaced, and deletes.
const MISSED: &str = "
    SELECT revision, id, body FROM document WHERE collection = ?1 AND revision > ?2
    UNION ALL SELECT revision, id, body FROM history WHERE collection = ?1 AND revision > ?2
    UNION ALL SELECT until, id, NULL FROM history WHERE collection = ?1 AND deleted AND until > ?2
    ORDER BY 1";

/// The changes after a revision.
pub(super) enum Missed {
    /// Some are no longer known.
    Forgotten,
    /// The first of them; there may be more.
    Some(Vec<(Revision, Change)>),
    /// All of them up to now.
    All { changes: Vec<(Revision, Change)>, now: Revision },
}

/// The changes of a scope after a revision, at most `limit`, in order.
pub(super) fn missed(
    transaction: &Transaction<'_>,
    collection: i64,
    scope: &Scope,
    after: Revision,
    limit: usize,
) -> Outcome<Missed> {
    let now = now(transaction)?;
    // A revision that was never reached is of another history: this file was restored from an older copy.
    if after < state(transaction, "compacted")? || after > now {
        return Ok(Missed::Forgotten);
    }
    let mut statement = transaction.prepare_cached(MISSED)?;
    let mut rows = statement.query(params![collection, from_revision(after)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(1)?;
        if !scope.contains(&id) {
            continue;
        }
        let revision = to_revision(row.get(0)?);
        let change = match row.get_ref(2)? {
            rusqlite::types::ValueRef::Null => Change::Delete { id },
            _ => Change::Put(Document { id, revision, body: body(row, 2)? }),
        };
        changes.push((revision, change));
        if changes.len() == limit {
            return Ok(Missed::Some(changes));
        }
    }
    Ok(Missed::All { changes, now })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rusqlite::Connection;

    use super::super::apply::{Batch, Memory};
    use super::*;
    use crate::contract::Collection;

    static THINGS: Collection = Collection { name: "thing", indexed: &["kind"] };

    /// What SQLite says of how it would do a query: nothing may be sorted or read as a whole.
    fn plan(sql: &str, values: Vec<Value>) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(super::super::schema::TABLES).unwrap();
        let mut memory = Memory { collections: HashMap::new(), ..Memory::default() };
        let transaction = connection.transaction().unwrap();
        let mut batch = Batch { transaction, memory: &mut memory, events: Vec::new() };
        assert_eq!(batch.register(&THINGS).unwrap(), 1);
        batch.commit().unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
    }

    fn plan_of(request: &ListRequest, is_now: bool) -> String {
        let (sql, values) = list_query(1, request, Revision(7), is_now);
        plan(&sql, values)
    }

    #[test]
    fn every_query_uses_an_index() {
        let filtered = ListRequest { filter: vec![("kind", "a".to_owned())], ..ListRequest::all() };
        let paged = ListRequest {
            page: Some(PageToken { revision: Revision(7), after: "a".to_owned() }),
            ..filtered.clone()
        };
        let id = ListRequest { scope: Scope::Id("a".to_owned()), ..ListRequest::all() };
        let mut plans = vec![plan(MISSED, vec![Value::Integer(1), Value::Integer(2)])];
        for request in [&ListRequest::all(), &ListRequest::prefix("a"), &id, &filtered, &paged] {
            plans.extend([plan_of(request, true), plan_of(request, false)]);
        }
        for plan in &plans {
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
        assert!(plan_of(&filtered, true).contains("document_1_kind"));
        assert!(plan_of(&paged, false).contains("document_1_kind (<expr>=? AND id>?)"));
    }
}
