//! Counts of what went where.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows, or a level.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Sets a level.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Takes away, for levels.
    pub fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of a collector while it runs; see [`Metrics`] for what they mean.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Counts>);

impl std::ops::Deref for Counters {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

macro_rules! counts {
    ($($name:ident: $help:literal,)*) => {
        /// The counts of a collector while it runs.
        #[derive(Debug, Default)]
        pub struct Counts { $(#[doc = $help] pub $name: Count,)* }

        /// The counts of a collector at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Metrics { $(#[doc = $help] pub $name: u64,)* }

        impl Counts {
            /// All of them now.
            #[must_use]
            pub fn snapshot(&self) -> Metrics {
                Metrics { $($name: self.$name.get(),)* }
            }
        }

        impl Metrics {
            /// Name, help and value of each.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $help, self.$name),)*]
            }
        }
    };
}

counts! {
    events_read: "Events that inputs made.",
    events_filtered: "Events that processors dropped.",
    events_overgrown: "Events that a processor would have made larger by more than 64 MiB; they went on without it.",
    events_queued: "Events handed to outputs.",
    events_acknowledged: "Events that outputs have for sure.",
    events_duplicate: "Events that the engine already had; they count as acknowledged too.",
    events_retried: "Times that an event was sent again.",
    events_dead_lettered: "Events that the engine refused for good, kept in the dead-letter stream.",
    events_kept: "Events that neither the engine nor the dead-letter stream took, kept in a file.",
    events_lost: "Events that nothing took: not the engine, not the dead-letter stream, not the disk.",
    bytes_read: "Bytes that inputs read.",
    bytes_sent: "Bytes of requests to outputs, after compression.",
    requests: "Requests to outputs.",
    requests_failed: "Requests that failed as a whole.",
    queue_bytes: "Bytes of events in memory, not yet acknowledged.",
    disk_queue_bytes: "Bytes in queues on disk.",
    datagrams_dropped: "Datagrams that the system dropped because they were not read in time.",
    files_open: "Files open now.",
}
