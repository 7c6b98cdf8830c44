//! How often a route may be asked, and how many at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::ApiError;
use super::{Limits, Route};

/// The limit of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimit {
    /// One request in this time, in the long run. Zero: any number.
    pub interval: Duration,
    /// So many may come together.
    pub burst: u32,
    /// So many at once. 0: any number. Check-ins that are held do not count.
    pub max: usize,
    /// The largest body in bytes.
    pub max_body: usize,
    /// The largest body in bytes once it is unpacked.
    pub max_body_decoded: usize,
}

/// Leave to be served; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Leave(
    #[expect(dead_code, reason = "it is held, not looked at")] Option<OwnedSemaphorePermit>,
);

/// Lets in what a limit allows.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) limit: RouteLimit,
    /// When the bucket of tokens was empty, or would have been: it fills by one each interval.
    empty_at: Mutex<Option<Instant>>,
    places: Option<Arc<Semaphore>>,
}

impl Gate {
    fn new(limit: RouteLimit) -> Gate {
        let places =
            (limit.max != 0).then(|| Arc::new(Semaphore::new(limit.max.min(Semaphore::MAX_PERMITS))));
        Gate { limit, empty_at: Mutex::default(), places }
    }

    /// Lets one request in, until the leave is dropped.
    pub(super) fn enter(&self) -> Result<Leave, ApiError> {
        if !self.take_token(Instant::now()) {
            return Err(ApiError::Rate);
        }
        let place = self.places.as_ref().map(|places| Arc::clone(places).try_acquire_owned());
        place.transpose().map(Leave).map_err(|_| ApiError::Busy)
    }

    fn take_token(&self, now: Instant) -> bool {
        if self.limit.interval.is_zero() {
            return true;
        }
        let full = self.limit.interval * self.limit.burst.max(1);
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now.checked_sub(full).unwrap_or(now);
        let at = empty_at.map_or(oldest, |at| at.max(oldest));
        let next = at + self.limit.interval;
        let is_there = next <= now;
        if is_there {
            *empty_at = Some(next);
        }
        is_there
    }
}

#[derive(Debug)]
pub(super) struct RouteLimits {
    pub(super) enroll: Gate,
    pub(super) checkin: Gate,
    pub(super) ack: Gate,
    pub(super) audit_unenroll: Gate,
    pub(super) status: Gate,
    pub(super) opamp: Gate,
    pub(super) upload_start: Gate,
    pub(super) upload_chunk: Gate,
    pub(super) upload_end: Gate,
    pub(super) file_delivery: Gate,
    pub(super) artifact: Gate,
    pub(super) pgp_retrieval: Gate,
}

impl RouteLimits {
    pub(super) fn new(limits: &Limits) -> RouteLimits {
        RouteLimits {
            enroll: Gate::new(limits.enroll),
            checkin: Gate::new(limits.checkin),
            ack: Gate::new(limits.ack),
            audit_unenroll: Gate::new(limits.audit_unenroll),
            status: Gate::new(limits.status),
            opamp: Gate::new(limits.opamp),
            upload_start: Gate::new(limits.upload_start),
            upload_chunk: Gate::new(limits.upload_chunk),
            upload_end: Gate::new(limits.upload_end),
            file_delivery: Gate::new(limits.file_delivery),
            artifact: Gate::new(limits.artifact),
            pgp_retrieval: Gate::new(limits.pgp_retrieval),
        }
    }

    pub(super) fn of(&self, route: &Route<'_>) -> &Gate {
        match route {
            Route::Enroll => &self.enroll,
            Route::Checkin(_) => &self.checkin,
            Route::Acks(_) => &self.ack,
            Route::AuditUnenroll(_) => &self.audit_unenroll,
            Route::Status => &self.status,
            Route::Opamp => &self.opamp,
            Route::UploadBegin => &self.upload_start,
            Route::UploadChunk(..) => &self.upload_chunk,
            Route::UploadFinish(_) => &self.upload_end,
            Route::File(_) => &self.file_delivery,
            Route::Artifact(..) => &self.artifact,
            Route::PgpPublicKey(_) => &self.pgp_retrieval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(interval_ms: u64, burst: u32, max: usize) -> Gate {
        let interval = Duration::from_millis(interval_ms);
        Gate::new(RouteLimit { interval, burst, max, max_body: 0, max_body_decoded: 0 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_an_interval() {
        let gate = gate(10, 3, 0);
        let pass = || (0..10).filter(|_| gate.enter().is_ok()).count();
        assert_eq!(pass(), 3);
        assert_eq!(pass(), 0);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(pass(), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pass(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once() {
        let gate = gate(0, 0, 2);
        let first = gate.enter().unwrap();
        let _second = gate.enter().unwrap();
        assert!(matches!(gate.enter(), Err(ApiError::Busy)));
        drop(first);
        assert!(gate.enter().is_ok());
    }
}
