//! What is measured while a server runs, and agents with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::agent::Agent;
use super::arguments::AgentsArguments;
use super::churn::churn;
use super::server::{POLICY, Server};
use super::store::Store;
use super::swarm::Swarm;
use super::tally::{Of, Tally};
use super::usage::Usage;
use crate::error::BenchError;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

/// Waiting for all agents takes no longer.
const BOUND: Duration = Duration::from_secs(120);
/// How often it is looked whether all are done. Each agent notes its own moments.
const PAUSE: Duration = Duration::from_millis(5);
/// Actions for single agents, and the agents of each.
const ACTIONS: usize = 50;
const AGENTS_OF_ACTION: usize = 20;

/// What has nothing to do with the measurement and disturbs it.
const OTHERS: &str = "processor time of others meanwhile";

/// What is measured with.
pub(super) struct Bench<'a> {
    pub(super) arguments: &'a AgentsArguments,
    pub(super) store: &'a Store,
    pub(super) label: String,
    pub(super) tally: Arc<Tally>,
    pub(super) figures: Vec<Figure>,
    /// Versions of the policy that were saved.
    pub(super) version: usize,
}

/// Moments of many agents after something was asked for.
#[derive(Debug, Default)]
struct Moments {
    first: Samples,
    middle: Samples,
    last: Samples,
}

impl Moments {
    fn push(&mut self, began: Instant, moments: &[Instant]) {
        let samples: Samples =
            moments.iter().map(|at| at.saturating_duration_since(began).as_secs_f64() * 1e3).collect();
        for (into, share) in [(&mut self.first, 0.0), (&mut self.middle, 0.5), (&mut self.last, 1.0)] {
            into.push(samples.quantile(share).unwrap_or(f64::NAN));
        }
    }
}

