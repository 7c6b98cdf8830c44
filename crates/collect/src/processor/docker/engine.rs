//! The engine of containers: asked what there is, and listened to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::containers::{Containers, Listed};
use crate::processor::process::container::is_id;
use crate::processor::web::{self, Answer, AskError};

/// The answer to a question comes within this.
const ANSWER: Duration = Duration::from_secs(10);

/// No list is longer.
const LONGEST_LIST: usize = 16 << 20;

/// No event is longer.
const LONGEST_EVENT: usize = 1 << 20;

/// An engine that cannot be asked is tried again after this, and after twice as long each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Containers that are gone are looked for so often.
const SWEEP: Duration = Duration::from_secs(30);

/// What is of interest. What a container does inside of itself is not: there may be much of it.
const EVENTS: [&str; 5] = ["create", "start", "rename", "update", "destroy"];

/// Why an engine cannot be asked.
#[derive(Debug, thiserror::Error)]
enum EngineError {
    /// Nobody is there, or access is refused.
    #[error("{} cannot be connected to", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It takes too long.
    #[error("it does not answer within {} s", ANSWER.as_secs())]
    Slow,
    /// It says no.
    #[error("it answers {0}")]
    Refused(StatusCode),
    /// It says something else than was asked for.
    #[error("its answer is not understood")]
    Strange(#[source] serde_json::Error),
    /// An event has no end.
    #[error("an event is longer than {LONGEST_EVENT} bytes")]
    LongEvent,
    /// It has ended.
    #[error("it has ended the connection")]
    Ended,
}

/// Which engine, and how its containers are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Source {
    pub(super) socket: PathBuf,
    pub(super) dedot: bool,
    pub(super) kept: Duration,
}

/// An engine of containers, for as long as somebody has it.
#[derive(Debug)]
pub(in super::super) struct Engine {
    state: Arc<State>,
    /// Not there when it was looked for last.
    absent: AtomicBool,
    task: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State {
    socket: PathBuf,
    containers: RwLock<Containers>,
    /// Whether it has told what there is.
    loaded: watch::Sender<bool>,
}

impl Engine {
    pub(in super::super) fn new(source: &Source) -> Engine {
        let containers = RwLock::new(Containers::new(source.dedot, source.kept));
        let loaded = watch::Sender::new(false);
        let state = State { socket: source.socket.clone(), containers, loaded };
        Engine { state: Arc::new(state), absent: AtomicBool::new(false), task: OnceLock::new() }
    }

    /// Begins to follow the engine, if there is one, and waits until it has told what there is.
    pub(super) async fn prepare(&self) {
        if self.task.get().is_none() && !self.state.socket.exists() {
            if !self.absent.swap(true, Ordering::Relaxed) {
                let socket = self.state.socket.display();
                tracing::info!(%socket, "there is no engine of containers: nothing is added of them");
            }
            return;
        }
        self.absent.store(false, Ordering::Relaxed);
        let mut loaded = self.state.loaded.subscribe();
        self.task.get_or_init(|| {
            let state = Arc::clone(&self.state);
            AbortOnDropHandle::new(tokio::spawn(async move { state.keep_following().await }))
        });
        // It ends with an error only when the engine is dropped, and then nobody waits.
        let _ = loaded.wait_for(|loaded| *loaded).await;
    }

