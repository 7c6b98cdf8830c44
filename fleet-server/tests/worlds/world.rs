//! A world: what happens in it, and what must be true at its end.

use std::sync::Arc;
use std::time::Duration;

use fleet_access::documents::{ENROLLMENT_KEYS, EnrollmentKey};
use fleet_access::key::ApiKey;
use fleet_access::master_key::MasterKey;
use fleet_access::seal::Keyring;
use fleet_access::signer::Signer;
use fleet_policy::actions::Actions;
use fleet_policy::documents::{AGENT_STATES, Action, AgentState, DeployedPolicy, POLICIES};
use fleet_server::clock::Clock;
use fleet_simulation::{Client, Condition, Faults, Link, Memory};
use fleet_store::{Expect, Scope, Store, Typed};
use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::agent::Agent;
use crate::servers::{Server, Shared};

const SERVERS: usize = 3;
const AGENTS: usize = 8;
/// What happens in an epoch.
const EVENTS: usize = 12;
/// Within this, after the last fault, everything must be as it should.
const SETTLED_WITHIN: Duration = Duration::from_secs(400);

pub(crate) struct World {
    seed: u64,
    random: StdRng,
    shared: Shared,
    /// A way without faults, for who manages and who judges.
    store: Arc<dyn Store>,
    manager: Actions,
    servers: Arc<Vec<Server>>,
    agents: Vec<Agent>,
    enrolment_key: Arc<str>,
    revision: u64,
    /// Actions that were asked for, and of whom.
    asked: Vec<(String, Vec<String>)>,
    story: Vec<String>,
}

impl World {
    pub(crate) async fn begin(seed: u64) -> World {
        let mut random = StdRng::seed_from_u64(seed);
        let memory = Memory::new(random.random());
        let store: Arc<dyn Store> = Arc::new(Client::new(&memory, &Link::new(random.random())));
        let master = MasterKey::from_bytes([7; 32]);
        let keyring = Keyring::open(Arc::clone(&store), master).await.unwrap();
        let signer = Signer::open(Arc::clone(&store), &keyring).await.unwrap();
        let shared = Shared { memory, keyring, signer, clock: Shared::clock() };
        let enrolment_key = make_enrolment_key(&store, &shared).await;
        let servers: Arc<Vec<Server>> =
            Arc::new((0..SERVERS).map(|_| Server::new(random.random())).collect());
        for server in servers.iter() {
            server.start(&shared);
        }
        let mut world = World {
            seed,
            manager: Actions::new(&store, Box::new(|_| ())),
            store,
            shared,
            agents: Vec::new(),
            enrolment_key: Arc::clone(&enrolment_key),
            servers,
            revision: 0,
            asked: Vec::new(),
            story: Vec::new(),
            random,
        };
        world.save_policy().await;
        for number in 0..AGENTS {
            let name = format!("agent-{number}");
            let agent = Agent::new(name, Arc::clone(&world.servers), Arc::clone(&enrolment_key));
            tokio::spawn(agent.clone().live(world.random.random()));
            world.agents.push(agent);
        }
        world
    }

    /// Enrols an agent that nobody plays. Returns its id and key.
    pub(crate) async fn enrol(&self) -> (String, String) {
        let body = json!({"type": "PERMANENT", "metadata": {"local": {}}});
        let (status, answer) =
            self.send(Method::POST, "/api/fleet/agents/enroll", &self.enrolment_key, &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let text = |field: &str| answer["item"][field].as_str().unwrap().to_owned();
        (text("id"), text("access_api_key"))
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// A way to the store that always works.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn enrolment_key(&self) -> &str {
        &self.enrolment_key
    }

    /// Sends a request to the first server.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        self.servers[0].send(method, path, key, body).await.unwrap()
    }

    /// Things happen; then every fault ends, and everything comes right.
    pub(crate) async fn epoch(&mut self) {
        for _ in 0..EVENTS {
            let pause = self.random.random_range(0..20_000);
            sleep(Duration::from_millis(pause)).await;
            self.event().await;
        }
        self.mend();
        self.settle().await;
    }

