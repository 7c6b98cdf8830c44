//! The pages of a list are cut from one reading of the cluster.
//!
//! The first page of a list reads; the pages after it are cut from what was read then, as long as that is
//! fresh. So a list of twenty pages costs one reading, and its pages fit together. A reading is shared by all
//! who asked before it began, never by those who asked later: everybody sees what was acknowledged before.
//! A reading that failed is shared in the same way, so that many who wait do not wait one after the other.

use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::fleet_v1::{Unit, UnitState};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::Failure;

/// How long pages are cut from a reading, and so how long it stays in memory.
const FRESH: Duration = Duration::from_secs(10);

/// The last readings of the lists that can be long.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    pub(super) units: Snapshot<Unit>,
    pub(super) states: Snapshot<UnitState>,
}

/// The last reading of one list.
#[derive(Debug)]
pub(super) struct Snapshot<T> {
    last: Arc<Mutex<Option<Reading<T>>>>,
}

#[derive(Debug)]
struct Reading<T> {
    begun: Instant,
    entries: Entries<T>,
}

type Entries<T> = Result<Arc<Vec<T>>, Failure>;

impl<T> Default for Snapshot<T> {
    fn default() -> Snapshot<T> {
        Snapshot { last: Arc::default() }
    }
}

impl<T: Send + Sync + 'static> Snapshot<T> {
    /// The entries for a page: `first` pages see everything acknowledged before this call.
    pub(super) async fn entries(
        &self,
        first: bool,
        read: impl Future<Output = Result<Vec<T>, Failure>>,
    ) -> Entries<T> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(reading) = &*last {
            let is_later = reading.begun >= asked;
            let is_fresh = !first && reading.entries.is_ok() && asked - reading.begun < FRESH;
            if is_later || is_fresh {
                return reading.entries.clone();
            }
        }
        let begun = Instant::now();
        let entries = read.await.map(Arc::new);
        *last = Some(Reading { begun, entries: entries.clone() });
        drop(last);
        self.forget_later(begun);
        entries
    }

    /// A reading of a large cluster is megabytes: it goes when nobody pages through it any more.
    fn forget_later(&self, begun: Instant) {
        let last = Arc::clone(&self.last);
        tokio::spawn(async move {
            tokio::time::sleep(FRESH).await;
            let mut last = last.lock().await;
            if last.as_ref().is_some_and(|reading| reading.begun == begun) {
                *last = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reading(snapshot: &Snapshot<u32>, first: bool, value: u32) -> u32 {
        snapshot.entries(first, async { Ok(vec![value]) }).await.unwrap()[0]
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_page_reads_and_later_pages_do_not() {
        let snapshot = Snapshot::default();
        assert_eq!(reading(&snapshot, true, 1).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reading(&snapshot, false, 2).await, 1);
        assert_eq!(reading(&snapshot, true, 3).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_is_forgotten() {
        let snapshot = Snapshot::default();
        assert_eq!(reading(&snapshot, true, 1).await, 1);
        tokio::time::sleep(FRESH + Duration::from_secs(1)).await;
        assert!(snapshot.last.lock().await.is_none());
        assert_eq!(reading(&snapshot, false, 2).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_another_reads_shares_only_a_later_reading() {
        let snapshot = Arc::new(Snapshot::default());
        let slow = |value| {
            let snapshot = Arc::clone(&snapshot);
            async move {
                let read = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(vec![value])
                };
                snapshot.entries(true, read).await.unwrap()[0]
            }
        };
        let first = tokio::spawn(slow(1));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (second, third) = tokio::join!(slow(2), slow(3));
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!((second, third), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_shares_a_failure() {
        let snapshot = Arc::new(Snapshot::<u32>::default());
        let began = Instant::now();
        let ask = || {
            let snapshot = Arc::clone(&snapshot);
            tokio::spawn(async move {
                let read = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Err(Failure::unavailable(""))
                };
                assert!(snapshot.entries(true, read).await.is_err());
            })
        };
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        for asked in asked {
            asked.await.unwrap();
        }
        assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(reading(&snapshot, false, 7).await, 7);
    }
}