    /// Whether there is none.
    pub(super) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    pub(super) fn containers(&self) -> RwLockReadGuard<'_, Containers> {
        self.state.containers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    async fn keep_following(&self) {
        let mut wait = RETRY.0;
        let mut is_told = false;
        loop {
            let began = tokio::time::Instant::now();
            let Err(error) = self.follow().await;
            // Whoever waits for what there is goes on without.
            self.loaded.send_replace(true);
            if began.elapsed() > RETRY.1 {
                (wait, is_told) = (RETRY.0, false);
            }
            let (socket, error) = (self.socket.display(), fleet_service::error::chain(&error));
            if is_told {
                tracing::debug!(%socket, error, "the engine of containers cannot be followed");
            } else {
                tracing::info!(%socket, error, "the engine of containers cannot be followed, and is tried again");
            }
            is_told = true;
            sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// Asks what there is, and then hears what changes.
    async fn follow(&self) -> Result<std::convert::Infallible, EngineError> {
        let filters = json!({"type": ["container"], "event": EVENTS});
        // Before the list is asked for: nothing is missed in between.
        let mut events = Lines::new(self.ask(&format!("/events?filters={}", encoded(&filters))).await?);
        let listed = self.list("/containers/json?all=1").await?;
        self.change(|containers| containers.replace(listed, Instant::now()));
        self.loaded.send_replace(true);
        tracing::debug!(socket = %self.socket.display(), "the engine of containers is followed");
        loop {
            match timeout(SWEEP, events.next()).await {
                Ok(line) => self.hear(&line?).await?,
                Err(_) => self.change(|containers| containers.sweep(Instant::now())),
            }
        }
    }

    async fn hear(&self, line: &[u8]) -> Result<(), EngineError> {
        let event: Event = serde_json::from_slice(line).map_err(EngineError::Strange)?;
        let id = event.actor.id;
        // Plugins and networks have names in this place.
        if !is_id(&id) {
            return Ok(());
        }
        if event.action == "destroy" {
            self.change(|containers| {
                containers.remove(&id, Instant::now());
                containers.sweep(Instant::now());
            });
            return Ok(());
        }
        let filters = encoded(&json!({"id": [id]}));
        let listed = self.list(&format!("/containers/json?all=1&filters={filters}")).await?;
        self.change(|containers| containers.add(listed));
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Containers)) {
        change(&mut self.containers.write().unwrap_or_else(PoisonError::into_inner));
    }

    async fn ask(&self, path: &str) -> Result<Answer, EngineError> {
        let ask = async {
            let stream = UnixStream::connect(&self.socket).await;
            let stream =
                stream.map_err(|source| EngineError::Connect { path: self.socket.clone(), source })?;
            let answer = web::ask(stream, Method::GET, path, ("localhost", HeaderMap::new())).await?;
            if answer.status.is_success() { Ok(answer) } else { Err(EngineError::Refused(answer.status)) }
        };
        timeout(ANSWER, ask).await.map_err(|_| EngineError::Slow)?
    }

    async fn list(&self, path: &str) -> Result<Vec<Listed>, EngineError> {
        let answer = self.ask(path).await?;
        let body = timeout(ANSWER, answer.bytes(LONGEST_LIST)).await.map_err(|_| EngineError::Slow)??;
        serde_json::from_slice(&body).map_err(EngineError::Strange)
    }
}

/// What the engine tells of a change.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    action: String,
    actor: Actor,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

/// A value of the query.
fn encoded(value: &Value) -> String {
    utf8_percent_encode(&value.to_string(), NON_ALPHANUMERIC).to_string()
}

/// The lines of an answer that has no end.
struct Lines {
    answer: Answer,
    /// What has come, and how much of it was looked through.
    buffer: BytesMut,
    searched: usize,
}

impl Lines {
    fn new(answer: Answer) -> Lines {
        Lines { answer, buffer: BytesMut::new(), searched: 0 }
    }

    fn body(&mut self) -> &mut Incoming {
        &mut self.answer.body
    }

    /// The next line that is not empty. Nothing is lost when nobody waits for it to the end.
    async fn next(&mut self) -> Result<BytesMut, EngineError> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| self.searched + end) {
                // The rest stays where it is: there may be many short lines in what has come at once.
                let line = self.buffer.split_to(end + 1);
                self.searched = 0;
                if !line.trim_ascii().is_empty() {
                    return Ok(line);
                }
                continue;
            }
            self.searched = self.buffer.len();
            let frame = self.body().frame().await.ok_or(EngineError::Ended)?;
            let frame = frame.map_err(AskError::Connection)?;
            self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if self.buffer.len() > LONGEST_EVENT {
                return Err(EngineError::LongEvent);
            }
        }
    }
}

/// The path of an address such as `unix:///var/run/docker.sock`.
pub(super) fn socket(address: &str) -> Option<PathBuf> {
    let path = Path::new(address.strip_prefix("unix://").unwrap_or(address));
    path.is_absolute().then(|| path.to_owned())
}