    pub(crate) async fn end(&mut self) {
        // Long after, nothing has changed, and the agents are still known to be there.
        sleep(Duration::from_secs(900)).await;
        self.settle().await;
        let states: Typed<AgentState> = Typed::new(Arc::clone(&self.store), &AGENT_STATES);
        let now = self.shared.clock.now();
        for agent in &self.agents {
            let id = agent.diary.lock().unwrap().id.clone().unwrap();
            let state = states.get(&id).await.unwrap().unwrap().value;
            let silence = state.last_checkin.unwrap().until(now);
            assert!(silence < Duration::from_secs(290), "world {}: {id} seems offline", self.seed);
        }
    }

    async fn event(&mut self) {
        let server = self.random.random_range(0..SERVERS);
        match self.random.random_range(0..12) {
            0..=2 => self.save_policy().await,
            3..=4 => self.ask_agents().await,
            5 => {
                self.tell(&format!("server {server} is killed"));
                self.servers[server].kill();
            }
            6 => {
                if !self.servers[server].is_running() {
                    self.tell(&format!("server {server} is started"));
                    self.servers[server].start(&self.shared);
                }
            }
            7 => {
                let condition =
                    [Condition::Up, Condition::Refusing, Condition::Silent][self.random.random_range(0..3)];
                self.tell(&format!("the store is {condition:?} for server {server}"));
                self.servers[server].link.set(condition);
            }
            8 => {
                let share = self.random.random_range(0.0..0.3);
                self.tell(&format!("{share:.2} of what server {server} asks goes wrong"));
                self.servers[server].link.set_faults(Faults {
                    latency: Duration::ZERO..=Duration::from_millis(50),
                    lost_requests: share,
                    lost_answers: share,
                    delayed_writes: share,
                    delay_max: Duration::from_secs(3),
                    failing_watches: share,
                });
            }
            9 => {
                let lags = self.random.random_bool(0.7);
                self.tell(&format!("server {server} {}", if lags { "lags" } else { "catches up" }));
                self.servers[server].lag(lags);
            }
            10 => {
                // Whoever did not listen meanwhile has to read everything again.
                self.tell("the store forgets its history");
                self.store.compact(Duration::ZERO).await.unwrap();
            }
            _ => {
                let share = self.random.random_range(0.0..0.4);
                self.tell(&format!("{share:.2} of the answers to agents get lost"));
                for agent in &self.agents {
                    *agent.loss.lock().unwrap() = share;
                }
            }
        }
    }

    fn mend(&mut self) {
        self.tell("every fault ends");
        for server in self.servers.iter() {
            server.lag(false);
            server.link.set(Condition::Up);
            server.link.set_faults(Faults::default());
            if !server.is_running() {
                server.start(&self.shared);
            }
        }
        for agent in &self.agents {
            *agent.loss.lock().unwrap() = 0.0;
        }
    }

    async fn save_policy(&mut self) {
        self.revision += 1;
        self.tell(&format!("revision {} is saved", self.revision));
        let policies: Typed<DeployedPolicy> = Typed::new(Arc::clone(&self.store), &POLICIES);
        let policy = DeployedPolicy {
            policy_id: "web".to_owned(),
            revision_idx: self.revision,
            timestamp: self.shared.clock.now(),
            data: Map::from_iter([("outputs".to_owned(), json!({}))]),
            ..DeployedPolicy::default()
        };
        policies.put("web", &policy, Expect::Any, None, None).await.unwrap();
    }

    async fn ask_agents(&mut self) {
        let ids: Vec<String> =
            self.agents.iter().filter_map(|agent| agent.diary.lock().unwrap().id.clone()).collect();
        let chosen: Vec<String> = ids.into_iter().filter(|_| self.random.random_bool(0.6)).collect();
        let number = self.asked.len();
        let action_id = format!("action-{number}");
        self.tell(&format!("{action_id} is asked of {} agents", chosen.len()));
        let action = Action {
            action_id: action_id.clone(),
            timestamp: self.shared.clock.now(),
            kind: "SETTINGS".to_owned(),
            input_type: String::new(),
            expiration: None,
            start_time: None,
            rollout_duration_seconds: None,
            minimum_execution_duration: None,
            timeout: None,
            agents: Vec::new(),
            target_documents: None,
            total: 0,
            data: None,
            signed: None,
            user_id: None,
            traceparent: None,
            namespaces: Vec::new(),
            secret_references: Vec::new(),
            refused: 0,
            refusals: Vec::new(),
            outcome: None,
            is_automatic: false,
            policy_id: None,
        };
        self.manager.create(&action_id, action, chosen.clone()).await.unwrap();
        self.asked.push((action_id, chosen));
    }

