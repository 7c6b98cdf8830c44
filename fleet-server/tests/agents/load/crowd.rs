//! Many agents that live beside each other, those who manage them, and what must be true of them in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::life::{Diary, Life};
use crate::agent::Way;
use crate::manager::Manager;

/// Within this, everything is as it should be once nothing goes wrong any more. It takes a few seconds where the
/// processors have nothing else to do.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// Actions are asked for by so many people at a time.
const PEOPLE: u64 = 3;
/// The most agents of one action.
const MOST_ASKED: usize = 6;

/// Agents under load. They end when this is dropped.
pub(crate) struct Crowd {
    way: Way,
    enrolment_key: Arc<str>,
    diaries: Arc<Mutex<Vec<Arc<Mutex<Diary>>>>>,
    lives: JoinSet<()>,
}

impl Crowd {
    pub(crate) fn new(way: Way, enrolment_key: &str) -> Crowd {
        Crowd { way, enrolment_key: enrolment_key.into(), diaries: Arc::default(), lives: JoinSet::new() }
    }

    /// So many more agents begin to live.
    pub(crate) fn join(&mut self, count: usize) {
        let mut diaries = self.diaries.lock().unwrap();
        for _ in 0..count {
            let (number, diary) = (diaries.len(), Arc::default());
            diaries.push(Arc::clone(&diary));
            let key = Arc::clone(&self.enrolment_key);
            let life = Life::new(format!("load-{number}"), &self.way, key, diary, number as u64);
            self.lives.spawn(life.live());
        }
    }

    /// What every agent has written down, as `of` tells it.
    fn each<T>(&self, of: impl Fn(&Diary) -> T) -> Vec<T> {
        let diaries = self.diaries.lock().unwrap();
        diaries.iter().map(|diary| of(&diary.lock().unwrap())).collect()
    }

    /// How many acknowledgements of actions have been answered.
    pub(crate) fn acked(&self) -> usize {
        self.each(|diary| diary.acked.len()).into_iter().sum()
    }

    /// How many answers with this status there were.
    pub(crate) fn answered(&self, status: u16) -> u64 {
        self.each(|diary| diary.answers.get(&status).copied().unwrap_or_default()).into_iter().sum()
    }

