//! Hashes that are slow by intent: a bound on how many run, and on how many wait.
//!
//! They run on the runtime's blocking threads. A few at a time, so that requests which need no such hash still
//! get processors; and a few waiting, because what waits longer than its client does is wasted. Over that,
//! [`Busy`]: the caller answers 429.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Too many slow hashes run and wait already: try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many slow hashes are being computed: try again later")]
pub struct Busy;

/// A place for slow work. Clones share its bounds.
#[derive(Clone, Debug)]
pub struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Workers {
    /// At most `running` at a time, and at most `waiting` beside them. At least one runs.
    #[must_use]
    pub fn new(running: usize, waiting: usize) -> Workers {
        let running = running.max(1);
        Workers {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running.saturating_add(waiting).min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Half of the machine's processors, and eight waiting for each: with hashes of 100 ms, less than two
    /// seconds.
    #[must_use]
    pub fn for_this_machine() -> Workers {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let running = (processors / 2).max(1);
        Workers::new(running, 8 * running)
    }

    /// Does the work on a blocking thread.
    ///
    /// Whoever stops waiting for it gives its place back if the work has not begun; what has begun keeps its
    /// place until it ends, because it keeps its processor too.
    ///
    /// # Errors
    /// [`Busy`] over the bound, and when the runtime is shutting down.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let output = work();
            drop((running, admitted));
            output
        });
        done.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test]
    async fn what_is_over_the_bound_is_refused_at_once_and_the_rest_is_done() {
        let workers = Workers::new(1, 1);
        let (open, gate) = sync_channel::<()>(0);
        let (begun_in, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let workers = workers.clone();
            async move {
                let work = move || {
                    begun_in.send(()).unwrap();
                    gate.recv().unwrap();
                    1
                };
                workers.run(work).await
            }
        });
        begun.await.unwrap();

        let mut second = Box::pin(workers.run(|| 2));
        assert!(futures_poll(&mut second).await.is_none());
        assert_eq!(workers.run(|| 3).await, Err(Busy));

        // Who stops waiting makes room.
        drop(second);
        let mut third = Box::pin(workers.run(|| 3));
        assert!(futures_poll(&mut third).await.is_none());

        open.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(third.await, Ok(3));
    }

    #[tokio::test]
    async fn who_stops_waiting_for_what_has_begun_leaves_its_place_taken() {
        let workers = Workers::new(1, 0);
        let (open, gate) = sync_channel::<()>(0);
        let (begun_in, begun) = tokio::sync::oneshot::channel();
        let (ended_in, ended) = tokio::sync::oneshot::channel();
        let task = tokio::spawn({
            let workers = workers.clone();
            async move {
                let work = move || {
                    begun_in.send(()).unwrap();
                    gate.recv().unwrap();
                    ended_in
                };
                let _ = workers.run(work).await.map(|ended| ended.send(()));
            }
        });
        begun.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(workers.run(|| 2).await, Err(Busy));
        open.send(()).unwrap();
        // The sender is dropped with the output that nobody waits for, just after the places.
        assert!(ended.await.is_err());
        assert_eq!(workers.run(|| 2).await, Ok(2));
    }

    /// One look at a future.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
