//! Tasks with names, and an end within a bounded time.
//!
//! Every long-lived task of a daemon is spawned here. Each gets told when to end, by a token; a task that
//! panics ends all of them: the daemon stops, and systemd starts it again, rather than that it goes on with a
//! part of it missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::signals::Signals;

/// The tasks of a daemon. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    token: CancellationToken,
    tracker: TaskTracker,
    /// How many tasks of each name are running.
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

/// How draining ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All tasks have ended.
    Done,
    /// The time was up; these were still running.
    TimedOut(Vec<&'static str>),
    /// Somebody asked again; these were still running.
    Interrupted(Vec<&'static str>),
}

impl Drain {
    /// Without tasks.
    #[must_use]
    pub fn new() -> Drain {
        Drain::default()
    }

    /// The token that tells tasks to end. A child of it can be cancelled alone.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs a task. It should end soon after [`Drain::token`] is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let entry = Entry::new(name, self);
        self.tracker.spawn(async move {
            let output = task.await;
            drop(entry);
            output
        })
    }

    /// Tells all tasks to end.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Names of the tasks that are running.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        lock(&self.running).keys().copied().collect()
    }

    /// Tells all tasks to end, and waits until they have, until the time is up, or until another signal asks
    /// the daemon to stop. In the latter two cases the caller should exit without waiting any further.
    pub async fn finish(&self, grace: Duration, signals: &mut Signals) -> Drained {
        self.start();
        self.tracker.close();
        tokio::select! {
            biased;
            () = self.tracker.wait() => Drained::Done,
            _ = signals.stop() => Drained::Interrupted(self.running()),
            () = tokio::time::sleep(grace) => Drained::TimedOut(self.running()),
        }
    }
}

/// Counts a task while it is there, be it that it runs, ends, is aborted or panics.
struct Entry {
    name: &'static str,
    token: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Entry {
    fn new(name: &'static str, drain: &Drain) -> Entry {
        *lock(&drain.running).entry(name).or_default() += 1;
        Entry { name, token: drain.token.clone(), running: Arc::clone(&drain.running) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
        drop(running);
        if std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked: stopping");
            self.token.cancel();
        }
    }
}

/// The map is whole even if a thread panicked with it: each change of it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
