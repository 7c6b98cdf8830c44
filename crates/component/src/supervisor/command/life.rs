//! The life of a component's process: decisions alone, with the time given.
//!
//! | what happens | what is done |
//! |---|---|
//! | it should run and does not | it is started |
//! | it ends by itself | it is started again, after a pause that grows while it ends soon after its start |
//! | it has not checked in for long | it is degraded; at the third time it is killed |
//! | it should stop | it is asked to; it is killed when the grace is over |

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::supervisor::checkins::{Checkins, MOST_MISSES};
use crate::supervisor::spec::{CommandSpec, RestartMonitoring};

/// The first pause before a process is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) checkin: Duration,
    /// The longest pause before another start.
    pub(super) restart: Duration,
    pub(super) monitoring: Option<RestartMonitoring>,
}

impl Timing {
    pub(super) fn new(command: &CommandSpec) -> Timing {
        Timing {
            checkin: command.timeouts.checkin,
            restart: command.timeouts.restart.max(FIRST_PAUSE),
            monitoring: command.restart_monitoring(),
        }
    }
}

/// The grace that a process has to stop, of what its spec file says: the rest is for what comes after.
pub(in crate::supervisor) fn grace(command: &CommandSpec) -> Duration {
    const RESERVE: Duration = Duration::from_secs(5);
    command.timeouts.stop.saturating_sub(RESERVE).max(Duration::from_secs(1))
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Start a process.
    Spawn,
    /// It has missed so many check-ins in a row.
    Missed(u32),
    /// It has missed too many.
    GiveUp(u32),
    /// Ask it to stop.
    Terminate,
    /// End it.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A process is to be started at this moment.
    Waiting(Instant),
    Running(Running),
    /// It was told to stop, or will be; it is killed at this moment.
    Stopping {
        kill_at: Instant,
        is_told: bool,
        is_killed: bool,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    since: Instant,
    checkins: Checkins,
    is_killed: bool,
}

/// The life of one process after the other.
#[derive(Debug)]
pub(super) struct Life {
    timing: Timing,
    phase: Phase,
    pause: Duration,
    exits: VecDeque<Instant>,
}

impl Life {
    /// A process is to be started now.
    pub(super) fn new(timing: Timing, now: Instant) -> Life {
        Life { timing, phase: Phase::Waiting(now), pause: FIRST_PAUSE, exits: VecDeque::new() }
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Running(running) if running.is_killed => None,
            Phase::Running(running) => Some(running.checkins.deadline()),
            Phase::Stopping { is_killed: true, .. } | Phase::Ended => None,
            Phase::Stopping { kill_at, .. } => Some(kill_at),
        }
    }

    /// What is to be done now, if anything is.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Act> {
        match &mut self.phase {
            Phase::Waiting(at) if *at <= now => Some(Act::Spawn),
            Phase::Running(running) if !running.is_killed => running.look(now),
            Phase::Stopping { is_told, .. } if !*is_told => {
                *is_told = true;
                Some(Act::Terminate)
            }
            Phase::Stopping { kill_at, is_killed, .. } if *kill_at <= now && !*is_killed => {
                *is_killed = true;
                Some(Act::Kill)
            }
            _ => None,
        }
    }

    /// The process was started.
    pub(super) fn spawned(&mut self, now: Instant) {
        self.phase = Phase::Running(Running {
            since: now,
            checkins: Checkins::new(self.timing.checkin, now),
            is_killed: false,
        });
    }

    /// It could not be. Returns the pause before it is tried again.
    pub(super) fn spawn_failed(&mut self, now: Instant) -> Duration {
        let pause = self.timing.checkin.max(FIRST_PAUSE);
        self.phase = Phase::Waiting(now + pause);
        pause
    }

    /// It has checked in.
    pub(super) fn checked_in(&mut self, now: Instant) {
        if let Phase::Running(running) = &mut self.phase {
            running.checkins.checked_in(now);
        }
    }

    /// It has ended without being told to. Returns how that is to be seen.
    pub(super) fn exited(&mut self, now: Instant) -> Exit {
        if let Phase::Running(running) = self.phase {
            // Whoever has run for long begins with the short pause again.
            if now - running.since >= self.timing.restart {
                self.pause = FIRST_PAUSE;
            }
        }
        let pause = self.pause.min(self.timing.restart);
        self.pause = (self.pause * 2).min(self.timing.restart);
        self.phase = Phase::Waiting(now + pause);
        Exit { pause, is_allowed: self.is_allowed(now) }
    }

    fn is_allowed(&mut self, now: Instant) -> bool {
        let Some(monitoring) = self.timing.monitoring else { return false };
        self.exits.retain(|exit| now - *exit < monitoring.period);
        self.exits.push_back(now);
        self.exits.len() <= monitoring.most as usize
    }

    /// It should stop, and has this long.
    pub(super) fn stop(&mut self, now: Instant, grace: Duration) {
        self.phase = match self.phase {
            Phase::Running(_) => Phase::Stopping { kill_at: now + grace, is_told: false, is_killed: false },
            Phase::Stopping { kill_at, is_told, is_killed } => {
                Phase::Stopping { kill_at: kill_at.min(now + grace), is_told, is_killed }
            }
            Phase::Waiting(_) | Phase::Ended => Phase::Ended,
        };
    }

    /// It is gone, as it should be.
    pub(super) fn ended(&mut self) {
        self.phase = Phase::Ended;
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }
}

