//! The pages of a list are cut from one reading of the cluster.
//!
//! The first page of a list reads; the pages after it are cut from what was read then, as long as that is
//! fresh. So a list of twenty pages costs one reading, and its pages fit together. A reading is shared by all
//! who asked before it began, never by those who asked later: everybody sees what was acknowledged before.
//! A reading that failed is shared in the same way, so that many who wait do not wait one after the other.
//!
//! A page's token names its number and nothing else. Whose list it belongs to is told by the connection: who
//! pages over one connection goes on in the reading of its own first page, whoever else lists meanwhile.

use std::sync::Arc;
use std::time::Duration;

use fleet_protocol::fleet_v1::{PageToken, Unit, UnitState};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Client;
use super::answer::Failure;

/// How long pages are cut from a reading, and so how long it stays in memory.
const FRESH: Duration = Duration::from_secs(10);
/// So many clients' readings are kept beside the last one; a reading of a large cluster is megabytes.
const READERS_MAX: usize = 4;

/// The last readings of the lists that can be long.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    pub(super) units: Snapshot<Unit>,
    pub(super) states: Snapshot<UnitState>,
}

/// The last readings of one list.
#[derive(Debug)]
pub(super) struct Snapshot<T> {
    readings: Arc<Mutex<Readings<T>>>,
}

#[derive(Debug)]
struct Readings<T> {
    last: Option<Reading<T>>,
    /// Those that clients page through, the oldest first.
    of_clients: Vec<(Client, Reading<T>)>,
}

#[derive(Debug)]
struct Reading<T> {
    begun: Instant,
    entries: Entries<T>,
}

type Entries<T> = Result<Arc<Vec<T>>, Failure>;

impl<T> Clone for Reading<T> {
    fn clone(&self) -> Reading<T> {
        Reading { begun: self.begun, entries: self.entries.clone() }
    }
}

impl<T> Reading<T> {
    fn is_fresh(&self) -> bool {
        self.begun.elapsed() < FRESH
    }
}

impl<T> Default for Snapshot<T> {
    fn default() -> Snapshot<T> {
        Snapshot { readings: Arc::new(Mutex::new(Readings { last: None, of_clients: Vec::new() })) }
    }
}

impl<T> Readings<T> {
    /// What a page after the first is cut from.
    fn to_go_on_with(&self, client: Option<Client>) -> Option<Arc<Vec<T>>> {
        let own = self.of_clients.iter().find(|(other, _)| Some(*other) == client).map(|(_, own)| own);
        let usable = |reading: &&Reading<T>| reading.is_fresh() && reading.entries.is_ok();
        let reading = own.filter(usable).or(self.last.as_ref().filter(usable))?;
        reading.entries.clone().ok()
    }

    /// Notes what a client has begun to page through.
    fn keep(&mut self, client: Client, reading: Reading<T>) {
        self.of_clients.retain(|(other, reading)| *other != client && reading.is_fresh());
        if self.of_clients.len() == READERS_MAX {
            self.of_clients.remove(0);
        }
        self.of_clients.push((client, reading));
    }

    fn forget(&mut self) {
        self.last.take_if(|reading| !reading.is_fresh());
        self.of_clients.retain(|(_, reading)| reading.is_fresh());
    }
}

impl<T: Send + Sync + 'static> Snapshot<T> {
    /// The entries for a page: first pages see everything acknowledged before this call.
    pub(super) async fn entries(
        &self,
        token: PageToken,
        client: Option<Client>,
        read: impl Future<Output = Result<Vec<T>, Failure>>,
    ) -> Entries<T> {
        let asked = Instant::now();
        let mut readings = self.readings.lock().await;
        if token.page != 1
            && let Some(entries) = readings.to_go_on_with(client)
        {
            return Ok(entries);
        }
        let reading = match &readings.last {
            Some(last) if last.begun >= asked => last.clone(),
            _ => {
                let begun = Instant::now();
                let reading = Reading { begun, entries: read.await.map(Arc::new) };
                readings.last = Some(reading.clone());
                self.forget_later();
                reading
            }
        };
        let goes_on = reading.entries.as_ref().is_ok_and(|entries| entries.len() >= token.limit.into());
        if let Some(client) = client
            && goes_on
        {
            readings.keep(client, reading.clone());
        }
        reading.entries
    }

    /// A reading goes when nobody pages through it any more.
    fn forget_later(&self) {
        let readings = Arc::clone(&self.readings);
        tokio::spawn(async move {
            tokio::time::sleep(FRESH).await;
            readings.lock().await.forget();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: PageToken = PageToken { limit: 1, page: 1 };
    const SECOND: PageToken = PageToken { limit: 1, page: 2 };

    async fn reading_of(
        client: Option<Client>,
        snapshot: &Snapshot<u32>,
        token: PageToken,
        value: u32,
    ) -> u32 {
        snapshot.entries(token, client, async { Ok(vec![value]) }).await.unwrap()[0]
    }

    async fn reading(snapshot: &Snapshot<u32>, token: PageToken, value: u32) -> u32 {
        reading_of(None, snapshot, token, value).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_page_reads_and_later_pages_do_not() {
        let snapshot = Snapshot::default();
        assert_eq!(reading(&snapshot, FIRST, 1).await, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(reading(&snapshot, SECOND, 2).await, 1);
        assert_eq!(reading(&snapshot, FIRST, 3).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_is_forgotten() {
        let snapshot = Snapshot::default();
        assert_eq!(reading(&snapshot, FIRST, 1).await, 1);
        tokio::time::sleep(FRESH + Duration::from_secs(1)).await;
        assert!(snapshot.readings.lock().await.last.is_none());
        assert_eq!(reading(&snapshot, SECOND, 2).await, 2);
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
                snapshot.entries(FIRST, None, read).await.unwrap()[0]
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
                assert!(snapshot.entries(FIRST, None, read).await.is_err());
            })
        };
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        for asked in asked {
            asked.await.unwrap();
        }
        assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(reading(&snapshot, SECOND, 7).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_goes_on_in_its_own_reading() {
        let snapshot = Snapshot::default();
        for number in 0..6 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(reading_of(Some(Client(u64::from(number))), &snapshot, FIRST, number).await, number);
        }
        for number in 0..6 {
            // The first two have had to make room: the last reading is the best that is left for them.
            let expected = if number < 2 { 5 } else { number };
            let found = reading_of(Some(Client(u64::from(number))), &snapshot, SECOND, 99).await;
            assert_eq!(found, expected, "client {number}");
        }
        assert_eq!(reading(&snapshot, SECOND, 99).await, 5, "somebody else");
        tokio::time::sleep(FRESH + Duration::from_secs(1)).await;
        assert!(snapshot.readings.lock().await.of_clients.is_empty());
        assert_eq!(reading_of(Some(Client(5)), &snapshot, SECOND, 7).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fits_on_one_page_is_not_kept() {
        let snapshot = Snapshot::default();
        let whole = PageToken { limit: 2, page: 1 };
        assert_eq!(reading_of(Some(Client(1)), &snapshot, whole, 1).await, 1);
        assert!(snapshot.readings.lock().await.of_clients.is_empty());
    }
}