impl Bench<'_> {
    /// Adds a figure.
    pub(super) fn figure(&mut self, name: &str, unit: &'static str, samples: &Samples) -> &mut Figure {
        self.figures.push(Figure::new(format!("{}: {name}", self.label), unit, samples));
        let last = self.figures.len() - 1;
        &mut self.figures[last]
    }

    /// Adds a figure with a target.
    pub(super) fn goal(
        &mut self,
        name: &str,
        unit: &'static str,
        samples: &Samples,
        target: Target,
    ) -> &mut Figure {
        let figure = Figure::new(format!("{}: {name}", self.label), unit, samples).target(target);
        self.figures.push(figure);
        let last = self.figures.len() - 1;
        &mut self.figures[last]
    }

    /// Processor times now.
    fn usage(&self, server: &Server) -> Result<Usage, BenchError> {
        Usage::now(server.process(), self.store.process())
    }

    /// Waits until so many agents have seen what is counted.
    async fn seen(&self, what: &str, count: usize, of: impl Fn(&Tally) -> usize) -> Result<(), BenchError> {
        until(what, BOUND, PAUSE, async || match of(&self.tally) {
            enough if enough >= count => Ok(Look::Found(())),
            few => Ok(Look::NotYet(format!("{few} of {count}; {:?}", self.tally.all_unexpected()))),
        })
        .await
    }

    /// Idle agents: the server's processor time, and the store's writes.
    pub(super) async fn idle(&mut self, server: &Server, agents: usize) -> Result<(), BenchError> {
        let (writes, time) = (self.store.writes().await?, server.process().processor_time()?);
        let store = self.store.process();
        let store_time = store.map(|process| process.processor_time()).transpose()?;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(self.arguments.idle)).await;
        let took = began.elapsed().as_secs_f64();
        let time = (server.process().processor_time()? - time) / took * 100.0;
        let written = self.store.writes().await? - writes;
        let per_agent = written / agents as f64 * 120.0 / took;
        let name = format!("processor time with {agents} held");
        let target = Target { max: Some(1.0), ..Target::default() };
        self.goal(&name, "% of a core", &one(time), target).original = "10 000: 2";
        if let (Some(process), Some(before)) = (store, store_time) {
            let time = (process.processor_time()? - before) / took * 100.0;
            self.figure("the store's processor time meanwhile", "% of a core", &one(time));
        }
        let target = Target { max: Some(1.0), ..Target::default() };
        self.goal("writes for an idle agent in 2 min", "writes", &one(per_agent), target).original = "4";
        Ok(())
    }

    /// A revision of the policy goes out to all.
    pub(super) async fn rollout(
        &mut self,
        server: &mut Server,
        swarm: &Swarm,
        agents: usize,
    ) -> Result<(), BenchError> {
        let (mut has, mut acked) = (Moments::default(), Moments::default());
        let (mut cost, mut cost_all, mut ack_times) = (Samples::new(), Samples::new(), Samples::new());
        let mut ack_last = Samples::new();
        let (mut own, mut others) = (Samples::new(), Samples::new());
        for _ in 0..self.arguments.rounds {
            swarm.held(BOUND).await?;
            self.tally.clear();
            self.version += 1;
            let before = self.usage(server)?;
            let began = Instant::now();
            let revision = server.save_policy(self.arguments.policy, self.version).await?;
            let count = move |tally: &Tally| {
                tally.look(|seen| seen.policies.iter().filter(|(came, _)| *came == revision).count())
            };
            self.seen("every agent has the revision", agents, count).await?;
            let count = |tally: &Tally| {
                tally.look(|seen| seen.acks.iter().filter(|(of, ..)| *of == Of::Policy).count())
            };
            self.seen("every agent has acknowledged", agents, count).await?;
            let used = self.usage(server)?.since(&before);
            cost.push(used.server * 1e3 / agents as f64);
            own.push(used.agents * 1e3 / agents as f64);
            others.push(used.others * 100.0);
            let (came, acks): (Vec<_>, Vec<_>) = self.tally.look(|seen| {
                let came = seen.policies.iter().map(|(_, at)| *at).collect();
                (came, seen.acks.iter().map(|(_, at, took)| (*at, *took)).collect())
            });
            has.push(began, &came);
            let moments: Vec<Instant> = acks.iter().map(|(at, _)| *at).collect();
            acked.push(began, &moments);
            let times: Samples = acks.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect();
            ack_times.push(times.quantile(0.5).unwrap_or(f64::NAN));
            ack_last.push(times.quantile(0.99).unwrap_or(f64::NAN));
            swarm.held(BOUND).await?;
            cost_all.push(self.usage(server)?.since(&before).server * 1e3 / agents as f64);
        }
        let most = |max: f64| Target { max: Some(max), ..Target::default() };
        let size = self.arguments.policy;
        let name = |what: &str| format!("a revision of {size} bytes to {agents}: {what}");
        self.goal(&name("the first has it"), "ms", &has.first, most(50.0)).original = "10 000: 50 900";
        self.figure(&name("half of them have it"), "ms", &has.middle).original = "10 000: 52 600";
        self.goal(&name("the last has it"), "ms", &has.last, most(2000.0)).original = "10 000: 54 700";
        self.goal(&name("all have acknowledged"), "ms", &acked.last, most(4000.0));
        self.goal(&name("processor time for each"), "ms", &cost, most(0.15)).original = "2.1";
        self.figure("the same, until all are held again", "ms", &cost_all);
        self.figure("processor time of each simulated agent", "ms", &own);
        self.figure(OTHERS, "% of a core", &others);
        self.figure("an ack meanwhile, p50", "ms", &ack_times);
        self.figure("an ack meanwhile, p99", "ms", &ack_last);
        Ok(())
    }

    /// Single agents acknowledge while all others are held.
    pub(super) async fn acks(
        &mut self,
        server: &mut Server,
        swarm: &Swarm,
        agents: &[Arc<Agent>],
    ) -> Result<(), BenchError> {
        swarm.held(BOUND).await?;
        self.tally.clear();
        let size = AGENTS_OF_ACTION.min(agents.len());
        let before = self.usage(server)?;
        let mut asked = 0;
        let mut accepted = Samples::new();
        for chosen in agents.chunks(size).take(ACTIONS) {
            let ids: Vec<&str> = chosen.iter().map(|agent| agent.id.as_str()).collect();
            let began = Instant::now();
            server.ask_agents(&json!(ids)).await?;
            accepted.push_millis(began.elapsed());
            asked += ids.len();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let count = |tally: &Tally| tally.look(|seen| seen.acks.len());
        self.seen("every chosen agent has acknowledged", asked, count).await?;
        let others = self.usage(server)?.since(&before).others * 100.0;
        let times: Samples =
            self.tally.look(|seen| seen.acks.iter().map(|(_, _, took)| took.as_secs_f64() * 1e3).collect());
        let target = Target { p99: Some(20.0), ..Target::default() };
        self.goal(&format!("an ack, {} held", agents.len()), "ms", &times, target).original = "500 to 1000";
        self.figure(&format!("an action for {size} agents is accepted"), "ms", &accepted);
        self.figure(OTHERS, "% of a core", &one(others));
        Ok(())
    }

    /// Check-ins that change a status.
    pub(super) async fn status(&mut self, server: &Server, agents: &[Arc<Agent>]) -> Result<(), BenchError> {
        let mut rates = Samples::new();
        let (mut cost, mut own, mut others) = (Samples::new(), Samples::new(), Samples::new());
        for _ in 0..3 {
            let churned =
                churn(&server.target, agents, Duration::from_secs(5), || self.usage(server)).await?;
            let each = 1e3 / churned.answered as f64;
            cost.push(churned.used.server * each);
            own.push(churned.used.agents * each);
            others.push(churned.used.others * 100.0);
            rates.push(churned.answered as f64 / churned.took.as_secs_f64());
        }
        let target = Target { at_least: Some(6000.0), ..Target::default() };
        self.goal("check-ins that change a status", "1/s", &rates, target);
        self.figure("processor time for each", "ms", &cost);
        self.figure("processor time of the simulated agent for each", "ms", &own);
        self.figure(OTHERS, "% of a core", &others);
        Ok(())
    }

    /// An action for all agents that are stored, by a query.
    pub(super) async fn action(
        &mut self,
        server: &mut Server,
        swarm: &Swarm,
        held: usize,
        stored: usize,
    ) -> Result<(), BenchError> {
        let (mut accepted, mut came, mut acked) = (Samples::new(), Moments::default(), Moments::default());
        let (mut cost, mut others) = (Samples::new(), Samples::new());
        let query = json!(format!("policy_id:{POLICY}"));
        for _ in 0..3 {
            swarm.held(BOUND).await?;
            self.tally.clear();
            let before = self.usage(server)?;
            let began = Instant::now();
            let id = server.ask_agents(&query).await?;
            accepted.push_millis(began.elapsed());
            self.seen("every held agent has the action", held, |tally| tally.look(|seen| seen.actions.len()))
                .await?;
            self.seen("every held agent has acknowledged", held, |tally| tally.look(|seen| seen.acks.len()))
                .await?;
            let used = self.usage(server)?.since(&before);
            cost.push(used.server * 1e3 / held as f64);
            others.push(used.others * 100.0);
            let (actions, acks): (Vec<Instant>, Vec<Instant>) = self
                .tally
                .look(|seen| (seen.actions.clone(), seen.acks.iter().map(|(_, at, _)| *at).collect()));
            came.push(began, &actions);
            acked.push(began, &acks);
            let status = server.action_status(&id).await?;
            let expected = (stored as u64, held as u64, 0);
            let found = (status.nb_agents_action_created, status.nb_agents_ack, status.nb_agents_failed);
            if found != expected {
                let text =
                    format!("the action's progress is {found:?}, not {expected:?} (created, acked, failed)");
                self.tally.unexpected(&text);
            }
        }
        let most = |max: f64| Target { max: Some(max), ..Target::default() };
        let name = |what: &str| format!("an action by query for {stored}: {what}");
        self.goal(&name("accepted"), "ms", &accepted, most(1000.0));
        self.figure(&name(&format!("the first of {held} held has it")), "ms", &came.first);
        self.goal(&name(&format!("the last of {held} held has it")), "ms", &came.last, most(3000.0));
        self.figure(&name("all held have acknowledged"), "ms", &acked.last);
        self.figure(&name("processor time for each that is held"), "ms", &cost);
        self.figure(OTHERS, "% of a core", &others);
        Ok(())
    }
}

/// A single measurement.
pub(super) fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}
