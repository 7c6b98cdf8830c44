//! A worker: takes batches, sends them, and does not let go of them until each event is settled.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::bulk::{self, Outcome, Place, Refusal};
use super::dead_letter;
use super::hosts::{Choice, Hosts, delay};
use super::settings::Settings;
use crate::batch::Batch;
use crate::output::Context;

/// The longest answer. One item of a bad answer has some hundred bytes, a request 20 000 items at most.
const MOST_ANSWER: usize = 32 << 20;

/// Refusals that an operator has to mend are tried again with this pause and longer ones.
const SLOW: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    settings: Arc<Settings>,
    client: reqwest::Client,
    hosts: Arc<Hosts>,
    context: Context,
    /// Something went wrong since the output was reported healthy.
    trouble: bool,
}

/// Batches on their way.
struct Request {
    batches: Vec<Arc<Batch>>,
    /// Events of each that have not been settled.
    left: Vec<usize>,
    pending: Vec<Pending>,
}

#[derive(Clone, Copy)]
struct Pending {
    place: Place,
    /// The batch that is settled by it: for a dead letter, that of the original.
    owner: usize,
    dead: bool,
}

/// How an attempt went.
enum Attempt {
    /// The engine answered for each event.
    Answered(Option<Vec<Outcome>>),
    /// It could not take the request as a whole; later perhaps.
    Failed(String),
    /// It cannot take this request, but perhaps a smaller one.
    TooMuch(Refusal),
}

impl Worker {
    pub(super) fn new(
        settings: Arc<Settings>,
        client: reqwest::Client,
        hosts: Arc<Hosts>,
        context: Context,
    ) -> Worker {
        Worker { settings, client, hosts, context, trouble: false }
    }

