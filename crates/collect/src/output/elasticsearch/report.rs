//! What the output's state says, for all of its workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::keep::Keep;
use crate::output::Context;
use crate::state::Unit;

/// Events that are gone are told for this long after the last one: an operator who looks once in a while sees it.
const LOST_FOR: Duration = Duration::from_secs(600);

/// The state of an output, told by its workers.
pub(super) struct Report {
    context: Context,
    keep: Keep,
    /// The state tells of refused events: whoever is done with a request looks whether it still has to.
    refusals: AtomicBool,
}

impl Report {
    pub(super) fn new(context: Context) -> Report {
        let name = match &context.unit {
            Unit::Input(name) | Unit::Output(name) => name,
        };
        let keep = Keep::new(&context.data, name);
        Report { context, keep, refusals: AtomicBool::new(false) }
    }

    /// Where dead letters are kept that the engine refuses.
    pub(super) fn keep(&self) -> &Keep {
        &self.keep
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
        let (dead, kept, lost) = (losses.dead_lettered.get(), losses.kept.get(), losses.lost.get());
        let mut message = well.to_owned();
        if dead + kept + lost > 0 {
            message = format!("{message}; {} events were refused for good:", dead + kept + lost);
            let places = [
                (dead, "in logs-elastic_agent.dead_letter-*".to_owned()),
                (kept, format!("refused there, too, and kept in {}", self.keep.path().display())),
                (lost, "lost, since they could not be kept: see the agent's log".to_owned()),
            ];
            let parts = places.iter().filter(|(count, _)| *count > 0);
            let parts: Vec<String> = parts.map(|(count, place)| format!("{count} {place}")).collect();
            message = format!("{message} {}", parts.join(", "));
        }
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
    use crate::state::{Board, State};

    fn report() -> Report {
        Report::new(Context {
            outlet: Arc::new(Outlet::new(1, Counters::default())),
            counters: Counters::default(),
            board: Board::new(),
            unit: Unit::Output("default".to_owned()),
            data: std::path::PathBuf::new(),
            note: String::new(),
            stop: tokio_util::sync::CancellationToken::new(),
            tasks: tokio_util::task::TaskTracker::new(),
        })
    }

    fn state(report: &Report) -> State {
        report.context.board.output("default").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_told_for_ten_minutes() {
        let report = report();
        report.ready();
        assert_eq!(state(&report), State::Healthy);
        report.context.outlet.losses.lose(2);
        report.settled(true, 0);
        assert_eq!(state(&report), State::Degraded);
        tokio::time::advance(LOST_FOR - Duration::from_secs(1)).await;
        report.settled(false, 0);
        assert_eq!(state(&report), State::Degraded);
        // New settings do not make it forgotten.
        let anew = Report::new(report.context.clone());
        anew.ready();
        assert_eq!(state(&anew), State::Degraded);
        tokio::time::advance(Duration::from_secs(1)).await;
        report.settled(false, 0);
        assert_eq!(state(&report), State::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn dead_letters_are_told_until_a_request_has_none() {
        let report = report();
        report.settled(true, 1);
        assert_eq!(state(&report), State::Degraded);
        report.settled(false, 0);
        assert_eq!(state(&report), State::Healthy);
    }
}