    /// The ids of those that have enrolled.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.each(|diary| diary.id.clone()).into_iter().flatten().collect()
    }

    /// Waits until so many more acknowledgements have been answered.
    pub(crate) async fn go_on(&self, acks: usize) {
        let wanted = self.acked() + acks;
        let began = Instant::now();
        while self.acked() < wanted {
            self.judge();
            assert!(began.elapsed() < SETTLED_WITHIN, "{} of {wanted} acknowledgements", self.acked());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What must never be.
    pub(crate) fn judge(&self) {
        for (number, wrongs) in self.each(|diary| diary.wrongs.clone()).into_iter().enumerate() {
            assert!(wrongs.is_empty(), "agent {number}: {}", wrongs.join("; "));
        }
    }

    /// Waits until every agent runs `revision` and has done what it was asked, and `manager` is told so.
    pub(crate) async fn settle(&self, manager: &Manager, revision: u64, asked: &Asked) {
        let began = Instant::now();
        loop {
            self.judge();
            let mut open = self.open(revision, asked);
            if open.is_empty() {
                open = self.untold(manager, revision, asked).await;
            }
            if open.is_empty() {
                return;
            }
            let open = || open.iter().take(10).cloned().collect::<Vec<_>>().join("; ");
            assert!(began.elapsed() < SETTLED_WITHIN, "still: {}", open());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What is not as it should be, by the agents' own diaries.
    fn open(&self, revision: u64, asked: &Asked) -> Vec<String> {
        let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (action, agents) in asked {
            agents.iter().for_each(|agent| expected.entry(agent).or_default().push(action));
        }
        let of = |diary: &Diary| {
            let Some(id) = &diary.id else { return Some(format!("not enrolled: {diary:?}")) };
            let wanted = expected.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let missing: Vec<&&str> =
                wanted.iter().filter(|action| !diary.acked.contains(**action)).collect();
            (diary.running != revision || !missing.is_empty()).then(|| {
                format!("{id} runs {} of {revision}, has not done {missing:?}: {diary:?}", diary.running)
            })
        };
        self.each(of).into_iter().flatten().collect()
    }

    /// What people are told otherwise than it is: no agent is there twice, and what was acknowledged is known.
    async fn untold(&self, manager: &Manager, revision: u64, asked: &Asked) -> Vec<String> {
        let mut open = Vec::new();
        let ids: BTreeSet<String> = self.ids().into_iter().collect();
        let shown = manager.get("/api/fleet/agents?perPage=10000&showInactive=true").await;
        let shown = shown["items"].as_array().cloned().unwrap_or_default();
        let known: BTreeSet<String> =
            shown.iter().map(|agent| agent["id"].as_str().unwrap().to_owned()).collect();
        if known != ids {
            let (ghosts, lost): (Vec<_>, Vec<_>) =
                (known.difference(&ids).collect(), ids.difference(&known).collect());
            open.push(format!("agents that nobody is: {ghosts:?}; agents that nobody knows: {lost:?}"));
        }
        for agent in shown.iter().filter(|agent| agent["policy_revision"] != revision) {
            open.push(format!("{} is not known to run {revision}", agent["id"]));
        }
        let counts = manager.get("/api/fleet/agents/action_status?perPage=10000").await;
        let counts: BTreeMap<&str, u64> = counts["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["actionId"].as_str().unwrap(), item["nbAgentsAck"].as_u64().unwrap()))
            .collect();
        for (action, agents) in asked {
            let count = counts.get(action.as_str()).copied();
            if count != Some(agents.len() as u64) {
                open.push(format!("{action} is known to be done by {count:?} of {}", agents.len()));
            }
        }
        open
    }
}

/// Actions that somebody was told are asked for, and of whom.
pub(crate) type Asked = Vec<(String, Vec<String>)>;

/// Those who save policies and ask agents for something, all the time.
pub(crate) struct Office {
    manager: Manager,
    policy: String,
    asked: Arc<Mutex<Asked>>,
    /// The newest revision that somebody was told is saved.
    saved: Arc<Mutex<u64>>,
    closing: CancellationToken,
    people: JoinSet<()>,
}

impl Office {
    pub(crate) fn open(manager: &Manager, policy: &str, crowd: &Crowd) -> Office {
        let mut office = Office {
            manager: manager.clone(),
            policy: policy.to_owned(),
            asked: Arc::default(),
            saved: Arc::default(),
            closing: CancellationToken::new(),
            people: JoinSet::new(),
        };
        for seed in 0..PEOPLE {
            let (manager, asked) = (office.manager.clone(), Arc::clone(&office.asked));
            let (closing, diaries) = (office.closing.clone(), Arc::clone(&crowd.diaries));
            office.people.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                while !closing.is_cancelled() {
                    ask(&manager, &diaries, &asked, &mut random).await;
                    sleep(Duration::from_millis(random.random_range(10..50))).await;
                }
            });
        }
        let (manager, policy) = (office.manager.clone(), office.policy.clone());
        let (closing, saved) = (office.closing.clone(), Arc::clone(&office.saved));
        office.people.spawn(async move {
            while !closing.is_cancelled() {
                if let Some(revision) = manager.try_save_policy(&policy, "under load").await {
                    *saved.lock().unwrap() = revision;
                }
                sleep(Duration::from_millis(250)).await;
            }
        });
        office
    }

    /// The newest revision that somebody was told is saved.
    pub(crate) fn saved(&self) -> u64 {
        *self.saved.lock().unwrap()
    }

    /// Everybody goes. Returns the newest revision, which is saved last, and all that was asked for.
    pub(crate) async fn close(mut self) -> (u64, Asked) {
        self.closing.cancel();
        while let Some(ended) = self.people.join_next().await {
            ended.expect("nobody met what must not be");
        }
        let before = self.saved();
        let revision = self.manager.save_policy(&self.policy, "the last").await;
        assert!(revision > before, "revision {before} was saved, and is gone");
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        (revision, asked)
    }
}

async fn ask(
    manager: &Manager,
    diaries: &Mutex<Vec<Arc<Mutex<Diary>>>>,
    asked: &Mutex<Asked>,
    random: &mut StdRng,
) {
    let ids: Vec<String> =
        diaries.lock().unwrap().iter().filter_map(|diary| diary.lock().unwrap().id.clone()).collect();
    let count = random.random_range(1..=MOST_ASKED);
    let mut chosen: Vec<String> = ids.choose_multiple(random, count).cloned().collect();
    chosen.sort_unstable();
    if chosen.is_empty() {
        return;
    }
    if let Some(action) = manager.try_ask_agents(&chosen).await {
        asked.lock().unwrap().push((action, chosen));
    }
}