    pub(super) async fn run(mut self) {
        let stop = self.context.stop.clone();
        let outlet = Arc::clone(&self.context.outlet);
        loop {
            let limits = self.settings.limits;
            let batches = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                batches = outlet.take(&limits) => batches,
            };
            let mut request = Request::new(batches);
            let stopped = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = self.deliver(&mut request) => false,
            };
            if stopped {
                // Whoever takes over sends these again; what the engine has by then, it refuses as known.
                outlet.put_back(request.unsettled());
                return;
            }
        }
    }

    /// Sends until every event is settled.
    async fn deliver(&mut self, request: &mut Request) {
        let mut most = usize::MAX;
        let mut attempts = 0;
        while !request.pending.is_empty() {
            let (host, url) = match self.hosts.choose() {
                Choice::Ask(host, url) => (host, url),
                Choice::Wait(until) => {
                    tokio::time::sleep_until(until).await;
                    continue;
                }
            };
            let count = request.pending.len().min(most);
            let places: Vec<Place> = request.pending[..count].iter().map(|pending| pending.place).collect();
            if attempts > 0 {
                self.context.counters.events_retried.add(count as u64);
            }
            attempts += 1;
            match self.send(url.clone(), &request.batches, places).await {
                Attempt::Answered(outcomes) => {
                    self.hosts.succeeded(host);
                    let refused = request.apply(count, outcomes, &self.context);
                    self.after(refused, attempts).await;
                    most = most.saturating_mul(2);
                }
                Attempt::Failed(reason) => {
                    self.context.counters.requests_failed.add(1);
                    self.hosts.failed(host);
                    self.report(&reason);
                }
                Attempt::TooMuch(_) if count > 1 => most = count / 2,
                Attempt::TooMuch(refusal) => {
                    let refused = request.apply(1, Some(vec![Outcome::Refused(refusal)]), &self.context);
                    self.after(refused, attempts).await;
                }
            }
        }
        if std::mem::take(&mut self.trouble) {
            self.context.healthy(&self.message());
        }
    }

    /// Pauses when events were refused for now.
    async fn after(&mut self, refused: Refused, attempts: u32) {
        if let Some((index, refusal)) = refused.dead {
            self.trouble = true;
            tracing::warn!(
                index,
                status = refusal.status,
                kind = refusal.kind,
                reason = refusal.reason,
                "the engine refused an event for good; it is in the dead-letter stream"
            );
        }
        if let Some((index, refusal)) = refused.forbidden {
            self.trouble = true;
            self.context.degraded(forbidden(&index, &refusal));
            tokio::time::sleep(delay((SLOW.min(self.settings.backoff.1), self.settings.backoff.1), attempts))
                .await;
        } else if let Some(refusal) = refused.later {
            self.trouble = true;
            let Refusal { status, kind, reason } = refusal;
            self.context.degraded(format!(
                "the engine refuses events for now, they are sent again: {status} {kind}: {reason}"
            ));
            tokio::time::sleep(delay(self.settings.backoff, attempts.saturating_sub(1))).await;
        }
    }

    fn report(&mut self, reason: &str) {
        self.trouble = true;
        match self.hosts.resting() {
            (all, resting) if resting < all => {
                self.context.degraded(format!("{resting} of {all} hosts do not take events: {reason}"));
            }
            (1, _) => self.context.degraded(format!("{reason}; events wait")),
            (all, _) => {
                self.context.degraded(format!("none of {all} hosts takes events: {reason}; events wait"));
            }
        }
    }

    fn message(&self) -> String {
        let counters = &self.context.counters;
        match (counters.events_dead_lettered.get(), counters.events_lost.get()) {
            (0, 0) => "connected".to_owned(),
            (dead, 0) => format!(
                "connected; {dead} events were refused for good: see logs-elastic_agent.dead_letter-*"
            ),
            (dead, lost) => format!(
                "connected; {dead} events were refused for good: see logs-elastic_agent.dead_letter-*; {lost} could not be kept there: see the agent's log"
            ),
        }
    }

    async fn send(&self, url: reqwest::Url, batches: &[Arc<Batch>], places: Vec<Place>) -> Attempt {
        let level = self.settings.compression;
        let held = batches.to_vec();
        let body = tokio::task::spawn_blocking(move || bulk::body(&held, &places, level)).await;
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Attempt::Failed(format!("a request cannot be made: {error}")),
            Err(error) => return Attempt::Failed(format!("a request cannot be made: {error}")),
        };
        let counters = &self.context.counters;
        counters.requests.add(1);
        counters.bytes_sent.add(body.len() as u64);
        let place = address(&url);
        let mut post = self.client.post(url).header(CONTENT_TYPE, "application/json").body(Bytes::from(body));
        if level > 0 {
            post = post.header(CONTENT_ENCODING, "gzip");
        }
        let answer = match post.send().await {
            Ok(answer) => answer,
            Err(error) => {
                return Attempt::Failed(format!(
                    "{place} cannot be reached: {}",
                    chain(&error.without_url())
                ));
            }
        };
        let status = answer.status();
        let text = match read(answer).await {
            Ok(text) => text,
            Err(reason) => return Attempt::Failed(format!("the answer of {place} cannot be read: {reason}")),
        };
        if status == StatusCode::OK {
            return match bulk::outcomes(&text) {
                Ok(outcomes) => Attempt::Answered(outcomes),
                Err(error) => {
                    Attempt::Failed(format!("{place} answers what no engine does: {error}: is it one?"))
                }
            };
        }
        refused(status, &place, &text)
    }
}

fn refused(status: StatusCode, place: &str, text: &[u8]) -> Attempt {
    let excerpt: String = String::from_utf8_lossy(text).chars().take(300).collect();
    match status.as_u16() {
        400 | 413 | 422 => Attempt::TooMuch(Refusal {
            status: status.as_u16(),
            kind: "request_refused".to_owned(),
            reason: excerpt,
        }),
        401 => Attempt::Failed(format!(
            "{place} does not accept the credentials (401): check api_key, or username and password: {excerpt}"
        )),
        403 => Attempt::Failed(format!(
            "{place} does not allow it (403): the credentials need the privileges auto_configure and create_doc on the data streams: {excerpt}"
        )),
        404 => {
            Attempt::Failed(format!("{place} has no _bulk there (404): check the path in hosts: {excerpt}"))
        }
        429 => Attempt::Failed(format!("{place} is busy (429)")),
        code => Attempt::Failed(format!("{place} answers {code}: {excerpt}")),
    }
}

fn forbidden(index: &str, refusal: &Refusal) -> String {
    let Refusal { status, reason, .. } = refusal;
    match status {
        404 => format!(
            "the engine has no {index} and makes none (404): install its index template: {reason}; events wait"
        ),
        _ => format!(
            "the engine does not allow writing to {index} ({status}): the credentials need the privileges auto_configure and create_doc on it: {reason}; events wait"
        ),
    }
}

