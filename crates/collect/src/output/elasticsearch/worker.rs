//! A worker: takes batches, sends them, and does not let go of them until each event is settled.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_service::error::chain;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::body::{self, Events, Plain};
use super::bulk::{self, Outcome, Place, Refusal};
use super::hosts::{Choice, Hosts, delay};
use super::keep::Keep;
use super::report::Report;
use super::request::{Lacking, Pending, Refused, Request};
use super::settings::Settings;
use super::streams::{self, Streams};
use crate::batch::Batch;
use crate::outlet::Closed;
use crate::output::Context;

/// The longest answer. One item of a bad answer has some hundred bytes, a request 20 000 items at most.
const MOST_ANSWER: usize = 32 << 20;

/// Refusals that an operator has to mend are tried again with this pause and longer ones.
const SLOW: Duration = Duration::from_secs(5);

/// A request without an answer for so long is told: engines answer within a second as a rule, and the time after which
/// a request is given up is much longer, so as not to repeat work that the engine is still doing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first pause for a data stream that is not there: a server may just be about to install its template.
const NOT_YET: Duration = Duration::from_millis(300);

pub(super) struct Worker {
    settings: Arc<Settings>,
    client: reqwest::Client,
    hosts: Arc<Hosts>,
    streams: Arc<Streams>,
    report: Arc<Report>,
    keep: Keep,
    context: Context,
    /// Something went wrong since the output was reported healthy.
    trouble: bool,
    /// It has only what an operator has to make room for; nothing else waits behind it.
    is_aside: bool,
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
        streams: Arc<Streams>,
        report: Arc<Report>,
        context: Context,
    ) -> Worker {
        let keep = report.keep().clone();
        Worker { settings, client, hosts, streams, report, keep, context, trouble: false, is_aside: false }
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
            if self.deliver_or_put_back(Request::new(batches)).await.is_err() {
                return;
            }
        }
    }

    /// `Err`: the output is to stop. Whoever takes over sends again what is left; what the engine has by then, it
    /// refuses as known.
    async fn deliver_or_put_back(&mut self, mut request: Request) -> Result<(), Closed> {
        let stop = self.context.stop.clone();
        let stopped = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            () = self.deliver(&mut request) => false,
        };
        if stopped {
            self.context.outlet.put_back(request.unsettled());
            return Err(Closed);
        }
        Ok(())
    }

    /// Goes on with some batches of a request apart from the others, which would have to wait behind them.
    fn set_aside(&self, request: &mut Request, owners: &BTreeSet<usize>) {
        let part = request.take(owners);
        let mut worker = Worker {
            settings: Arc::clone(&self.settings),
            client: self.client.clone(),
            hosts: Arc::clone(&self.hosts),
            streams: Arc::clone(&self.streams),
            report: Arc::clone(&self.report),
            keep: self.keep.clone(),
            context: self.context.clone(),
            trouble: true,
            is_aside: true,
        };
        // What it holds counts as memory of the output until it is settled: that bounds how many there are.
        self.context.tasks.spawn(async move {
            let _ = worker.deliver_or_put_back(part).await;
        });
    }

    /// Which batches are for data streams that are not there, and why. `Err`: the engine does not tell.
    async fn lacking(&self, url: &reqwest::Url, request: &Request) -> Result<Lacking, String> {
        let mut lacking = Lacking::default();
        let mut asked: HashMap<&str, bool> = HashMap::new();
        let mut last: Option<(&str, bool)> = None;
        for pending in &request.pending {
            let name = request.batches[pending.place.batch].destination(pending.place.item);
            // Most events go where the one before them goes.
            let known = last.filter(|(last, _)| *last == name).map(|(_, is_there)| is_there);
            let is_there = match known.or_else(|| asked.get(name).copied()) {
                Some(is_there) => is_there,
                None => {
                    let refusal = self.streams.lacking(&self.client, url, name).await?;
                    let is_there = refusal.is_none();
                    if let Some(refusal) = refusal {
                        let first = if pending.dead { &mut lacking.unwelcome } else { &mut lacking.first };
                        first.get_or_insert((name.to_owned(), refusal));
                    }
                    asked.insert(name, is_there);
                    is_there
                }
            };
            last = Some((name, is_there));
            match (is_there, pending.dead) {
                (true, _) => {}
                (false, true) => drop(lacking.of_letters.insert(name.to_owned())),
                (false, false) => drop(lacking.owners.insert(pending.owner)),
            }
        }
        Ok(lacking)
    }

    /// Waits for an answer; one that takes long is told before it comes, or is given up. Says whether it was.
    async fn patiently<T>(&self, url: &reqwest::Url, answer: impl Future<Output = T>) -> (T, bool) {
        tokio::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await {
            return (answer, false);
        }
        let message = format!("{} has not answered for {PATIENCE:?}; events wait", address(url));
        self.report.trouble(message);
        (answer.await, true)
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
            let lacking = self.lacking(&url, request);
            let (lacking, slow) = self.patiently(&url, lacking).await;
            self.trouble |= slow;
            match lacking {
                Ok(Lacking { of_letters, unwelcome, .. }) if !of_letters.is_empty() => {
                    // What an engine refused for good does not hold up the rest until somebody makes a template.
                    let letters = request.letters_for(&of_letters);
                    self.keep(request, &letters, unwelcome).await;
                    continue;
                }
                Ok(Lacking { owners, .. }) if owners.is_empty() => {}
                Ok(Lacking { owners, .. }) if !self.is_aside => {
                    self.set_aside(request, &owners);
                    continue;
                }
                Ok(Lacking { first, .. }) => {
                    attempts += 1;
                    self.wait_for_mending(first, NOT_YET, attempts).await;
                    continue;
                }
                Err(reason) => {
                    self.failed(host, &format!("{}: {reason}", address(&url)));
                    continue;
                }
            }
            let count = request.pending.len().min(most);
            let places: Vec<Place> = request.pending[..count].iter().map(|pending| pending.place).collect();
            if attempts > 0 {
                self.context.counters.events_retried.add(count as u64);
            }
            attempts += 1;
            let sending = self.send(url.clone(), &request.batches, places);
            let (attempt, slow) = self.patiently(&url, sending).await;
            self.trouble |= slow;
            match attempt {
                Attempt::Answered(outcomes) => {
                    self.hosts.succeeded(host);
                    self.settle(request, count, outcomes, attempts).await;
                    most = most.saturating_mul(2);
                }
                Attempt::Failed(reason) => self.failed(host, &reason),
                Attempt::TooMuch(_) if count > 1 => most = count / 2,
                Attempt::TooMuch(refusal) => {
                    let refused = request.apply(1, Some(vec![Outcome::Refused(refusal)]), &self.context);
                    self.after(refused, attempts).await;
                }
            }
        }
        self.report.settled(std::mem::take(&mut self.trouble), request.dead_lettered);
    }

    /// A request came to nothing: another host is asked, or the same one later.
    fn failed(&mut self, host: usize, reason: &str) {
        self.context.counters.requests_failed.add(1);
        self.hosts.failed(host);
        self.failing(reason);
    }

    /// Does for the first `count` events what the engine says of each.
    async fn settle(
        &mut self,
        request: &mut Request,
        count: usize,
        outcomes: Option<Vec<Outcome>>,
        attempts: u32,
    ) {
        let mut refused = request.apply(count, outcomes, &self.context);
        let letters = std::mem::take(&mut refused.homeless);
        self.keep(request, &letters, refused.unwelcome.take()).await;
        let owners = std::mem::take(&mut refused.owners);
        if !self.is_aside && !owners.is_empty() {
            refused.forbidden = None;
            self.set_aside(request, &owners);
        }
        self.after(refused, attempts).await;
    }

    /// Puts dead letters that the engine refused, too, where they can be seen.
    async fn keep(&mut self, request: &mut Request, letters: &[Pending], why: Option<(String, Refusal)>) {
        let Some((index, refusal)) = why else { return };
        self.trouble = true;
        let count = letters.len() as u64;
        let Refusal { status, kind, reason } = refusal;
        let path = self.keep.path().display();
        let losses = &self.context.outlet.losses;
        match self.keep.write(request.lines(letters)).await {
            Ok(()) => {
                self.context.counters.events_kept.add(count);
                losses.keep(count);
                tracing::warn!(events = count, index, status, kind, reason, %path, "the engine refused dead letters; they are kept in a file");
            }
            Err(error) => {
                self.context.counters.events_lost.add(count);
                losses.lose(count);
                tracing::error!(events = count, index, status, kind, reason, %path, %error, "the engine refused dead letters, which cannot be kept in a file either: they are lost");
            }
        }
        request.give_up(letters);
    }

    /// Tells what was refused, in a line of the log for each request, and pauses for what was refused for now.
    async fn after(&mut self, refused: Refused, attempts: u32) {
        if let Some((index, refusal)) = refused.dead {
            self.trouble = true;
            tracing::warn!(
                events = refused.dead_count,
                index,
                status = refusal.status,
                kind = refusal.kind,
                reason = refusal.reason,
                "the engine refused events for good; they are sent to the dead-letter stream"
            );
        }
        if refused.forbidden.is_some() {
            self.wait_for_mending(refused.forbidden, SLOW, attempts).await;
        } else if let Some(refusal) = refused.later {
            self.trouble = true;
            let Refusal { status, kind, reason } = refusal;
            let why = match status {
                0 => UNANSWERED.to_owned(),
                _ => format!(
                    "the engine refuses events for now, they are sent again: {status} {kind}: {reason}"
                ),
            };
            self.report.trouble(why);
            tokio::time::sleep(delay(self.settings.backoff, attempts.saturating_sub(1))).await;
        }
    }

    /// Says what an operator has to mend, and waits for it.
    async fn wait_for_mending(&mut self, what: Option<(String, Refusal)>, pause: Duration, attempts: u32) {
        let Some((index, refusal)) = what else { return };
        self.trouble = true;
        self.report.trouble(forbidden(&index, &refusal));
        let longest = self.settings.backoff.1;
        tokio::time::sleep(delay((pause.min(longest), longest), attempts)).await;
    }

    fn failing(&mut self, reason: &str) {
        self.trouble = true;
        match self.hosts.resting() {
            (all, resting) if resting < all => {
                self.report.trouble(format!("{resting} of {all} hosts do not take events: {reason}"));
            }
            (1, _) => self.report.trouble(format!("{reason}; events wait")),
            (all, _) => {
                self.report.trouble(format!("none of {all} hosts takes events: {reason}; events wait"));
            }
        }
    }

    async fn send(&self, url: reqwest::Url, batches: &[Arc<Batch>], places: Vec<Place>) -> Attempt {
        let counters = &self.context.counters;
        let place = address(&url);
        let events = Events::new(batches.to_vec(), places);
        let mut post = self.client.post(url).header(CONTENT_TYPE, "application/json");
        match self.settings.compression {
            0 => {
                let body = Plain::new(events);
                counters.bytes_sent.add(body.len());
                post = post.body(reqwest::Body::wrap(body));
            }
            level => {
                let body = match tokio::task::spawn_blocking(move || body::packed(events, level)).await {
                    Ok(Ok(body)) => body,
                    Ok(Err(error)) => return Attempt::Failed(format!("a request cannot be made: {error}")),
                    Err(error) => return Attempt::Failed(format!("a request cannot be made: {error}")),
                };
                counters.bytes_sent.add(body.len() as u64);
                post = post.header(CONTENT_ENCODING, "gzip").body(Bytes::from(body));
            }
        }
        counters.requests.add(1);
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
    let excerpt = streams::reason(text);
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

/// What is told when an answer says nothing of some events.
const UNANSWERED: &str = "the engine's answer says nothing of some events, they are sent again: is there something \
    on the way that changes requests or answers?";

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

pub(super) async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
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
