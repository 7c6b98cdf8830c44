//! What goes on after it was answered that it does: changing very many agents.

pub mod bulk;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// So many go on at a time. Each keeps the store busy: more would only hold each other up.
const AT_A_TIME: usize = 4;

/// The jobs of a server.
#[derive(Debug)]
pub struct Jobs {
    permits: Arc<Semaphore>,
    tracker: TaskTracker,
}

/// Room for one job.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Default for Jobs {
    fn default() -> Jobs {
        Jobs { permits: Arc::new(Semaphore::new(AT_A_TIME)), tracker: TaskTracker::new() }
    }
}

impl Jobs {
    /// Room for one job more. `None`: too many go on.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        Arc::clone(&self.permits).try_acquire_owned().ok().map(|permit| Room { _permit: permit })
    }

    /// Begins a job.
    pub fn begin(&self, room: Room, job: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(async move {
            job.await;
            drop(room);
        });
    }

    /// Begins no more jobs, and waits for those that go on.
    pub async fn end(&self) {
        self.permits.close();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
