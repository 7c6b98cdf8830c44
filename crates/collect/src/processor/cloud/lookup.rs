//! In which cloud the machine is: asked once for each way of asking, of all clouds at the same time.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::provider::{Provider, Service};

/// A way of asking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Way {
    /// `host:port`
    pub(super) address: String,
    /// From the one that goes before others on.
    pub(super) providers: Vec<Provider>,
    /// How long all of it may take.
    pub(super) within: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(in super::super) struct Lookup {
    way: Way,
    answer: OnceCell<Option<Value>>,
}

impl Lookup {
    pub(in super::super) fn new(way: Way) -> Lookup {
        Lookup { way, answer: OnceCell::new() }
    }

    /// `None`: not known yet; `Some(None)`: in none of them.
    pub(super) fn answer(&self) -> Option<Option<&Value>> {
        self.answer.get().map(Option::as_ref)
    }

    /// Asks, unless it is known.
    pub(super) async fn ask(&self) {
        self.answer
            .get_or_init(async || {
                let found = detect(&self.way).await;
                match &found {
                    Some(cloud) => {
                        tracing::info!(provider = %cloud["provider"], "this machine is in a cloud");
                    }
                    None => tracing::debug!(address = self.way.address, "no cloud answers"),
                }
                found
            })
            .await;
    }
}

async fn detect(way: &Way) -> Option<Value> {
    let deadline = Instant::now() + way.within;
    let service = Service { address: way.address.clone() };
    let ask = async |index: usize, provider: Provider| (index, provider.ask(&service).await);
    let mut running: FuturesUnordered<_> =
        way.providers.iter().enumerate().map(|(index, provider)| ask(index, *provider)).collect();
    // None: no answer yet.
    let mut answers: Vec<Option<Option<Value>>> = vec![None; way.providers.len()];
    while let Ok(Some((index, answer))) = timeout_at(deadline, running.next()).await {
        if let Some(place) = answers.get_mut(index) {
            *place = Some(answer);
        }
        // It is decided by the first that does not say no.
        if let Some(Some(answer)) = answers.iter().find(|answer| !matches!(answer, Some(None))) {
            return answer.clone();
        }
    }
    answers.into_iter().flatten().flatten().next()
}
