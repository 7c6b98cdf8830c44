//! What all parts of a server share: what is known of the store, and the check-ins that are held.

use std::sync::Arc;
use std::time::Duration;

use fleet_access::seal::Keyring;
use fleet_access::signer::Signer;
use fleet_policy::actions::Actions;
use fleet_policy::agents::{Agents, Counts, Presence, Snapshot};
use fleet_policy::artifacts::Artifacts;
use fleet_policy::documents::{AGENT_POLICIES, AgentPolicy};
use fleet_policy::files::{FileLimits, Files};
use fleet_policy::policies::Policies;
use fleet_policy::settings::{Settings, Table};
use fleet_policy::status::Status;
use fleet_policy::timestamp::Timestamp;
use fleet_service::drain::Drain;
use fleet_store::Store;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::deployment::Turns;
use crate::engines::Engines;
use crate::engines::keys::OutputKeys;
use crate::enrollment::EnrollmentKeys;
use crate::events::Happenings;
use crate::integrations::Integrations;
use crate::jobs::Jobs;
use crate::packages::Packages;
use crate::secrets::PolicySecrets;
use crate::sessions::Sessions;

/// The collections that must have been read before anybody is served.
const FOLLOWED: usize = 10 + Settings::COLLECTIONS + Packages::COLLECTIONS + Engines::COLLECTIONS;

/// What of artifacts is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct ArtifactCache {
    /// Bytes of all of them.
    pub size: usize,
    /// For how long.
    pub keep: Duration,
}

/// How much there may be of what is large.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Files.
    pub files: FileLimits,
    /// Artifacts in memory.
    pub artifacts: ArtifactCache,
}

/// What statuses depend on, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    fleet: &'a Fleet,
    now: Timestamp,
}

impl Presence for Moment<'_> {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn inactivity_timeout(&self, policy_id: &str) -> Duration {
        self.fleet.policies.inactivity_timeout(policy_id)
    }

    fn is_held(&self, agent_id: &str) -> bool {
        self.fleet.sessions.is_held(agent_id)
    }

    fn held(&self) -> Vec<Arc<str>> {
        self.fleet.sessions.agents()
    }
}

/// The server's view of the world.
#[derive(Debug)]
pub struct Fleet {
    /// Where everything lies.
    pub store: Arc<dyn Store>,
    /// What secrets are sealed with.
    pub keyring: Keyring,
    /// What signs for agents.
    pub signer: Signer,
    /// The agents.
    pub agents: Agents,
    /// The policies.
    pub policies: Policies,
    /// The actions.
    pub actions: Actions,
    /// The artifacts that agents fetch.
    pub artifacts: Artifacts,
    /// The files that agents upload or are to get.
    pub files: Files,
    /// The agent policies as people edit them.
    pub agent_policies: Table<AgentPolicy>,
    /// Integrations as people set them up.
    pub integrations: Integrations,
    /// The integration packages.
    pub packages: Packages,
    /// The engines that outputs name.
    pub engines: Engines,
    /// The keys of agents for these engines.
    pub output_keys: OutputKeys,
    /// The enrolment keys.
    pub enrollment: EnrollmentKeys,
    /// The secrets of policies.
    pub secrets: PolicySecrets,
    /// Outputs, hosts, proxies and the like.
    pub settings: Settings,
    /// What happens, and who is told of it.
    pub happenings: Happenings,
    /// The check-ins that are held here.
    pub sessions: Arc<Sessions>,
    /// What goes on after it was answered that it does.
    pub jobs: Jobs,
    /// Whose turn it is to take the next number of a policy.
    pub turns: Turns,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// How many collections have been read.
    read: watch::Sender<usize>,
}

