//! Which revision was current when: engines count revisions, people count minutes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Revision;

/// How many samples are kept: enough for one every half minute with ten minutes to keep.
const MAX_SAMPLES: usize = 32;

/// Revisions and when they were current, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    samples: VecDeque<(Instant, Revision)>,
}

impl Samples {
    /// Notes the current revision, and returns the newest one that is at least as old as `keep`.
    pub(crate) fn note(&mut self, now: Instant, current: Revision, keep: Duration) -> Option<Revision> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacts_to_the_newest_sample_that_is_old_enough() {
        let mut samples = Samples::default();
        let start = Instant::now();
        let keep = Duration::from_secs(600);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(samples.note(at(0), Revision(5), keep), None);
        assert_eq!(samples.note(at(60), Revision(9), keep), None);
        assert_eq!(samples.note(at(599), Revision(20), keep), None);
        assert_eq!(samples.note(at(660), Revision(30), keep), Some(Revision(9)));
        assert_eq!(samples.note(at(661), Revision(31), keep), None);
    }

    #[test]
    fn samples_are_bounded() {
        let mut samples = Samples::default();
        let start = Instant::now();
        for step in 0..1000 {
            samples.note(start + Duration::from_millis(step), Revision(step), Duration::from_secs(600));
        }
        assert_eq!(samples.samples.len(), 1);
        for step in 0..1000 {
            samples.note(start + Duration::from_secs(step), Revision(step), Duration::from_secs(100_000));
        }
        assert!(samples.samples.len() <= MAX_SAMPLES);
    }
}