/// A process that has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// How long until the next one is started.
    pub(super) pause: Duration,
    /// Its spec file says that this is nothing to worry about.
    pub(super) is_allowed: bool,
}

impl Running {
    fn look(&mut self, now: Instant) -> Option<Act> {
        let misses = self.checkins.look(now)?;
        if misses <= MOST_MISSES {
            return Some(Act::Missed(misses));
        }
        self.is_killed = true;
        Some(Act::GiveUp(misses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timing() -> Timing {
        Timing { checkin: 30 * SECOND, restart: 10 * SECOND, monitoring: None }
    }

    fn running(now: Instant) -> Life {
        let mut life = Life::new(timing(), now);
        assert_eq!(life.poll(now), Some(Act::Spawn));
        life.spawned(now);
        life
    }

    #[test]
    fn a_process_that_never_checks_in_is_killed_at_the_third_look() {
        let start = Instant::now();
        let mut life = running(start);
        assert_eq!(life.poll(start + 29 * SECOND), None);
        assert_eq!(life.poll(start + 30 * SECOND), Some(Act::Missed(1)));
        assert_eq!(life.poll(start + 30 * SECOND), None);
        assert_eq!(life.poll(start + 60 * SECOND), Some(Act::Missed(2)));
        assert_eq!(life.poll(start + 90 * SECOND), Some(Act::GiveUp(3)));
        assert_eq!(life.poll(start + 200 * SECOND), None);
        assert_eq!(life.deadline(), None);
    }

    #[test]
    fn pauses_grow_up_to_that_of_the_spec_and_begin_again_after_a_long_run() {
        let start = Instant::now();
        let mut life = running(start);
        let mut pauses = Vec::new();
        let mut now = start;
        for _ in 0..8 {
            now += SECOND;
            let exit = life.exited(now);
            assert!(!exit.is_allowed);
            pauses.push(exit.pause.as_millis());
            now += exit.pause;
            assert_eq!(life.poll(now), Some(Act::Spawn));
            life.spawned(now);
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(life.exited(now + 11 * SECOND).pause, FIRST_PAUSE);
    }

    #[test]
    fn nothing_is_started_before_its_time() {
        let start = Instant::now();
        let mut life = running(start);
        let exit = life.exited(start);
        assert_eq!(life.poll(start + exit.pause / 2), None);
        assert_eq!(life.deadline(), Some(start + exit.pause));
    }

    #[test]
    fn a_process_that_does_not_stop_is_killed_once() {
        let start = Instant::now();
        let mut life = running(start);
        life.stop(start, 3 * SECOND);
        assert_eq!(life.poll(start), Some(Act::Terminate));
        assert_eq!(life.poll(start + SECOND), None);
        assert_eq!(life.deadline(), Some(start + 3 * SECOND));
        assert_eq!(life.poll(start + 3 * SECOND), Some(Act::Kill));
        assert_eq!(life.poll(start + 4 * SECOND), None);
        life.ended();
        assert!(life.is_ended());
    }

    #[test]
    fn a_shorter_grace_wins() {
        let start = Instant::now();
        let mut life = running(start);
        life.stop(start, 25 * SECOND);
        life.stop(start, SECOND);
        assert_eq!(life.deadline(), Some(start + SECOND));
    }

    #[test]
    fn what_does_not_run_is_stopped_at_once() {
        let start = Instant::now();
        let mut life = running(start);
        life.exited(start);
        life.stop(start, SECOND);
        assert!(life.is_ended());
        assert_eq!(life.poll(start + 100 * SECOND), None);
    }

    #[test]
    fn some_exits_are_allowed() {
        let start = Instant::now();
        let monitoring = RestartMonitoring { most: 2, period: 60 * SECOND };
        let mut life = Life::new(Timing { monitoring: Some(monitoring), ..timing() }, start);
        let allowed: Vec<bool> = (0..3).map(|step| life.exited(start + step * SECOND).is_allowed).collect();
        assert_eq!(allowed, [true, true, false]);
        assert!(life.exited(start + 70 * SECOND).is_allowed);
    }

    #[test]
    fn the_grace_leaves_time_for_the_rest() {
        assert_eq!(grace(&CommandSpec::default()), 25 * SECOND);
        let mut short = CommandSpec::default();
        short.timeouts.stop = 2 * SECOND;
        assert_eq!(grace(&short), SECOND);
    }
}
