//! Compaction, by age: etcd knows revisions only.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::{Failure, What};
use super::session::Effect;
use super::{Etcd, from_revision, to_revision};
use crate::contract::Revision;
use crate::error::Error;

impl Etcd {
    /// The revision that is current now, by a read that sees every acknowledged write.
    pub(super) async fn current_revision(&self) -> Result<Revision, Failure> {
        let response = self.session.call(Effect::Idempotent, || {
            let (mut kv, key) = (self.session.kv(), self.keys.prefix().to_owned());
            async move { kv.get(key, None).await }
        });
        Ok(to_revision(response.await?.header().map_or(0, |header| header.revision())))
    }

    pub(super) async fn compact_history(&self, keep: Duration) -> Result<(), Error> {
        const OF: &str = "compact";
        let current = self.current_revision().await.map_err(|failure| failure.into_error(OF))?;
        let old = {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.note(Instant::now(), current, keep)
        };
        let Some(old) = old else { return Ok(()) };
        let compacted = self.session.call(Effect::Idempotent, || {
            let mut kv = self.session.kv();
            async move { kv.compact(from_revision(old), None).await.map(drop) }
        });
        match compacted.await {
            // Somebody else did.
            Err(failure) if failure.what == What::Compacted => Ok(()),
            Err(failure) => Err(failure.into_error(OF)),
            Ok(()) => Ok(()),
        }
    }
}