    /// Waits until everything is as it should be.
    async fn settle(&mut self) {
        let began = Instant::now();
        loop {
            self.judge();
            let open = self.open().await;
            if open.is_empty() {
                return;
            }
            if began.elapsed() > SETTLED_WITHIN {
                self.fail(&format!("after {SETTLED_WITHIN:?} still: {}", open.join("; ")));
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// What is not as it should be.
    async fn open(&self) -> Vec<String> {
        let mut open = Vec::new();
        let states: Typed<AgentState> = Typed::new(Arc::clone(&self.store), &AGENT_STATES);
        let states = states.list(Scope::All).await.unwrap().values;
        for agent in &self.agents {
            let diary = agent.diary.lock().unwrap();
            let Some(id) = &diary.id else {
                open.push(format!("{} has not enrolled: {:?}", agent.name, diary.answers));
                continue;
            };
            if diary.running != self.revision {
                open.push(format!("{} runs {} of {}", agent.name, diary.running, self.revision));
            }
            let state = states.iter().find(|state| state.id == *id);
            if state.is_none_or(|state| state.value.policy_revision_idx != self.revision) {
                open.push(format!("{} is not known to run {}", agent.name, self.revision));
            }
            for (action, agents) in &self.asked {
                if agents.contains(id) && !diary.acked.contains(action) {
                    open.push(format!("{} has not done {action}", agent.name));
                }
            }
        }
        open
    }

    /// What must never be.
    fn judge(&self) {
        for agent in &self.agents {
            let diary = agent.diary.lock().unwrap();
            if !diary.wrongs.is_empty() {
                self.fail(&format!("{}: {}", agent.name, diary.wrongs.join("; ")));
            }
            for action in &diary.handed {
                let asked = self.asked.iter().find(|(asked, _)| asked == action);
                let is_its =
                    asked.is_some_and(|(_, agents)| diary.id.as_ref().is_some_and(|id| agents.contains(id)));
                if !is_its {
                    self.fail(&format!("{} was handed {action}, which is not for it", agent.name));
                }
            }
        }
    }

    fn tell(&mut self, what: &str) {
        let at = self.shared.clock.now();
        self.story.push(format!("{at} {what}"));
    }

    fn fail(&self, why: &str) -> ! {
        panic!("world {}: {why}\n{}\nagain with FLEET_SEED={}", self.seed, self.story.join("\n"), self.seed);
    }
}

async fn make_enrolment_key(store: &Arc<dyn Store>, shared: &Shared) -> Arc<str> {
    let key = ApiKey::generate().unwrap();
    let keys: Typed<EnrollmentKey> = Typed::new(Arc::clone(store), &ENROLLMENT_KEYS);
    let context = EnrollmentKey::api_key_context(key.id());
    let document = EnrollmentKey {
        id: key.id().to_owned(),
        name: "world".to_owned(),
        policy_id: "web".to_owned(),
        digest: key.digest(),
        api_key: shared.keyring.seal(context, b"").unwrap(),
        active: true,
        created_at: shared.clock.now(),
        expire_at: None,
        max_uses: None,
        used: 0,
    };
    keys.put(key.id(), &document, Expect::Absent, None, None).await.unwrap();
    Arc::from(key.encode().reveal())
}

/// The key that has the id of `of` and the secret of `secret`.
pub(crate) fn with_secret_of(secret: &str, of: &str) -> String {
    let pair = |key: &str| ApiKey::parse(key).unwrap().pair().reveal().to_owned();
    let (secret, of) = (pair(secret), pair(of));
    let (id, secret) = (of.split_once(':').unwrap().0, secret.split_once(':').unwrap().1);
    ApiKey::parse_pair(&format!("{id}:{secret}")).unwrap().encode().reveal().to_owned()
}
