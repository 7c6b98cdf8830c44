//! Removing what is too old or too much.

use std::time::Duration;

use fleet_store::{Error as StoreError, Expect, Write, WriteError};

use super::Audit;
use super::entry::key_before_end_of;
use super::reader::{AuditQuery, Scan};
use crate::timestamp::Timestamp;

/// Documents that are read and removed at a time.
const PAGE: usize = 500;
/// The number is looked at again when this part of it has been written since.
const RECOUNT: usize = 10;

/// How long the trail may be.
#[derive(Clone, Copy, Debug)]
pub struct AuditBounds {
    /// The most entries. One server overshoots by a tenth before it counts again.
    pub most: usize,
    /// The oldest.
    pub oldest: Duration,
}

impl Default for AuditBounds {
    /// A hundred thousand, and a year.
    fn default() -> AuditBounds {
        AuditBounds { most: 100_000, oldest: Duration::from_secs(365 * 24 * 3600) }
    }
}

impl Audit {
    /// Removes what is beyond the bounds; returns how many entries that were. `counts` asks for counting all, which
    /// reads all; otherwise that is done when this server has written many. Two servers that do it at the same time
    /// do no harm.
    ///
    /// # Errors
    /// The store does not answer; what was removed until then is.
    pub async fn tidy(&self, bounds: AuditBounds, now: Timestamp, counts: bool) -> Result<usize, WriteError> {
        let end = key_before_end_of(now - bounds.oldest);
        let mut removed = self.remove_after(Some(end)).await?;
        let written = self.uncounted.load(std::sync::atomic::Ordering::Relaxed);
        if counts || written >= (bounds.most / RECOUNT).max(1) {
            self.take_uncounted();
            if let Some(last) = self.key_at(bounds.most.max(1)).await.map_err(WriteError::NotDone)? {
                removed += self.remove_after(Some(last)).await?;
            }
        }
        Ok(removed)
    }

    /// The key of the entry with this number, counted from the newest, which is 1; `None` if there are fewer.
    async fn key_at(&self, number: usize) -> Result<Option<String>, StoreError> {
        let mut scan = Scan::new(self.documents.clone(), &AuditQuery::default(), None);
        let mut count = 0;
        while let Some(entries) = scan.next_keyed(PAGE).await? {
            if let Some(entry) = entries.get(number - count - 1) {
                return Ok(Some(entry.id.clone()));
            }
            // Less than the number, or it would have been among them.
            count += entries.len();
        }
        Ok(None)
    }

    async fn remove_after(&self, key: Option<String>) -> Result<usize, WriteError> {
        let mut scan = Scan::new(self.documents.clone(), &AuditQuery::default(), key);
        let mut removed = 0;
        while let Some(entries) = scan.next_keyed(PAGE).await.map_err(WriteError::NotDone)? {
            if entries.is_empty() {
                continue;
            }
            let writes = entries.iter().map(|entry| Write::delete(entry.id.clone(), Expect::Any)).collect();
            for outcome in self.documents.write_many(writes, None).await {
                outcome?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
