//! Numbers of revisions, where several servers save one policy at once, and some of them end in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fleet_access::master_key::MasterKey;
use fleet_access::seal::Keyring;
use fleet_access::signer::Signer;
use fleet_policy::documents::{
    AGENT_POLICIES, AgentPolicy, OUTPUTS, Output, SETTING_DEFAULTS, SETTING_DEFAULTS_ID, SettingDefaults,
};
use fleet_policy::files::FileLimits;
use fleet_policy::policies::DeployedPolicies;
use fleet_server::deployment::{Announced, Deployer, revisions};
use fleet_server::fleet::{ArtifactCache, Bounds, Fleet};
use fleet_service::drain::Drain;
use fleet_simulation::{Client, Faults, Link, Memory};
use fleet_store::{Expect, Store, Typed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::servers::Shared;

const SERVERS: usize = 3;
/// Saves that each server is asked for.
const SAVES: usize = 6;
/// Worlds in which servers end and the store fails.
const SEEDS: u64 = 12;
const POLICY: &str = "web";
/// Within this everything is over, once nothing goes wrong any more.
const OVER_WITHIN: Duration = Duration::from_secs(300);

struct Bench {
    /// A way without faults, for who judges.
    store: Arc<dyn Store>,
    servers: Vec<(Link, Deployer)>,
    tasks: Drain,
}

impl Bench {
    async fn begin(random: &mut StdRng) -> Bench {
        let memory = Memory::new(random.random());
        let store: Arc<dyn Store> = Arc::new(Client::new(&memory, &Link::new(random.random())));
        let keyring = Keyring::open(Arc::clone(&store), MasterKey::from_bytes([7; 32])).await.unwrap();
        let signer = Signer::open(Arc::clone(&store), &keyring).await.unwrap();
        let clock = Arc::new(Shared::clock());
        let output = Output {
            id: "es".to_owned(),
            name: "es".to_owned(),
            hosts: vec!["http://localhost:9200".to_owned()],
            is_default: true,
            ..Output::default()
        };
        put(&store, &OUTPUTS, "es", output).await;
        let defaults = SettingDefaults { output: Some("es".to_owned()), ..SettingDefaults::default() };
        put(&store, &SETTING_DEFAULTS, SETTING_DEFAULTS_ID, defaults).await;
        let policy = AgentPolicy { id: POLICY.to_owned(), revision: 1, ..AgentPolicy::default() };
        put(&store, &AGENT_POLICIES, POLICY, policy.clone()).await;
        let tasks = Drain::new();
        let mut servers = Vec::new();
        for _ in 0..SERVERS {
            let link = Link::new(random.random());
            let bounds = Bounds {
                files: FileLimits { storage: 1 << 20, receiving: 1 },
                artifacts: ArtifactCache { size: 0, keep: Duration::ZERO },
            };
            let way: Arc<dyn Store> = Arc::new(Client::new(&memory, &link));
            let fleet = Fleet::new(way, keyring.clone(), signer.clone(), clock.clone(), bounds);
            fleet.start(&tasks);
            fleet.ready().await;
            servers.push((link, Deployer::new(fleet)));
        }
        servers[0].1.ship(&policy).await.unwrap();
        Bench { store, servers, tasks }
    }

    fn set_faults(&self, faults: &Faults) {
        self.servers.iter().for_each(|(link, _)| link.set_faults(faults.clone()));
    }

    /// The numbers of all revisions that are kept, from the first, with those who made them.
    async fn kept(&self) -> Vec<(u64, String)> {
        let mut kept = revisions::list(&self.store, POLICY).await.unwrap();
        kept.reverse();
        kept.into_iter().map(|one| (one.revision, one.updated_by)).collect()
    }
}

async fn put<T>(store: &Arc<dyn Store>, collection: &'static fleet_store::Collection, id: &str, value: T)
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    let documents: Typed<T> = Typed::new(Arc::clone(store), collection);
    documents.put(id, &value, Expect::Absent, None, None).await.unwrap();
}

/// As an integration is saved: the policy is announced, something is written, and then it is completed.
async fn save(deployer: Deployer, author: String, writes: Duration) -> bool {
    let change = |policy: &mut AgentPolicy| {
        author.clone_into(&mut policy.description);
        true
    };
    let Ok(Announced::Next(announced)) = deployer.announce(POLICY, &author, change).await else {
        return false;
    };
    sleep(writes).await;
    deployer.complete(&announced).await.is_ok()
}

/// Looks for ever whether agents would ever be told an older revision than before.
async fn watch(store: Arc<dyn Store>, newest: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let deployed = DeployedPolicies::new(&store);
    while !is_over.load(Ordering::Relaxed) {
        let found = deployed.get(POLICY).await.unwrap().map_or(0, |found| found.value.revision_idx);
        let before = newest.swap(found, Ordering::Relaxed);
        assert!(before <= found, "revision {found} took the place of {before}");
        sleep(Duration::from_millis(3)).await;
    }
}

fn run<F: Future>(world: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world)
}

