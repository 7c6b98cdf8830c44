//! The store of the server that is measured: its own database, or a real etcd beside it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_policy::documents::{AGENT_DETAILS, AGENT_STATES, AGENTS, Agent, AgentDetails, AgentState};
use fleet_policy::timestamp::Timestamp;
use fleet_store::embedded::Embedded;
use fleet_store::etcd::{Etcd as EtcdStore, Options};
use fleet_store::{Expect, Typed, Write};
use rusqlite::{Connection, OpenFlags};
use tokio::process::{Child, Command};

use super::arguments::StoreKind;
use super::server::free_port;
use crate::client::Client;
use crate::error::BenchError;
use crate::etcd::Etcd;
use crate::process::Process;
use crate::wait::{Look, until};

/// Documents that are written in one call.
const BATCH: usize = 1000;
/// What every key begins with.
const PREFIX: &str = "/fleet/";

/// A store that is there for one run.
pub(crate) enum Store {
    Embedded(PathBuf),
    Etcd { child: Child, endpoint: String },
}

impl Store {
    /// Makes an empty one whose files lie in `folder`.
    pub(crate) async fn start(kind: StoreKind, folder: &Path) -> Result<Store, BenchError> {
        match kind {
            StoreKind::Embedded => Ok(Store::Embedded(folder.join("store.db"))),
            StoreKind::Etcd => etcd(folder).await,
        }
    }

    /// The options of the server that name it.
    pub(crate) fn options(&self) -> Vec<String> {
        match self {
            Store::Embedded(path) => vec![format!("store.path={}", path.display())],
            Store::Etcd { endpoint, .. } => vec![
                "store.type=etcd".to_owned(),
                format!("store.etcd.endpoints.0={endpoint}"),
                format!("store.etcd.key_prefix={PREFIX}"),
            ],
        }
    }

    /// How many times it was written to, ever.
    pub(crate) async fn writes(&self) -> Result<f64, BenchError> {
        match self {
            Store::Embedded(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let database = Connection::open_with_flags(path, flags);
                let query = "SELECT value FROM state WHERE name = 'revision'";
                let revision = database
                    .and_then(|database| database.query_row(query, [], |row| row.get::<_, i64>(0)))
                    .map_err(|error| BenchError::Wrong(format!("{}: {error}", path.display())))?;
                // Far below 2^53.
                Ok(revision as f64)
            }
            Store::Etcd { endpoint, .. } => Ok(Etcd::at(endpoint).counters().await?.puts),
        }
    }

    /// The process of the store, where it has one.
    pub(crate) fn process(&self) -> Option<Process> {
        match self {
            Store::Embedded(_) => None,
            Store::Etcd { child, .. } => child.id().map(Process::new),
        }
    }

    /// The store itself. No server may run.
    pub(crate) fn open(&self) -> Result<Arc<dyn fleet_store::Store>, BenchError> {
        let fault = |error: fleet_store::Error| BenchError::Wrong(error.to_string());
        Ok(match self {
            Store::Embedded(path) => Arc::new(Embedded::open(path).map_err(fault)?),
            Store::Etcd { endpoint, .. } => {
                let options = Options {
                    endpoints: vec![endpoint.clone()],
                    key_prefix: PREFIX.to_owned(),
                    request_timeout: Duration::from_secs(10),
                    ..Options::default()
                };
                Arc::new(EtcdStore::connect(options).map_err(fault)?)
            }
        })
    }

    /// Stores `count` more agents: copies of `template` with ids, keys and names of their own. No server may run.
    pub(crate) async fn seed(&self, template: &str, count: usize) -> Result<(), BenchError> {
        let fault = |error: fleet_store::Error| BenchError::Wrong(error.to_string());
        let store = self.open()?;
        let agents = Typed::<Agent>::new(Arc::clone(&store), &AGENTS);
        let states = Typed::<AgentState>::new(Arc::clone(&store), &AGENT_STATES);
        let details = Typed::<AgentDetails>::new(Arc::clone(&store), &AGENT_DETAILS);
        let missing = || BenchError::Wrong(format!("agent {template} is not whole in the store"));
        let agent = agents.get(template).await.map_err(fault)?.ok_or_else(missing)?.value;
        let mut state = states.get(template).await.map_err(fault)?.ok_or_else(missing)?.value;
        let detail = details.get(template).await.map_err(fault)?.ok_or_else(missing)?.value;
        state.last_checkin = Some(Timestamp::of(SystemTime::now()));
        let numbers: Vec<usize> = (0..count).collect();
        for numbers in numbers.chunks(BATCH) {
            let mut writes: [Vec<Write>; 3] = Default::default();
            for number in numbers {
                let id = format!("5eed0000-0000-4000-8000-{number:012}");
                let mut agent = agent.clone();
                agent.access_api_key_id = format!("seed{number:016}").into();
                agent.host.hostname = format!("stored-{number:06}").into();
                writes[0].push(agents.encode(&id, &agent, Expect::Absent, None).map_err(fault)?);
                writes[1].push(states.encode(&id, &state, Expect::Absent, None).map_err(fault)?);
                writes[2].push(details.encode(&id, &detail, Expect::Absent, None).map_err(fault)?);
            }
            let [first, second, third] = writes;
            let (a, b, c) = tokio::join!(
                agents.write_many(first, None),
                states.write_many(second, None),
                details.write_many(third, None)
            );
            for answer in a.into_iter().chain(b).chain(c) {
                answer.map_err(|error| BenchError::Wrong(format!("an agent cannot be stored: {error}")))?;
            }
        }
        Ok(())
    }
}

async fn etcd(folder: &Path) -> Result<Store, BenchError> {
    let (client, peer) = (free_port()?, free_port()?);
    let (endpoint, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let child = Command::new("etcd")
        .args(["--data-dir", &folder.join("etcd").display().to_string(), "--log-level", "error"])
        .args(["--quota-backend-bytes", "8589934592"])
        .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(BenchError::file("run", "etcd"))?;
    until("etcd answers", Duration::from_secs(30), Duration::from_millis(50), async || {
        match Client::new(&endpoint).send("GET", "/health", None).await {
            Ok(reply) if reply.status == 200 => Ok(Look::Found(())),
            Ok(reply) => Ok(Look::NotYet(format!("status {}", reply.status))),
            Err(error) => Ok(Look::NotYet(error.to_string())),
        }
    })
    .await?;
    Ok(Store::Etcd { child, endpoint })
}
