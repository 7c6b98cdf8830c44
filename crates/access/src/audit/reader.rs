//! Reading the trail, newest first.

use std::fmt;
use std::str::FromStr;

use fleet_store::{Error as StoreError, ErrorKind, ListRequest, PageToken, Typed, Versioned};
use tracing::warn;

use super::Audit;
use super::entry::{AuditEntry, is_older, key_before_end_of, key_of};
use crate::timestamp::Timestamp;

/// Entries that fit are counted up to this number: counting more would mean reading more.
pub const COUNTED: usize = 10_000;
/// Documents that are read at a time.
const PAGE: usize = 500;
/// How often a reading that was overtaken by the store's forgetting is begun again where it was.
const ATTEMPTS: usize = 8;

/// Which entries are wanted. What is absent asks for all.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of this second and later.
    pub from: Option<Timestamp>,
    /// Of this second and earlier.
    pub to: Option<Timestamp>,
    /// By this user.
    pub user: Option<String>,
    /// About this kind of object.
    pub kind: Option<String>,
    /// About this object.
    pub object: Option<String>,
}

/// Where a page ended. Good for as long as the entry itself, however much comes meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    after: String,
    total: usize,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: send the nextCursor of the page before")]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{:x}", self.after, self.total)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Cursor, NoCursor> {
        let (after, total) = text.split_once('-').ok_or(NoCursor)?;
        let is_key = after.len() == 32 && after.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let total = usize::from_str_radix(total, 16).map_err(|_| NoCursor)?;
        if is_key && total <= COUNTED { Ok(Cursor { after: after.to_owned(), total }) } else { Err(NoCursor) }
    }
}

/// Entries, and how to get the next ones.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// How many fit in all, up to [`COUNTED`], as it was on the first page.
    pub total: usize,
    /// Where the next page begins; nothing if there is none.
    pub next: Option<Cursor>,
}

impl Audit {
    /// A page of at most `limit` entries.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn page(
        &self,
        query: &AuditQuery,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<AuditPage, StoreError> {
        let after = cursor.map(|cursor| cursor.after.clone());
        let mut scan = Scan::new(self.documents.clone(), query, after);
        let limit = limit.max(1);
        let mut entries: Vec<AuditEntry> = Vec::new();
        let mut count = 0;
        // One more than the page shows whether there is another one; what is counted further is not kept.
        let wanted = if cursor.is_some() { limit + 1 } else { COUNTED.max(limit + 1) };
        while count < wanted {
            let size = if count <= limit { (limit + 1).min(PAGE) } else { PAGE };
            let Some(page) = scan.next(size).await? else { break };
            count += page.len();
            let room = limit.saturating_sub(entries.len());
            entries.extend(page.into_iter().take(room));
        }
        let total = cursor.map_or(count.min(COUNTED), |cursor| cursor.total);
        let last = entries.last().filter(|_| count > limit).and_then(|entry| key_of(&entry.id));
        Ok(AuditPage { entries, total, next: last.map(|after| Cursor { after, total }) })
    }

    /// All that fit, newest first, a part at a time.
    #[must_use]
    pub fn export(&self, query: &AuditQuery) -> Export {
        Export(Scan::new(self.documents.clone(), query, None))
    }
}

/// A reading of all entries that fit.
#[derive(Debug)]
pub struct Export(Scan);

impl Export {
    /// The next ones; `None` after the last.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditEntry>>, StoreError> {
        self.0.next(PAGE).await
    }
}

/// A reading, as far as it is.
#[derive(Debug)]
pub(super) struct Scan {
    documents: Typed<AuditEntry>,
    request: ListRequest,
    /// Where it goes on, if the store has forgotten its revision.
    after: Option<String>,
    from: Option<Timestamp>,
    is_over: bool,
}

impl Scan {
    pub(super) fn new(documents: Typed<AuditEntry>, query: &AuditQuery, after: Option<String>) -> Scan {
        let fields = [("user", &query.user), ("kind", &query.kind), ("object", &query.object)];
        let filter = fields.into_iter().filter_map(|(field, value)| Some((field, value.clone()?))).collect();
        let begin = query.to.map(key_before_end_of);
        Scan {
            documents,
            request: ListRequest { filter, ..ListRequest::all() },
            // Whichever is later.
            after: begin.max(after),
            from: query.from,
            is_over: false,
        }
    }

    /// At most `size` further entries; `None` after the last. May be empty before that.
    pub(super) async fn next(&mut self, size: usize) -> Result<Option<Vec<AuditEntry>>, StoreError> {
        let entries = self.next_keyed(size).await?;
        Ok(entries.map(|entries| entries.into_iter().map(|entry| entry.value).collect()))
    }

    /// The same, with the ids of their documents.
    pub(super) async fn next_keyed(
        &mut self,
        size: usize,
    ) -> Result<Option<Vec<Versioned<AuditEntry>>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let (listing, next) = self.read(size).await?;
        for malformed in &listing.malformed {
            let error = &malformed.error as &dyn std::error::Error;
            warn!(entry = malformed.id, error, "an entry of the audit trail cannot be read");
        }
        self.is_over = next.is_none();
        self.after = next.as_ref().map(|token| token.after.clone());
        self.request.page = next;
        let mut entries = listing.values;
        if let Some(from) = self.from
            && let Some(end) = entries.iter().position(|entry| is_older(&entry.id, from))
        {
            entries.truncate(end);
            self.is_over = true;
        }
        Ok(Some(entries))
    }

    async fn read(
        &mut self,
        size: usize,
    ) -> Result<(fleet_store::Listing<AuditEntry>, Option<PageToken>), StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            if let (None, Some(after)) = (&self.request.page, &self.after) {
                // Only a list says which revision is there to go on at.
                let one = ListRequest { limit: Some(1), ..self.request.clone() };
                let (listing, _) = self.documents.page(one).await?;
                self.request.page = Some(PageToken { revision: listing.revision, after: after.clone() });
            }
            let request = ListRequest { limit: Some(size), ..self.request.clone() };
            match self.documents.page(request).await {
                Err(error) if error.kind == ErrorKind::Compacted && attempt < ATTEMPTS => {
                    self.request.page = None;
                }
                result => return result,
            }
        }
    }
}