#[test]
fn of_saves_at_one_moment_each_has_a_revision_of_its_own() {
    run(async {
        let mut random = StdRng::seed_from_u64(1);
        let bench = Bench::begin(&mut random).await;
        bench.set_faults(&Faults {
            latency: Duration::from_millis(1)..=Duration::from_millis(20),
            ..Faults::default()
        });
        let mut saves = JoinSet::new();
        for (server, (_, deployer)) in bench.servers.iter().enumerate() {
            for number in 0..SAVES {
                let writes = Duration::from_millis(random.random_range(0..200));
                saves.spawn(save(deployer.clone(), format!("{server}-{number}"), writes));
            }
        }
        while let Some(saved) = saves.join_next().await {
            assert!(saved.unwrap());
        }
        let kept = bench.kept().await;
        let numbers: Vec<u64> = kept.iter().map(|(number, _)| *number).collect();
        let all = (SERVERS * SAVES) as u64 + 1;
        assert_eq!(numbers, (1..=all).collect::<Vec<_>>());
        let mut authors = BTreeMap::new();
        kept.into_iter().skip(1).for_each(|(_, author)| *authors.entry(author).or_insert(0) += 1);
        assert!(authors.len() == SERVERS * SAVES && authors.values().all(|count| *count == 1), "{authors:?}");
        let deployed = DeployedPolicies::new(&bench.store).get(POLICY).await.unwrap().unwrap();
        assert_eq!(deployed.value.revision_idx, all);
        bench.tasks.start();
    });
}

#[test]
fn no_number_is_left_out_whatever_ends_in_between() {
    for seed in 0..SEEDS {
        run(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let bench = Bench::begin(&mut random).await;
            let (newest, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let watching = tokio::spawn(watch(Arc::clone(&bench.store), newest, Arc::clone(&is_over)));
            bench.set_faults(&Faults {
                latency: Duration::ZERO..=Duration::from_millis(50),
                lost_requests: 0.05,
                lost_answers: 0.05,
                delayed_writes: 0.05,
                delay_max: Duration::from_secs(3),
                failing_watches: 0.1,
            });
            let mut saves = JoinSet::new();
            for (server, (_, deployer)) in bench.servers.iter().enumerate() {
                for number in 0..SAVES {
                    let writes = Duration::from_millis(random.random_range(0..400));
                    let begins = Duration::from_millis(random.random_range(0..2_000));
                    // Some servers end before they are done.
                    let ends = random.random_bool(0.4).then(|| random.random_range(1..600));
                    let saving = save(deployer.clone(), format!("{server}-{number}"), writes);
                    saves.spawn(async move {
                        sleep(begins).await;
                        match ends {
                            Some(ends) => drop(timeout(Duration::from_millis(ends), saving).await),
                            None => drop(saving.await),
                        }
                    });
                }
            }
            while let Some(saved) = saves.join_next().await {
                saved.unwrap();
            }
            bench.set_faults(&Faults::default());
            let began = Instant::now();
            while !save(bench.servers[0].1.clone(), "last".to_owned(), Duration::ZERO).await {
                assert!(began.elapsed() < OVER_WITHIN, "seed {seed}");
                sleep(Duration::from_secs(1)).await;
            }
            // What was on its way to the store has come.
            sleep(Duration::from_secs(10)).await;
            is_over.store(true, Ordering::Relaxed);
            watching.await.unwrap();
            let numbers: Vec<u64> = bench.kept().await.into_iter().map(|(number, _)| number).collect();
            let policies: Typed<AgentPolicy> = Typed::new(Arc::clone(&bench.store), &AGENT_POLICIES);
            let last = policies.get(POLICY).await.unwrap().unwrap().value.revision;
            assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "seed {seed}");
            bench.tasks.start();
        });
    }
}
