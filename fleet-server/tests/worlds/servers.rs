//! Servers that can be killed and started, each with a way of its own to the store.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fleet_access::replace_token::{Cost, ReplaceTokens};
use fleet_access::seal::Keyring;
use fleet_access::signer::Signer;
use fleet_access::slow::Workers;
use fleet_policy::files::FileLimits;
use fleet_policy::timestamp::Timestamp;
use fleet_server::agents::{AgentsApi, AgentsHandler, Limits, RouteLimit, Settings, SignerKey, beat};
use fleet_server::clock::RuntimeClock;
use fleet_server::fleet::{ArtifactCache, Bounds, Fleet};
use fleet_server::http::{Body, Handler, Outcome, Request, ResponseBody};
use fleet_service::drain::Drain;
use fleet_simulation::{Client, Link, Memory};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lag::Lagging;

/// When worlds begin.
const BEGIN: i64 = 1_700_000_000;

/// What every server of a world is given.
pub(crate) struct Shared {
    pub(crate) memory: Memory,
    pub(crate) keyring: Keyring,
    pub(crate) signer: Signer,
    pub(crate) clock: RuntimeClock,
}

impl Shared {
    pub(crate) fn clock() -> RuntimeClock {
        RuntimeClock::starting_at(Timestamp::from_unix(BEGIN))
    }
}

struct Running {
    handler: AgentsHandler,
    fleet: Arc<Fleet>,
    tasks: Drain,
    /// Requests that it is answering end with it.
    life: CancellationToken,
}

/// A server, or its place while it is dead.
pub(crate) struct Server {
    pub(crate) link: Link,
    lags: watch::Sender<bool>,
    running: Mutex<Option<Running>>,
}

impl Server {
    pub(crate) fn new(seed: u64) -> Server {
        Server { link: Link::new(seed), lags: watch::Sender::new(false), running: Mutex::default() }
    }

    /// Whether it hears of what others write only later.
    pub(crate) fn lag(&self, lags: bool) {
        self.lags.send_replace(lags);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    pub(crate) fn start(&self, shared: &Shared) {
        let client = Arc::new(Client::new(&shared.memory, &self.link));
        let store = Arc::new(Lagging::new(client, self.lags.subscribe()));
        let clock = Arc::new(shared.clock);
        let bounds = Bounds {
            files: FileLimits { storage: 64 << 20, receiving: 4 },
            artifacts: ArtifactCache { size: 0, keep: Duration::ZERO },
        };
        let fleet = Fleet::new(store, shared.keyring.clone(), shared.signer.clone(), clock, bounds);
        let tasks = Drain::new();
        fleet.start(&tasks);
        let token = tasks.token().clone();
        let beating = beat(Arc::clone(&fleet));
        tasks.spawn("beat", async move { token.run_until_cancelled(beating).await });
        let cost = Cost::new(1000, 14, 16).unwrap();
        let replace_tokens = ReplaceTokens::new(cost, Workers::new(1, 1));
        let api = AgentsApi::new(Arc::clone(&fleet), settings(), replace_tokens, CancellationToken::new());
        let running = Running { handler: AgentsHandler(api), fleet, tasks, life: CancellationToken::new() };
        *self.running.lock().unwrap() = Some(running);
    }

    /// As if its power failed.
    pub(crate) fn kill(&self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.tasks.start();
            running.life.cancel();
        }
    }

    /// Sends a request. `None`: there is no server, or it died before it answered.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Option<(StatusCode, Value)> {
        let (status, body) = self.send_bytes(method, path, key, &[], body.to_string().into()).await?;
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The same with any body, and more headers.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        key: &str,
        more: &[(&'static str, &str)],
        body: Bytes,
    ) -> Option<(StatusCode, Bytes)> {
        let (handler, fleet, life) = {
            let running = self.running.lock().unwrap();
            let running = running.as_ref()?;
            (running.handler.clone(), Arc::clone(&running.fleet), running.life.clone())
        };
        // The program listens only then.
        life.run_until_cancelled(fleet.ready()).await?;
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("ApiKey {key}").parse().unwrap());
        headers.insert("user-agent", "Elastic Agent v9.6.0".parse().unwrap());
        for (name, value) in more {
            headers.insert(*name, value.parse().unwrap());
        }
        let request = Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers,
            peer: None,
            is_encrypted: true,
        };
        let answering = async {
            match handler.handle(request, Body::Whole(body)).await {
                Outcome::Answer(response) => Some(response),
                Outcome::Hold(held) => Some(held.await),
                Outcome::Upgrade(_) => None,
            }
        };
        let response = life.run_until_cancelled(answering).await??;
        let ResponseBody::Pieces(pieces) = response.body else { return None };
        Some((response.status, pieces.concat().into()))
    }
}

fn settings() -> Settings {
    let limit = RouteLimit {
        interval: Duration::ZERO,
        burst: 0,
        max: 0,
        max_body: 1 << 20,
        max_body_decoded: 1 << 20,
    };
    Settings {
        version: "9.6.0".to_owned(),
        long_poll: Duration::from_secs(300),
        // Chance of its own would make two runs of one seed differ.
        jitter: Duration::ZERO,
        max_poll: Duration::from_secs(3600),
        read: Duration::from_secs(60),
        compression_level: 0,
        compression_threshold: 1024,
        ignore_checkin_policy_id: false,
        graceful_force_unenroll: None,
        enable_opamp: true,
        signer_key: SignerKey { dir: PathBuf::new(), upstream_url: String::new() },
        static_tokens: Vec::new(),
        limits: Limits::all(limit),
    }
}
