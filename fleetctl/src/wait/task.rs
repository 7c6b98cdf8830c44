//! One unit that is waited for.

use std::time::Duration;

use fleet_protocol::fleet_v1::{ExplainedState, UnitState};
use tokio::time::Instant;

use super::Missed;
use super::observe::Observation;
use crate::client::{ClientError, JobState, is_global};
use crate::context::Context;

/// systemd's state is believed only after it stood that long: it may still be the one from before the start.
/// A service may have done its work between two looks, so its end is believed soon, where states come at once;
/// an original fleetd sends them each second.
const BELIEVE_FAILED: Duration = Duration::from_millis(500);
const BELIEVE_FINISHED_SERVICE: Duration = Duration::from_secs(1);
const BELIEVE_FINISHED: Duration = Duration::from_secs(3);
const BELIEVE_RESTARTED: Duration = Duration::from_millis(250);

/// A unit that still waits to be restarted by systemd so long after it was first seen doing so is in a crash loop.
const BELIEVE_CRASHING: Duration = Duration::from_secs(5);

/// The pause between two questions why a unit waits.
const EXPLAIN_AGAIN: Duration = Duration::from_secs(2);

/// What a unit shall become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Its machine has come to this state.
    State(JobState),
    /// It was launched, and systemd has started it.
    Started,
    /// It is gone from the cluster and from every machine.
    Gone,
    /// Each of its machines has carried out so many restarts, and it runs again.
    Restarted(u64),
    /// It runs on none of its machines.
    StoppedEverywhere,
    /// It runs on at least so many machines.
    RunsOn(usize),
}

/// A unit that is waited for.
#[derive(Debug)]
pub(crate) struct Task {
    name: String,
    goal: Goal,
    /// Whether its machine has taken it up: what goes wrong from then on is in the journal.
    launched: bool,
    /// systemd's state, and since when it has been that.
    settled: Option<(String, Instant)>,
    /// Whether it was seen starting: an end after that is its own.
    worked: bool,
    /// The machine on which systemd restarts it after a crash, and when that was first seen.
    crashing: Option<(String, Instant)>,
    /// When the cluster was last asked why it waits.
    explained: Option<Instant>,
    /// Whether the user was told that the server does not answer.
    pub(super) told_trouble: bool,
}

/// What is thought of a unit after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pending,
    Reached,
    Missed(Missed),
}

impl Task {
    /// Waits for `goal` of the unit `name`.
    pub(crate) fn new(name: impl Into<String>, goal: Goal) -> Task {
        Task {
            name: name.into(),
            goal,
            launched: false,
            settled: None,
            worked: false,
            crashing: None,
            explained: None,
            told_trouble: false,
        }
    }

    /// The unit.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether systemd's states matter.
    pub(super) fn needs_states(&self) -> bool {
        !matches!(self.goal, Goal::State(_))
    }

    /// Whether it is time to ask the cluster what the unit is waiting for.
    pub(super) fn wants_explanation(&self) -> bool {
        let may = matches!(
            self.goal,
            Goal::State(JobState::Loaded | JobState::Launched) | Goal::Started | Goal::Restarted(_)
        );
        may && self.explained.is_none_or(|last| last.elapsed() >= EXPLAIN_AGAIN)
    }

    /// Notes that the cluster was asked; says whether it was the first time.
    pub(super) fn explained(&mut self) -> bool {
        self.explained.replace(Instant::now()).is_none()
    }

    /// The failure of a unit that has no more time.
    pub(super) fn timed_out(self) -> Missed {
        let name = &self.name;
        let reason = match self.goal {
            Goal::State(state) => format!("timed out waiting for unit {name} to report state {state}"),
            Goal::Started if !self.launched => {
                format!("timed out waiting for unit {name} to report state {}", JobState::Launched)
            }
            Goal::Gone => format!("timed out waiting for unit {name} to be gone"),
            Goal::StoppedEverywhere => format!("timed out waiting for unit {name} to stop"),
            Goal::Started | Goal::Restarted(_) | Goal::RunsOn(_) => {
                format!("timed out waiting for unit {name} to report active state")
            }
        };
        Missed { by_systemd: self.launched, name: self.name, reason }
    }

