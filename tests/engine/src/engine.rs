//! OpenSearch for tests.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::error::EngineError;
use crate::keeper::{Wish, keep};

/// A running OpenSearch without security. It is a [`Client`] of itself.
#[derive(Debug)]
pub struct Engine {
    client: Client,
    wishes: mpsc::Sender<Wish>,
}

impl Engine {
    /// The engine that all tests of this test binary share; the first who asks starts it, the others wait. Tests
    /// keep apart by the names of their indices, data streams and namespaces.
    ///
    /// It blocks its thread meanwhile: some 10 s, with the downloads half a minute, 3 minutes after these at most.
    ///
    /// # Panics
    /// When it does not start; with the reason and the end of its log.
    #[expect(
        clippy::panic,
        reason = "it is the harness of tests, and without its engine none of them can go on"
    )]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Engine, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let (sender, receiver) = sync_channel(1);
            let (wishes, inbox) = mpsc::channel(1);
            keep(inbox, move |outcome| drop(sender.send(outcome)));
            let outcome = receiver.recv().unwrap_or(Err(EngineError::Gone));
            let url = outcome.map_err(|error| error.chain())?;
            Ok(Self { client: Client::new(url, None, None), wishes })
        });
        match shared {
            Ok(engine) => engine,
            Err(reason) => panic!("no engine: {reason}"),
        }
    }

    /// An engine of one's own, with data of its own; it ends when this is dropped. For tests that kill it.
    ///
    /// # Errors
    /// When it cannot be downloaded or does not start.
    pub async fn start() -> Result<Self, EngineError> {
        let (sender, receiver) = oneshot::channel();
        let (wishes, inbox) = mpsc::channel(1);
        keep(inbox, move |outcome| drop(sender.send(outcome)));
        let url = receiver.await.map_err(|_| EngineError::Gone)??;
        Ok(Self { client: Client::new(url, None, None), wishes })
    }

    /// Kills it with SIGKILL, as a power cut would; its data stay.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&self) -> Result<(), EngineError> {
        self.ask(Wish::Kill).await
    }

    /// Kills it if it runs, starts it with the same data at the same address, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve within 3 minutes.
    pub async fn restart(&self) -> Result<(), EngineError> {
        self.ask(Wish::Restart).await
    }

    async fn ask(
        &self,
        wish: impl FnOnce(oneshot::Sender<Result<(), EngineError>>) -> Wish,
    ) -> Result<(), EngineError> {
        let (sender, receiver) = oneshot::channel();
        self.wishes.send(wish(sender)).await.map_err(|_| EngineError::Gone)?;
        receiver.await.map_err(|_| EngineError::Gone)?
    }
}

impl Deref for Engine {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
