//! One `daemon-reload` for all who wait for one.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Lets a reload that *starts* after a request serve that request: one that is under way may have read the
/// files already.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// How many reloads have been started.
    started: AtomicU64,
    /// The number of the last one that succeeded; held while one runs.
    succeeded: Mutex<u64>,
}

impl Reloads {
    /// Returns when a reload has ended well that was started after this call was made.
    pub(crate) async fn request<E, F>(&self, reload: impl FnOnce() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let before = self.started.load(Ordering::SeqCst);
        let mut succeeded = self.succeeded.lock().await;
        if *succeeded > before {
            return Ok(());
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        reload().await?;
        *succeeded = number;
        Ok(())
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
    }
}