    /// The failure of a unit of which nothing more can be seen.
    pub(super) fn out_of_sight(self, error: &str) -> Missed {
        let reason = format!("cannot see how far unit {} is: {error}", self.name);
        Missed { by_systemd: self.launched, name: self.name, reason }
    }

    /// Judges what is seen, and prints the line of a unit that got there. An error: more had to be asked.
    pub(super) async fn judge(
        &mut self,
        context: &Context,
        seen: Observation,
    ) -> Result<Verdict, ClientError> {
        match self.goal {
            Goal::Restarted(count) if seen.unit.is_some() => {
                self.judge_restarted(context, count, &seen).await
            }
            _ => Ok(self.judge_seen(context, seen).await),
        }
    }

    async fn judge_seen(&mut self, context: &Context, seen: Observation) -> Verdict {
        if self.goal == Goal::Gone {
            return self.judge_gone(context, &seen);
        }
        let Some(unit) = &seen.unit else {
            let reason = format!("unit {} was destroyed meanwhile", self.name);
            return Verdict::Missed(Missed { name: self.name.clone(), reason, by_systemd: false });
        };
        match self.goal {
            Goal::State(wanted) => {
                // The machines of a global unit decide for themselves: only what is wanted of it can be seen.
                let global = is_global(unit);
                let state = if global { &unit.desired_state } else { &unit.current_state };
                if state != wanted.as_str() {
                    return Verdict::Pending;
                }
                self.tell(context, wanted, &unit.machine_id).await;
                Verdict::Reached
            }
            Goal::Started => {
                if unit.current_state != JobState::Launched.as_str() {
                    return Verdict::Pending;
                }
                if !self.launched {
                    self.launched = true;
                    self.tell(context, JobState::Launched, &unit.machine_id).await;
                }
                let state = seen.states.iter().find(|state| state.machine_id == unit.machine_id);
                self.judge_systemd(context, state).await
            }
            Goal::StoppedEverywhere if seen.states.iter().all(is_down) => Verdict::Reached,
            Goal::RunsOn(count) if seen.states.iter().filter(|state| is_up(state)).count() >= count => {
                for state in seen.states.iter().filter(|state| is_up(state)) {
                    self.tell(context, JobState::Launched, &state.machine_id).await;
                }
                Verdict::Reached
            }
            Goal::Gone | Goal::Restarted(_) | Goal::StoppedEverywhere | Goal::RunsOn(_) => Verdict::Pending,
        }
    }

    fn judge_gone(&self, context: &Context, seen: &Observation) -> Verdict {
        if seen.unit.is_some() || !seen.states.is_empty() {
            return Verdict::Pending;
        }
        context.console.line(format_args!("Destroyed {}", self.name));
        Verdict::Reached
    }

    async fn judge_restarted(
        &mut self,
        context: &Context,
        count: u64,
        seen: &Observation,
    ) -> Result<Verdict, ClientError> {
        let Some(unit) = &seen.unit else { return Ok(Verdict::Pending) };
        let progress = context.cluster.restart_progress(&self.name).await?;
        if !progress.is_some_and(|progress| progress.has_done(count)) {
            return Ok(Verdict::Pending);
        }
        self.launched = true;
        if is_global(unit) {
            return Ok(self.judge_restarted_everywhere(context, seen).await);
        }
        let state = seen.states.iter().find(|state| state.machine_id == unit.machine_id);
        if state.is_some_and(is_up) && !self.stood(BELIEVE_RESTARTED, "active") {
            return Ok(Verdict::Pending);
        }
        let verdict = self.judge_systemd(context, state).await;
        if verdict == Verdict::Reached {
            self.tell(context, JobState::Launched, &unit.machine_id).await;
        }
        Ok(verdict)
    }

    async fn judge_restarted_everywhere(&mut self, context: &Context, seen: &Observation) -> Verdict {
        if let Some(down) = seen.states.iter().find(|state| !is_up(state)) {
            return self.judge_systemd(context, Some(down)).await;
        }
        if !self.stood(BELIEVE_RESTARTED, "active") {
            return Verdict::Pending;
        }
        for state in &seen.states {
            self.tell(context, JobState::Launched, &state.machine_id).await;
        }
        Verdict::Reached
    }

