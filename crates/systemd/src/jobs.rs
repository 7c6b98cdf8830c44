//! Queued jobs and their results.
//!
//! systemd answers a request with a job's number, and tells by a signal that the job has ended. The signal may
//! be worked on before the answer, so results of jobs that nobody waits for yet are kept as long as any
//! request is on its way.

use std::collections::{HashMap, VecDeque};

use fleet_cluster::systemd::JobResult;
use tokio::sync::oneshot;

/// How many results are kept for requests on their way. More jobs than this, of the whole machine, would have
/// to end between systemd's answer to a request and our reading it.
const KEPT: usize = 4096;

/// The jobs that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Requests whose answer is not here yet.
    requests: usize,
    /// Results that came while there were such requests, the oldest first.
    ended: VecDeque<(u32, JobResult)>,
    /// Who waits, by the job's number. Two requests may share one job.
    waiting: HashMap<u32, Vec<oneshot::Sender<JobResult>>>,
    /// How often the connection was lost.
    losses: u64,
}

/// A request on its way. Knows which connection it was made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    losses: u64,
}

impl Jobs {
    /// A request is about to be made. Each is followed by one [`Jobs::end`].
    pub(crate) fn begin(&mut self) -> Request {
        self.requests += 1;
        Request { losses: self.losses }
    }

    /// The request was accepted as this job.
    pub(crate) fn accept(&mut self, request: Request, job: u32) -> oneshot::Receiver<JobResult> {
        let (sender, receiver) = oneshot::channel();
        if request.losses == self.losses {
            match self.ended.iter().rfind(|(ended, _)| *ended == job) {
                // An error only means that nobody waits any more.
                Some((_, result)) => drop(sender.send(result.clone())),
                None => self.waiting.entry(job).or_default().push(sender),
            }
        }
        receiver
    }

    /// A request is over, whatever became of it.
    pub(crate) fn end(&mut self) {
        self.requests = self.requests.saturating_sub(1);
        if self.requests == 0 {
            self.ended = VecDeque::new();
        }
    }

    /// A job has ended.
    pub(crate) fn ended(&mut self, job: u32, result: &str) {
        let result = match result {
            "done" => JobResult::Done,
            "skipped" => JobResult::Skipped,
            "canceled" => JobResult::Canceled,
            other => JobResult::Failed(other.to_owned()),
        };
        for sender in self.waiting.remove(&job).unwrap_or_default() {
            drop(sender.send(result.clone()));
        }
        if self.requests > 0 {
            if self.ended.len() == KEPT {
                self.ended.pop_front();
            }
            self.ended.push_back((job, result));
        }
    }

    /// The connection is lost: no result will come for what is waited for.
    pub(crate) fn lose(&mut self) {
        self.losses += 1;
        self.waiting = HashMap::new();
        self.ended = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::{JobResult, Jobs};

    #[test]
    fn a_result_finds_those_who_wait() {
        let mut jobs = Jobs::default();
        let (first, second) = (jobs.begin(), jobs.begin());
        let mut first = jobs.accept(first, 7);
        let mut second = jobs.accept(second, 7);
        jobs.ended(8, "done");
        assert_eq!(first.try_recv(), Err(TryRecvError::Empty));
        jobs.ended(7, "timeout");
        let result = JobResult::Failed("timeout".into());
        assert_eq!(first.try_recv(), Ok(result.clone()));
        assert_eq!(second.try_recv(), Ok(result));
    }

    #[test]
    fn a_result_before_the_answer_is_kept_until_then() {
        let mut jobs = Jobs::default();
        let fast = jobs.begin();
        jobs.begin();
        jobs.ended(7, "done");
        assert_eq!(jobs.accept(fast, 7).try_recv(), Ok(JobResult::Done));
        assert!(!jobs.ended.is_empty());
        jobs.end();
        jobs.end();
        assert!(jobs.ended.is_empty());
        jobs.ended(9, "done");
        assert!(jobs.ended.is_empty(), "nobody asks, nothing is kept");
    }

    #[test]
    fn a_loss_leaves_the_results_unknown() {
        let mut jobs = Jobs::default();
        let request = jobs.begin();
        let mut waiting = jobs.accept(request, 1);
        let under_way = jobs.begin();
        jobs.lose();
        assert_eq!(waiting.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(jobs.accept(under_way, 2).try_recv(), Err(TryRecvError::Closed));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut jobs = Jobs::default();
        let request = jobs.begin();
        for job in 0..5000 {
            jobs.ended(job, "done");
        }
        assert_eq!(jobs.ended.len(), super::KEPT);
        assert_eq!(jobs.accept(request, 4999).try_recv(), Ok(JobResult::Done));
    }
}
