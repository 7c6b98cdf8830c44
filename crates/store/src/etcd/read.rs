//! Reads: `get`, `get_many`, `list`.

use bytes::Bytes;
use etcd_client::proto::{PbKeyValue, PbTxnOpResponse};
use etcd_client::{GetOptions, GetResponse, Txn, TxnOp};

use super::Etcd;
use super::failure::{Failure, What};
use super::keys::Range;
use super::session::Effect;
use super::to_revision;
use crate::check;
use crate::contract::{Collection, Document, ListRequest, Page, PageToken, Revision, Scope};
use crate::error::{Error, ErrorKind};

/// How many keys one transaction may read: 3.4 allows 128 operations.
const GET_CHUNK: usize = 128;

/// How many documents one request of a list brings at most.
const LIST_CHUNK: usize = 1000;

impl Etcd {
    pub(super) async fn read(
        &self,
        collection: &'static Collection,
        id: &str,
    ) -> Result<Option<Document>, Error> {
        let of = || format!("get {}/{id}", collection.name);
        check::id(collection, id)?;
        let key = self.keys.document(collection, id);
        let response = self.session.call(Effect::Idempotent, || {
            let (mut kv, key) = (self.session.kv(), key.clone());
            async move { kv.get(key, None).await }
        });
        let mut response = response.await.map_err(|failure| failure.into_error(of()))?;
        match std::mem::take(&mut response.0.kvs).pop() {
            None => Ok(None),
            Some(pair) => Ok(Some(self.document(collection, pair)?)),
        }
    }

    pub(super) async fn read_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        for id in ids {
            check::id(collection, id)?;
        }
        let mut documents = Vec::with_capacity(ids.len());
        let mut chunk = GET_CHUNK;
        while documents.len() < ids.len() {
            let rest = ids.get(documents.len()..).unwrap_or_default();
            let wanted = rest.get(..chunk.min(rest.len())).unwrap_or_default();
            match self.read_chunk(collection, wanted).await {
                Ok(pairs) => {
                    for pair in pairs {
                        documents.push(pair.map(|pair| self.document(collection, pair)).transpose()?);
                    }
                }
                Err(failure) if failure.what == What::ResponseTooLarge && chunk > 1 => chunk /= 2,
                Err(failure) => {
                    return Err(failure.into_error(format!("get {} of {}", ids.len(), collection.name)));
                }
            }
        }
        Ok(documents)
    }

    async fn read_chunk(
        &self,
        collection: &Collection,
        ids: &[String],
    ) -> Result<Vec<Option<PbKeyValue>>, Failure> {
        let response = self.session.call(Effect::Idempotent, || {
            let gets = ids.iter().map(|id| TxnOp::get(self.keys.document(collection, id), None));
            let (mut kv, txn) = (self.session.kv(), Txn::new().and_then(gets.collect::<Vec<_>>()));
            async move { kv.txn(txn).await }
        });
        let responses = response.await?.0.responses;
        if responses.len() != ids.len() {
            return Err(Failure::nonsense("a transaction with too few results"));
        }
        let pairs = responses.into_iter().map(|response| match response.response {
            Some(PbTxnOpResponse::ResponseRange(mut range)) => Ok(range.kvs.pop()),
            _ => Err(Failure::nonsense("a read with something else")),
        });
        pairs.collect()
    }

    pub(super) async fn read_list(
        &self,
        collection: &'static Collection,
        request: ListRequest,
    ) -> Result<Page, Error> {
        check::list(collection, &request)?;
        let of = || format!("list {}", collection.name);
        let mut range = self.keys.range(collection, &request.scope);
        let mut revision = None;
        if let Some(token) = &request.page {
            revision = Some(token.revision);
            range.start = successor(self.keys.document(collection, &token.after));
        }
        // One more than is wanted tells whether there is a next page.
        let wanted = request.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
        let filtered = !request.filter.is_empty();
        let mut documents: Vec<Document> = Vec::new();
        let mut chunk = LIST_CHUNK;
        loop {
            let missing = wanted - documents.len();
            let count = if filtered { chunk } else { chunk.min(missing) };
            let mut response = match self.read_range(&range, revision, count).await {
                Err(failure) if failure.what == What::ResponseTooLarge && count > 1 => {
                    chunk = count / 2;
                    continue;
                }
                result => result.map_err(|failure| failure.into_error(of()))?,
            };
            let at = response.0.header.as_ref().map_or(0, |header| header.revision);
            let at = *revision.get_or_insert(to_revision(at));
            let pairs = std::mem::take(&mut response.0.kvs);
            let more = response.0.more && matches!(request.scope, Scope::All | Scope::Prefix(_));
            if let Some(last) = pairs.last() {
                range.start = successor(last.key.clone());
            }
            for pair in pairs {
                let document = self.document(collection, pair)?;
                if documents.len() < wanted && matches(&document, &request.filter) {
                    documents.push(document);
                }
            }
            if !more || documents.len() >= wanted {
                return Ok(page(documents, request.limit, at));
            }
        }
    }

    async fn read_range(
        &self,
        range: &Range,
        revision: Option<Revision>,
        count: usize,
    ) -> Result<GetResponse, Failure> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let revision = revision.map_or(0, super::from_revision);
        let mut options = GetOptions::new().with_limit(count).with_revision(revision);
        if let Some(end) = &range.end {
            options = options.with_range(end.clone());
        }
        let response = self.session.call(Effect::Idempotent, || {
            let (mut kv, key, options) = (self.session.kv(), range.start.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        });
        response.await
    }

    /// A key with its value as a document.
    pub(super) fn document(&self, collection: &Collection, pair: PbKeyValue) -> Result<Document, Error> {
        let Some(id) = self.keys.id(collection, &pair.key) else {
            let key = String::from_utf8_lossy(&pair.key).into_owned();
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("read {}: etcd gave the foreign key {key}", collection.name),
            ));
        };
        Ok(Document { id, revision: to_revision(pair.mod_revision), body: Bytes::from(pair.value) })
    }
}

/// Cuts the one document too many off and names where the next page starts.
fn page(mut documents: Vec<Document>, limit: Option<usize>, revision: Revision) -> Page {
    let mut next = None;
    if let Some(limit) = limit.filter(|limit| documents.len() > *limit) {
        documents.truncate(limit);
        next = documents.last().map(|last| PageToken { revision, after: last.id.clone() });
    }
    Page { documents, revision, next }
}

/// The first key after this one.
fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Whether the fields of the document are as asked. etcd has no index over values, so this is done here.
fn matches(document: &Document, filter: &[(&'static str, String)]) -> bool {
    if filter.is_empty() {
        return true;
    }
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&document.body) else { return false };
    filter.iter().all(|(field, wanted)| value.get(field).and_then(|value| value.as_str()) == Some(wanted))
}