/// What an attempt left behind, one of each kind for the message.
#[derive(Default)]
struct Refused {
    later: Option<Refusal>,
    forbidden: Option<(String, Refusal)>,
    dead: Option<(String, Refusal)>,
}

impl Request {
    fn new(batches: Vec<Arc<Batch>>) -> Request {
        let left = batches.iter().map(|batch| batch.len()).collect();
        let pending = batches
            .iter()
            .enumerate()
            .flat_map(|(batch, content)| {
                (0..content.len()).map(move |item| Pending {
                    place: Place { batch, item },
                    owner: batch,
                    dead: false,
                })
            })
            .collect();
        Request { batches, left, pending }
    }

    /// Settles what the first `count` pending events came to; those that are to be sent again stay, behind the rest.
    fn apply(&mut self, count: usize, outcomes: Option<Vec<Outcome>>, context: &Context) -> Refused {
        let mut refused = Refused::default();
        let sent: Vec<Pending> = self.pending.drain(..count).collect();
        let mut dead: Vec<(Pending, Refusal)> = Vec::new();
        let outcomes = outcomes.unwrap_or_else(|| vec![Outcome::Done; count]);
        // An answer that is too short leaves events without one: they are sent again.
        let missing =
            || Outcome::Later(Refusal { reason: "the answer lacks it".to_owned(), ..Refusal::default() });
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(missing));
        for (pending, outcome) in sent.into_iter().zip(outcomes) {
            let index = || self.batches[pending.place.batch].destination(pending.place.item).to_owned();
            match outcome {
                Outcome::Done | Outcome::Duplicate => {
                    if outcome == Outcome::Duplicate {
                        context.counters.events_duplicate.add(1);
                    }
                    if pending.dead {
                        context.counters.events_dead_lettered.add(1);
                    } else {
                        context.counters.events_acknowledged.add(1);
                    }
                    self.done(pending.owner);
                }
                Outcome::Later(refusal) => {
                    self.pending.push(pending);
                    refused.later = Some(refusal);
                }
                Outcome::Forbidden(refusal) if !pending.dead => {
                    refused.forbidden = Some((index(), refusal));
                    self.pending.push(pending);
                }
                Outcome::Refused(refusal) if !pending.dead => {
                    refused.dead = Some((index(), refusal.clone()));
                    dead.push((pending, refusal));
                }
                Outcome::Forbidden(refusal) | Outcome::Refused(refusal) => {
                    context.counters.events_lost.add(1);
                    tracing::error!(
                        index = index(),
                        status = refusal.status,
                        reason = refusal.reason,
                        "an event that was refused for good cannot be kept in the dead-letter stream either, and is dropped"
                    );
                    self.done(pending.owner);
                }
            }
        }
        self.bury(&dead);
        refused
    }

    /// Puts dead letters in place of what was refused for good.
    fn bury(&mut self, dead: &[(Pending, Refusal)]) {
        let refused: Vec<(&Batch, usize, &Refusal)> = dead
            .iter()
            .map(|(pending, refusal)| (&*self.batches[pending.place.batch], pending.place.item, refusal))
            .collect();
        let Some(letters) = dead_letter::batch(&refused) else { return };
        let batch = self.batches.len();
        self.batches.push(Arc::new(letters));
        self.left.push(0);
        let pending = dead.iter().enumerate().map(|(item, (original, _))| Pending {
            place: Place { batch, item },
            owner: original.owner,
            dead: true,
        });
        self.pending.extend(pending);
    }

    fn done(&mut self, batch: usize) {
        self.left[batch] = self.left[batch].saturating_sub(1);
        if self.left[batch] == 0 {
            self.batches[batch].settle();
        }
    }

    /// The batches that have not been settled.
    fn unsettled(self) -> Vec<Arc<Batch>> {
        self.batches
            .into_iter()
            .zip(self.left)
            .filter(|(_, left)| *left > 0)
            .map(|(batch, _)| batch)
            .collect()
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if text.len() + chunk.len() > MOST_ANSWER {
            return Err(format!("it is longer than {MOST_ANSWER} bytes"));
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// The host, without a password that may stand in its address.
fn address(url: &reqwest::Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