impl Fleet {
    /// A view of `store` that knows nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        keyring: Keyring,
        signer: Signer,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Arc<Fleet> {
        let sessions = Arc::new(Sessions::default());
        let secrets = PolicySecrets::new(&store, keyring.clone());
        let (agents, policies, actions) =
            (Arc::clone(&sessions), Arc::clone(&sessions), Arc::clone(&sessions));
        Arc::new(Fleet {
            agents: Agents::new(&store, Box::new(move |id| agents.wake(id))),
            policies: Policies::new(
                &store,
                Box::new(secrets.clone()),
                Box::new(move |id| policies.wake_policy(id)),
            ),
            actions: Actions::new(&store, Box::new(move |action| actions.wake_all(&action.agents)))
                .with_secrets(Box::new(secrets.clone())),
            artifacts: Artifacts::new(&store, bounds.artifacts.size, bounds.artifacts.keep),
            files: Files::new(&store, bounds.files),
            agent_policies: Table::new(&store, &AGENT_POLICIES),
            integrations: Integrations::new(&store),
            packages: Packages::new(&store),
            engines: Engines::new(&store),
            output_keys: OutputKeys::new(&store),
            enrollment: EnrollmentKeys::new(&store),
            secrets,
            settings: Settings::new(&store),
            happenings: Happenings::new(&store, keyring.clone()),
            sessions,
            jobs: Jobs::default(),
            turns: Turns::default(),
            clock,
            store,
            keyring,
            signer,
            read: watch::Sender::new(0),
        })
    }

    /// Follows the store and gives turns, as tasks of `drain`.
    pub fn start(self: &Arc<Fleet>, drain: &Drain) {
        let token = drain.token();
        macro_rules! run {
            ($name:literal, |$fleet:ident| $task:expr) => {{
                let $fleet = Arc::clone(self);
                let token = token.clone();
                drain.spawn($name, async move {
                    let _ = token.run_until_cancelled($task).await;
                });
            }};
        }
        run!("agents", |fleet| fleet.agents.follow_agents(|| fleet.has_read()));
        run!("agent-states", |fleet| fleet.agents.follow_states(|| fleet.has_read()));
        run!("policies", |fleet| fleet.policies.follow(|| fleet.has_read()));
        run!("actions", |fleet| fleet.actions.follow(|| fleet.has_read()));
        run!("enrollment-keys", |fleet| fleet.enrollment.follow(|| fleet.has_read()));
        run!("agent-policies", |fleet| fleet.agent_policies.follow(|| fleet.has_read()));
        run!("integrations", |fleet| fleet.integrations.rows.follow(|| fleet.has_read()));
        run!("events", |fleet| fleet.happenings.log.follow(|| fleet.has_read()));
        run!("webhooks", |fleet| fleet.happenings.webhooks.follow(|| fleet.has_read()));
        run!("settings", |fleet| fleet.settings.follow(|| fleet.has_read()));
        drain.spawn("jobs", {
            let (fleet, token) = (Arc::clone(self), token.clone());
            async move {
                token.cancelled().await;
                fleet.jobs.end().await;
            }
        });
        run!("packages", |fleet| fleet.packages.follow(|| fleet.has_read()));
        run!("engines", |fleet| fleet.engines.follow(|| fleet.has_read()));
        run!("output-keys", |fleet| fleet.output_keys.follow(|| fleet.has_read()));
        run!("turns", |fleet| fleet.sessions.give_turns());
    }

    fn has_read(&self) {
        self.read.send_modify(|read| *read += 1);
    }

    /// Whether everything has been read once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.read.borrow() >= FOLLOWED
    }

    /// What statuses depend on now.
    #[must_use]
    pub fn moment(&self) -> Moment<'_> {
        Moment { fleet: self, now: self.clock.now() }
    }

    /// How an agent is now.
    #[must_use]
    pub fn status_of(&self, agent: &Snapshot) -> Status {
        self.agents.status_of(agent, &self.moment())
    }

    /// How many agents are how.
    #[must_use]
    pub fn count_by_status(&self) -> Counts {
        self.agents.count(None, &self.moment())
    }

    /// Waits until everything has been read once.
    pub async fn ready(&self) {
        let mut read = self.read.subscribe();
        // The sender lives as long as this.
        let _ = read.wait_for(|read| *read >= FOLLOWED).await;
    }
}
