//! Compaction: which revision was current when.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::failure::What;
use super::session::Effect;
use super::{Etcd, from_revision, to_revision};
use crate::contract::Revision;
use crate::error::Error;

/// How many samples are kept: enough for a sample every half minute with ten minutes to keep.
const MAX_SAMPLES: usize = 32;

/// Revisions and when they were current, oldest first. etcd knows no times.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<(Instant, Revision)>,
}

impl History {
    /// Notes the current revision, and returns the newest one that is older than `keep`.
    fn note(&mut self, now: Instant, current: Revision, keep: Duration) -> Option<Revision> {
        let spacing = keep / u32::try_from(MAX_SAMPLES / 2).unwrap_or(1);
        let due = self.samples.back().is_none_or(|(last, _)| now.duration_since(*last) >= spacing);
        if due {
            if self.samples.len() == MAX_SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back((now, current));
        }
        let mut newest = None;
        while let Some((then, revision)) = self.samples.front()
            && now.duration_since(*then) >= keep
        {
            newest = Some(*revision);
            self.samples.pop_front();
        }
        newest.filter(|revision| *revision > Revision::ZERO)
    }
}

impl Etcd {
    /// The revision that is current now, by a read that sees every acknowledged write.
    pub(super) async fn current_revision(&self) -> Result<Revision, super::failure::Failure> {
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
            let mut history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            history.note(Instant::now(), current, keep)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacts_to_the_newest_sample_that_is_old_enough() {
        let mut history = History::default();
        let start = Instant::now();
        let keep = Duration::from_secs(600);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(history.note(at(0), Revision(5), keep), None);
        assert_eq!(history.note(at(60), Revision(9), keep), None);
        assert_eq!(history.note(at(599), Revision(20), keep), None);
        assert_eq!(history.note(at(660), Revision(30), keep), Some(Revision(9)));
        assert_eq!(history.note(at(661), Revision(31), keep), None);
    }

    #[test]
    fn samples_are_bounded() {
        let mut history = History::default();
        let start = Instant::now();
        for step in 0..1000 {
            history.note(start + Duration::from_millis(step), Revision(step), Duration::from_secs(600));
        }
        assert_eq!(history.samples.len(), 1);
        for step in 0..1000 {
            history.note(start + Duration::from_secs(step), Revision(step), Duration::from_secs(100_000));
        }
        assert!(history.samples.len() <= MAX_SAMPLES);
    }
}
