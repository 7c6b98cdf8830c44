//! The task that decides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fleet_service::drain::Drain;
use fleet_service::error::chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::connection::make_client;
use super::core::{Agent, Context, Ended};
use super::job::JobDone;
use crate::control::Questions;
use crate::fleet::{
    AckEvent, Acker, ConnectionSettings, Delivery, FleetClient, Gateway, LinkState, Outbox, Report,
};
use crate::machine::Machine;
use crate::policy::{Plan, Redactor};
use crate::state::{Identity, Progress, SavedPolicy};
use crate::workload::Rejected;

/// Jobs that wait to be heard.
const JOBS: usize = 32;
/// What nobody says is looked at so often: the connection, an upgrade.
const LOOK: Duration = Duration::from_secs(5);
/// What the machine is, is read again so often.
const READ_MACHINE: u32 = 60;
/// What runs has so long to end when the agent stops.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Where the agent hears from others.
#[derive(Debug)]
struct Ears {
    deliveries: mpsc::Receiver<Delivery>,
    heard: mpsc::Receiver<Vec<AckEvent>>,
    jobs: mpsc::Receiver<JobDone>,
}

impl Agent {
    /// Runs an enrolled agent until it is told to stop, to start again, or to leave its fleet.
    pub async fn run(
        context: Context,
        identity: Identity,
        progress: Progress,
        policy: Option<SavedPolicy>,
        questions: &mut Questions,
        drain: &Drain,
    ) -> Ended {
        let connection = first_connection(&identity, policy.as_ref());
        let token = drain.token().child_token();
        let link = watch::Sender::new(LinkState::default());
        let (delivered, deliveries) = mpsc::channel(1);
        let (told, heard) = mpsc::channel(1);
        let (jobs, jobs_done) = mpsc::channel(JOBS);
        let client = first_client(&connection).await;
        let mut agent = Agent::new(context, identity, progress, (connection, client), link.subscribe(), jobs);
        match policy {
            Some(saved) => agent.resume_policy(saved).await,
            None => agent.begin_with_own_server().await,
        }
        agent.resume_upgrade();
        agent.resume_privileges();
        agent.publish();
        agent.publish_outbox();
        let gateway = Gateway {
            id: agent.identity.id.clone(),
            key: agent.identity.access_api_key.clone(),
            client: agent.client.subscribe(),
            report: agent.report.subscribe(),
            deliveries: delivered,
            link,
        };
        let acker = Acker {
            id: agent.identity.id.clone(),
            key: agent.identity.access_api_key.clone(),
            client: agent.client.subscribe(),
            outbox: agent.outbox.subscribe(),
            heard: told,
        };
        let ready = agent.own_server();
        let stop = token.clone();
        drain.spawn("check-ins", async move {
            stop.run_until_cancelled(ready).await;
            gateway.run(stop).await;
        });
        drain.spawn("acknowledgements", acker.run(token.clone()));
        let ears = Ears { deliveries, heard, jobs: jobs_done };
        let ended = agent.turn(ears, questions, &token).await;
        token.cancel();
        agent.monitoring.end();
        if ended != Ended::Left {
            agent.context.workloads.stop(STOP_MAX).await;
        }
        ended
    }

    fn new(
        mut context: Context,
        identity: Identity,
        progress: Progress,
        (connection, client): (ConnectionSettings, FleetClient),
        link: watch::Receiver<LinkState>,
        jobs: mpsc::Sender<JobDone>,
    ) -> Agent {
        let machine = Machine::read();
        let facts = machine.facts(&identity.id, &context.paths);
        let facts = facts.with_local(&context.local).unwrap_or_else(|error| {
            context.notes.push(chain(&error));
            facts
        });
        Agent {
            facts,
            context,
            progress,
            machine,
            policy: None,
            plan: Plan::default(),
            redactor: Redactor::default(),
            rejected: Rejected::new(),
            disk_trouble: None,
            link_trouble: None,
            refused: None,
            connection,
            before: None,
            client: watch::Sender::new(client),
            report: watch::Sender::new(Arc::new(Report::default())),
            outbox: watch::Sender::new(Outbox::default()),
            link,
            jobs,
            monitoring: crate::monitoring::Monitoring::default(),
            diagnosed: VecDeque::new(),
            attempts: BTreeMap::new(),
            upgrading: None,
            watching: None,
            proving_level: None,
            migrating: None,
            ended: None,
            identity,
        }
    }

    async fn turn(
        &mut self,
        mut ears: Ears,
        questions: &mut Questions,
        token: &tokio_util::sync::CancellationToken,
    ) -> Ended {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = Vec::new();
        let mut link = self.link.clone();
        let mut looks: u32 = 0;
        let workloads = self.context.workloads.clone();
        loop {
            let due = self.next_due();
            tokio::select! {
                biased;
                () = token.cancelled() => return Ended::Stopped,
                Some(question) = questions.recv() => self.answer(question),
                Some(heard) = ears.heard.recv() => self.forget_acks(&heard),
                Some(done) = ears.jobs.recv() => self.job_done(done).await,
                Some(delivery) = ears.deliveries.recv() => self.deliver(delivery).await,
                () = workloads.changed(&mut states) => self.publish(),
                Ok(()) = link.changed() => {
                    self.watch_upgrade();
                    self.watch_privileges();
                }
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    self.begin_due().await;
                    self.publish();
                }
                _ = look.tick() => {
                    looks = looks.wrapping_add(1);
                    self.watch_connection().await;
                    self.watch_upgrade();
                    self.watch_privileges();
                    self.keep_certificate().await;
                    if looks.is_multiple_of(READ_MACHINE) {
                        self.tidy_versions();
                        self.read_machine().await;
                    }
                    self.publish();
                }
            }
            if let Some(ended) = self.ended.take() {
                return ended;
            }
        }
    }

    /// The server has heard of these.
    fn forget_acks(&mut self, heard: &[AckEvent]) {
        self.progress.acks.retain(|ack| !heard.contains(&ack.event));
        self.save_progress();
        self.publish_outbox();
    }

    async fn job_done(&mut self, done: JobDone) {
        match done {
            JobDone::Acted(event) => self.acknowledge(*event),
            JobDone::Upgrade(action, step) => self.upgrade_step(&action, step),
            JobDone::Privileges(action, outcome) => self.privileges_stay(&action, outcome),
            JobDone::Migrated(id, enrolled) => self.migrated(&id, enrolled).await,
        }
        self.publish();
    }
}

/// What the policy says is done without a server, too: a file of the settings that has gone must not stop it.
async fn first_client(connection: &ConnectionSettings) -> FleetClient {
    match make_client(connection.clone()).await {
        Ok(client) => client,
        Err(reason) => {
            tracing::error!(reason, "the settings for the server cannot be used");
            FleetClient::unusable(&reason)
        }
    }
}

/// How the server is reached at first: as the policy that was kept says.
fn first_connection(identity: &Identity, policy: Option<&SavedPolicy>) -> ConnectionSettings {
    let fleet = policy.and_then(|saved| saved.policy.get("fleet")?.as_object());
    let wanted = fleet.and_then(|fleet| identity.connection_by(fleet).ok());
    wanted.unwrap_or_else(|| identity.connection.clone())
}
