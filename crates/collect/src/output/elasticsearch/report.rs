//! What the output's state says, for all of its workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::output::Context;

/// Events that are gone are told for this long after the last one: an operator who looks once in a while sees it.
const LOST_FOR: Duration = Duration::from_secs(600);

/// The state of an output, told by its workers.
pub(super) struct Report {
    context: Context,
    /// The state tells of refused events: whoever is done with a request looks whether it still has to.
    refusals: AtomicBool,
}

impl Report {
    pub(super) fn new(context: Context) -> Report {
        Report { context, refusals: AtomicBool::new(false) }
    }

    /// The output can begin. Events that it lost before its settings were changed are still told.
    pub(super) fn ready(&self) {
        self.tell("ready", 0);
    }

    /// Events wait.
    pub(super) fn trouble(&self, message: impl Into<String>) {
        self.refusals.store(false, Ordering::Relaxed);
        self.context.degraded(message);
    }

    /// A worker is done with a request, of which so many events are dead letters now.
    pub(super) fn settled(&self, had_trouble: bool, dead_letters: u64) {
        if had_trouble || dead_letters > 0 || self.refusals.load(Ordering::Relaxed) {
            self.tell("connected", dead_letters);
        }
    }

    fn tell(&self, well: &str, dead_letters: u64) {
        let losses = &self.context.outlet.losses;
        let was_lost = losses.last().is_some_and(|at| at.elapsed() < LOST_FOR);
        let is_degraded = was_lost || dead_letters > 0;
        self.refusals.store(is_degraded, Ordering::Relaxed);
        let message = match (losses.dead_lettered.get(), losses.lost.get()) {
            (0, 0) => well.to_owned(),
            (dead, 0) => {
                format!("{well}; {dead} events were refused for good: see logs-elastic_agent.dead_letter-*")
            }
            (dead, lost) => format!(
                "{well}; {} events were refused for good: {dead} are in logs-elastic_agent.dead_letter-*, {lost} could not be kept there and are lost: see the agent's log",
                dead + lost
            ),
        };
        if is_degraded {
            self.context.degraded(message);
        } else {
            self.context.healthy(&message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Counters;
    use crate::outlet::Outlet;
    use crate::state::{Board, Unit, UnitState};

    fn report() -> Report {
        Report::new(Context {
            outlet: Arc::new(Outlet::new(1, Counters::default())),
            counters: Counters::default(),
            board: Board::new(),
            unit: Unit::Output("default".to_owned()),
            note: String::new(),
            stop: tokio_util::sync::CancellationToken::new(),
            tasks: tokio_util::task::TaskTracker::new(),
        })
    }

    fn state(report: &Report) -> UnitState {
        report.context.board.output("default").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_told_for_ten_minutes() {
        let report = report();
        report.ready();
        assert_eq!(state(&report), UnitState::Healthy);
        report.context.outlet.losses.lose(2);
        report.settled(true, 0);
        assert_eq!(state(&report), UnitState::Degraded);
        tokio::time::advance(LOST_FOR - Duration::from_secs(1)).await;
        report.settled(false, 0);
        assert_eq!(state(&report), UnitState::Degraded);
        // New settings do not make it forgotten.
        let anew = Report::new(report.context.clone());
        anew.ready();
        assert_eq!(state(&anew), UnitState::Degraded);
        tokio::time::advance(Duration::from_secs(1)).await;
        report.settled(false, 0);
        assert_eq!(state(&report), UnitState::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn dead_letters_are_told_until_a_request_has_none() {
        let report = report();
        report.settled(true, 1);
        assert_eq!(state(&report), UnitState::Degraded);
        report.settled(false, 0);
        assert_eq!(state(&report), UnitState::Healthy);
    }
}
