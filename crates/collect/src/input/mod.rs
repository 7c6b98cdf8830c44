//! Inputs: where events come from.
//!
//! The table `DEFINITIONS` names each kind of input with the function that builds one from a stream's settings.

pub mod file;
pub(crate) mod journald;
pub(crate) mod net;
mod otlp;
mod own;
mod prometheus;
mod system;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use file::Notifier;
pub(crate) use otlp::Hub;
pub(crate) use system::Machine;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::config::{Config, Mistake};
use crate::link::Link;
use crate::outlet::Closed;
use crate::plan::Settings;
use crate::processor::Chain;
use crate::registry::Positions;
use crate::state::{Board, State, Status};
use crate::stream::{DataStream, OwnFields, Parts, Stream};

/// All kinds of inputs.
pub(crate) const DEFINITIONS: &[&Definition] = &[
    &file::DEFINITION,
    &journald::DEFINITION,
    &net::DEFINITION,
    &net::SYSLOG,
    &otlp::DEFINITION,
    &own::DEFINITION,
    &prometheus::DEFINITION,
    &system::DEFINITION,
];

/// The definition of a policy's input `type`.
pub(crate) fn definition(kind: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.kinds.contains(&kind)).copied()
}

/// A kind of input.
#[derive(Debug)]
pub struct Definition {
    /// The `type`s in policies that mean it.
    pub kinds: &'static [&'static str],
    /// The type of its data streams, unless the policy names one: `logs` or `metrics`.
    pub signal: &'static str,
    /// Builds the input of one stream. Quick, and without side effects: files and sockets are opened by
    /// [`Input::run`], so that what is wrong with them is tried again and reported.
    pub build: fn(&mut Builder<'_>) -> Result<Box<dyn Input>, Mistake>,
}

/// An input of one stream.
#[async_trait]
pub trait Input: Send {
    /// Collects until [`Context::stop`] is cancelled, and then returns soon: events that have not been handed over
    /// by then are read again after the next start, or were the sender's to keep.
    ///
    /// # Errors
    /// Why it cannot go on, in words for an operator: the stream is *Failed* with them, and this is called again
    /// later, with back-off.
    async fn run(&mut self, context: &Context) -> Result<(), String>;
}

/// What an input is built from.
pub struct Builder<'a> {
    /// The stream's settings, those of its input beneath them. Each key that is read is known; the others are
    /// reported, not refused.
    pub config: &'a Config,
    /// The `type` of the policy.
    pub kind: &'a str,
    pub(crate) input: &'a str,
    pub(crate) id: &'a str,
    pub(crate) signal: &'static str,
    pub(crate) settings: &'a Settings,
    pub(crate) host_name: &'a str,
    pub(crate) machine: &'a Arc<Machine>,
    pub(crate) hub: &'a Arc<Hub>,
    pub(crate) notifier: &'a Arc<Notifier>,
    pub(crate) chain: Option<Chain>,
    pub(crate) counters: crate::metrics::Counters,
    pub(crate) stream: Option<Arc<Stream>>,
}

impl Builder<'_> {
    /// Builds the stream, once; an input calls it with the fields that it will give its events.
    ///
    /// # Errors
    /// Settings that all streams have are wrong.
    pub fn stream(&mut self, own: OwnFields) -> Result<Arc<Stream>, Mistake> {
        let stream = Stream::build(Parts {
            input: self.input,
            id: self.id,
            kind: self.kind,
            config: self.config,
            data_stream: DataStream::read(self.config, self.signal)?,
            agent: &self.settings.agent,
            host_name: self.host_name,
            chain: self.chain.take().unwrap_or_default(),
            own,
            counters: self.counters.clone(),
        })?;
        let stream = Arc::new(stream);
        self.stream = Some(Arc::clone(&stream));
        Ok(stream)
    }
}

/// An input that is to stop still gets this long to bring to the disk what it has taken: its sender may think that it
/// was delivered.
const STORE_GRACE: Duration = Duration::from_secs(3);

/// What a running input has to do with.
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) stream: Arc<Stream>,
    pub(crate) link: Arc<Link>,
    pub(crate) positions: Positions,
    pub(crate) board: Board,
    pub(crate) note: String,
    /// Cancelled when the input is to stop.
    pub stop: CancellationToken,
}

impl Context {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// An empty batch of this stream.
    #[must_use]
    pub fn batch(&self) -> Batch {
        self.link.outlet().batch(Arc::clone(&self.stream))
    }

    /// Hands a batch over, and waits while the output has no room: do not read on meanwhile. The batch's ticket is
    /// settled when the output has acknowledged all of it.
    ///
    /// # Errors
    /// The collector stops.
    pub async fn send(&self, batch: Batch) -> Result<(), Closed> {
        tokio::select! {
            biased;
            sent = self.link.outlet().send(batch) => sent,
            () = self.stop.cancelled() => Err(Closed),
        }
    }

    /// Hands over a batch that could not be read again: comes back when it is safe on the disk, so that its sender can
    /// be told. Waits while the queue on disk has no room, or the disk is in trouble.
    ///
    /// # Errors
    /// The collector stops, and the batch may not be safe: do not tell the sender that it is.
    pub async fn store(&self, batch: Batch) -> Result<(), Closed> {
        if batch.is_empty() {
            batch.settle();
            return Ok(());
        }
        tokio::select! {
            biased;
            stored = self.link.store(&batch) => stored,
            () = self.stopped_for(STORE_GRACE) => Err(Closed),
        }
    }

    async fn stopped_for(&self, grace: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(grace).await;
    }

    /// Where this stream's positions are kept.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// All is well.
    pub fn healthy(&self, message: impl Into<String>) {
        let mut message = message.into();
        if !self.note.is_empty() {
            message = format!("{message}; {}", self.note);
        }
        self.report(State::Healthy, message);
    }

    /// All is well; the payload tells machines more, such as the address that is listened on.
    pub fn healthy_with(&self, message: impl Into<String>, payload: Map<String, Value>) {
        let mut status = Status::new(State::Healthy, message);
        if !self.note.is_empty() {
            status.message = format!("{}; {}", status.message, self.note);
        }
        status.payload = payload;
        self.board.stream(self.stream.input(), self.stream.id(), status);
    }

    /// It works, but not as it should.
    pub fn degraded(&self, message: impl Into<String>) {
        self.report(State::Degraded, message);
    }

    /// It does not work.
    pub(crate) fn failed(&self, message: String) {
        self.report(State::Failed, message);
    }

    fn report(&self, state: State, message: impl Into<String>) {
        self.board.stream(self.stream.input(), self.stream.id(), Status::new(state, message));
    }

    /// Waits, or until the input is to stop; says whether it is.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stop.cancelled()).await.is_ok()
    }
}