    /// Judges what systemd says of a unit that it was told to start.
    async fn judge_systemd(&mut self, context: &Context, state: Option<&UnitState>) -> Verdict {
        let Some(state) = state else { return Verdict::Pending };
        let words = format!(
            "{}/{}/{}",
            state.systemd_load_state, state.systemd_active_state, state.systemd_sub_state
        );
        match state.systemd_active_state.as_str() {
            "active" if state.systemd_load_state == "loaded" => return Verdict::Reached,
            "activating" => {
                self.worked = true;
                if !self.is_crashing(state) {
                    return Verdict::Pending;
                }
                let why = format!("it crashes again and again ({words})");
                return Verdict::Missed(self.failed(context, &state.machine_id, &why).await);
            }
            "reloading" | "deactivating" => return Verdict::Pending,
            _ => {}
        }
        let machine = self.explained_state(context, state).await;
        let enough = match (state.systemd_active_state.as_str(), &machine) {
            ("failed", _) => BELIEVE_FAILED,
            _ if self.worked => Duration::ZERO,
            (_, Some(_)) if self.name.ends_with(".service") => BELIEVE_FINISHED_SERVICE,
            _ => BELIEVE_FINISHED,
        };
        let error = machine.map(|machine| machine.error).filter(|error| !error.is_empty());
        if !self.stood(enough, &words) && error.is_none() {
            return Verdict::Pending;
        }
        if error.is_none() && state.systemd_active_state == "inactive" && state.systemd_load_state == "loaded"
        {
            return Verdict::Reached;
        }
        Verdict::Missed(self.failed(context, &state.machine_id, &error.unwrap_or(words)).await)
    }

    /// The failure of a unit on a machine.
    pub(super) async fn failed(&self, context: &Context, machine: &str, why: &str) -> Missed {
        let name = &self.name;
        let machine = context.machine_legend(machine, false).await;
        let see = if self.launched { "journal" } else { "explain" };
        let reason = format!("unit {name} failed on {machine}: {why}. See: fleetctl {see} {name}");
        Missed { name: name.clone(), reason, by_systemd: true }
    }

    /// What the machine itself says of the unit; `None` from an original fleetd.
    async fn explained_state(&self, context: &Context, state: &UnitState) -> Option<ExplainedState> {
        let explanation = context.cluster.explain(&self.name).await.ok()??;
        explanation.states.into_iter().find(|explained| explained.machine_id == state.machine_id)
    }

    /// Whether systemd restarts the unit after a crash, and did so a while ago: either it pauses long, or the
    /// unit has crashed again. A slow start is no crash.
    fn is_crashing(&mut self, state: &UnitState) -> bool {
        // systemd 254 added the second word.
        if !matches!(state.systemd_sub_state.as_str(), "auto-restart" | "auto-restart-queued") {
            return false;
        }
        match &self.crashing {
            Some((machine, since)) if *machine == state.machine_id => since.elapsed() >= BELIEVE_CRASHING,
            _ => {
                self.crashing = Some((state.machine_id.clone(), Instant::now()));
                false
            }
        }
    }

    /// Whether systemd's state has been these words for `enough`.
    fn stood(&mut self, enough: Duration, words: &str) -> bool {
        match &self.settled {
            Some((before, since)) if before == words => since.elapsed() >= enough,
            _ => {
                self.settled = Some((words.to_owned(), Instant::now()));
                enough.is_zero()
            }
        }
    }

    async fn tell(&self, context: &Context, state: JobState, machine: &str) {
        if machine.is_empty() {
            context.console.line(format_args!("Unit {} {state}", self.name));
        } else {
            let machine = context.machine_legend(machine, false).await;
            context.console.line(format_args!("Unit {} {state} on {machine}", self.name));
        }
    }
}

fn is_up(state: &UnitState) -> bool {
    state.systemd_active_state == "active"
}

fn is_down(state: &UnitState) -> bool {
    matches!(state.systemd_active_state.as_str(), "inactive" | "failed")
}
