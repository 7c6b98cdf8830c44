//! Policies that are stored: copies of some that the server made, with ids and names of their own.

use std::sync::Arc;

use fleet_store::{Collection, Document, Error, Expect, ListRequest, Store as Contract, Write};

use crate::agents::store::Store;
use crate::error::BenchError;

/// Documents that are written in one call.
const BATCH: usize = 500;

/// Where the documents of a policy lie.
static COLLECTIONS: [Collection; 7] = [
    Collection { name: "agent-policies", indexed: &[] },
    Collection { name: "policies", indexed: &[] },
    Collection { name: "package-policies", indexed: &[] },
    Collection { name: "uninstall-tokens", indexed: &[] },
    Collection { name: "agent-policy-revisions", indexed: &[] },
    Collection { name: "package-policy-revisions", indexed: &[] },
    Collection { name: "enrollment-keys", indexed: &["policy_id"] },
];

/// Stores `count` policies, copies of these in turn. No server may run.
pub(super) async fn store<const N: usize>(
    store: &Store,
    templates: [&str; N],
    count: usize,
) -> Result<(), BenchError> {
    let store = store.open()?;
    for collection in &COLLECTIONS {
        let page = store.list(collection, ListRequest::all()).await.map_err(|error| fault(&error))?;
        let of = |template: &str| -> Vec<Document> {
            let is_of =
                |document: &&Document| text(document).contains(template) || document.id.contains(template);
            page.documents.iter().filter(is_of).cloned().collect()
        };
        let documents = templates.map(of);
        let mut writes = Vec::with_capacity(BATCH);
        for number in 0..count {
            let (template, documents) = (templates[number % N], &documents[number % N]);
            let name = format!("bench-{number:05}");
            for document in documents {
                writes.push(copied(document, template, &name));
            }
            if writes.len() >= BATCH {
                write(&store, collection, std::mem::take(&mut writes)).await?;
            }
        }
        write(&store, collection, writes).await?;
    }
    Ok(())
}

fn text(document: &Document) -> String {
    String::from_utf8_lossy(&document.body).into_owned()
}

fn copied(document: &Document, template: &str, name: &str) -> Write {
    let (mut id, mut body) = (document.id.replace(template, name), text(document).replace(template, name));
    // What has an id of its own, whoever's it is.
    if id == document.id {
        id = format!("{name}-{id}");
        body = body.replace(&document.id, &id);
    }
    Write::put(id, Expect::Absent, body)
}

async fn write(
    store: &Arc<dyn Contract>,
    collection: &'static Collection,
    writes: Vec<Write>,
) -> Result<(), BenchError> {
    for answer in store.write_many(collection, writes, None).await {
        answer.map_err(|error| BenchError::Wrong(format!("a policy cannot be stored: {error}")))?;
    }
    Ok(())
}

fn fault(error: &Error) -> BenchError {
    BenchError::Wrong(error.to_string())
}
