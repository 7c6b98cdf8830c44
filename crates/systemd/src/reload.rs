//! One `daemon-reload` for all who wait for one.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Lets a reload that *starts* after a request serve that request: one that is under way may have read the
/// files already.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// How many reloads have been started.
    started: AtomicU64,
    /// The number of the last one that succeeded; held while one runs.
    succeeded: Mutex<u64>,
    /// Whether a reload was needed and has not succeeded.
    owed: AtomicBool,
}

impl Reloads {
    /// Whether a reload that was needed has failed, and none has succeeded since.
    pub(crate) fn is_owed(&self) -> bool {
        self.owed.load(Ordering::SeqCst)
    }

    /// Returns when a reload has ended well that was started after this call was made.
    pub(crate) async fn request<E, F>(&self, reload: impl FnOnce() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        self.owed.store(true, Ordering::SeqCst);
        let before = self.started.load(Ordering::SeqCst);
        let mut succeeded = self.succeeded.lock().await;
        if *succeeded > before {
            return Ok(());
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        // From here on a further request is not served by this reload, and owes one itself.
        self.owed.store(false, Ordering::SeqCst);
        let outcome = reload().await;
        match &outcome {
            Ok(()) => *succeeded = number,
            Err(_) => self.owed.store(true, Ordering::SeqCst),
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::Reloads;

    #[tokio::test]
    async fn waiting_requests_share_the_next_reload() {
        let reloads = Reloads::default();
        let (count, gate) = (Cell::new(0), Notify::new());
        let request = || {
            reloads.request(|| async {
                count.set(count.get() + 1);
                gate.notified().await;
                Ok::<(), ()>(())
            })
        };
        let driver = async {
            tokio::task::yield_now().await;
            assert_eq!(count.get(), 1, "the first runs, the others wait");
            gate.notify_one();
            while count.get() < 2 {
                tokio::task::yield_now().await;
            }
            gate.notify_one();
        };
        // `join!` polls in this order: the first starts a reload, the others come while it runs.
        let (first, second, third, ()) = tokio::join!(request(), request(), request(), driver);
        assert_eq!((first, second, third), (Ok(()), Ok(()), Ok(())));
        assert_eq!(count.get(), 2);
    }

    #[tokio::test]
    async fn a_failed_reload_serves_nobody() {
        let reloads = Reloads::default();
        let count = Cell::new(0);
        let request = || {
            reloads.request(|| async {
                count.set(count.get() + 1);
                tokio::task::yield_now().await;
                if count.get() == 1 { Err("no") } else { Ok(()) }
            })
        };
        let answers = tokio::join!(request(), request());
        assert_eq!(answers, (Err("no"), Ok(())));
        assert!(!reloads.is_owed());
        count.set(0);
        assert_eq!(request().await, Err("no"));
        assert!(reloads.is_owed());
    }
}
