//! Events as they come, as server-sent events (HTML Living Standard, 9.2).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fleet_policy::events::{EventId, Filter};
use fleet_policy::timestamp::Timestamp;
use futures_util::stream;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Wanted, bad_id, may_know};
use crate::fleet::Fleet;
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::input::Params;

/// Something is sent at least this often, so that proxies keep the connection and the client knows that it lives.
const BEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is left: it comes back, and goes on where it was.
const SLOW: Duration = Duration::from_secs(60);
/// A stream ends after this long, and the client comes back: with the rights that it has then.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The client comes back after so many milliseconds.
const RETRY: u32 = 2000;
/// Events that are read at a time.
const READ: usize = 100;
/// Parts of the stream that wait for a slow client, each of at most [`READ`] events.
const WAITING: usize = 2;

/// Where a stream goes on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in super::super) struct Resume {
    /// The id of the last event that is known, if the header `Last-Event-ID` cannot be sent.
    after: Option<String>,
}

/// `GET /api/fleet/events`
pub(in super::super) async fn stream(
    State(management): State<Management>,
    caller: Caller,
    headers: HeaderMap,
    Params(wanted): Params<Wanted>,
    Params(resume): Params<Resume>,
) -> Result<Response, ApiError> {
    let filter = wanted.filter()?;
    let last = match headers.get("last-event-id") {
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            Some(text.parse::<EventId>().map_err(|error| bad_id("header.last-event-id", error))?)
        }
        None => {
            let after = resume.after.as_deref().map(str::parse::<EventId>).transpose();
            after.map_err(|error| bad_id("query.after", error))?
        }
    };
    let slot = management.fleet.happenings.stream().ok_or(ApiError::Busy)?;
    let (sender, parts) = mpsc::channel(WAITING);
    let source = Source {
        fleet: Arc::clone(&management.fleet),
        caller,
        filter,
        sender,
        drain: management.health.drain.clone(),
        _slot: slot,
    };
    tokio::spawn(source.run(last));
    let parts = stream::unfold(parts, |mut parts| async move {
        let part: String = parts.recv().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(part.into()), parts))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    // Proxies of the kind of nginx would hold events back.
    Ok((headers, [("x-accel-buffering", "no")], Body::from_stream(parts)).into_response())
}

/// What makes the parts of one stream. It holds no event: a slow client is behind in the log, not in memory.
struct Source {
    fleet: Arc<Fleet>,
    caller: Caller,
    filter: Filter,
    sender: mpsc::Sender<String>,
    drain: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Source {
    /// Until the client goes or is too slow, the server stops, or the stream is old.
    async fn run(self, last: Option<EventId>) {
        let ending = self.drain.clone();
        let sending = timeout(LONGEST, self.send_all(last));
        let _ = ending.run_until_cancelled(sending).await;
    }

    async fn send_all(self, last: Option<EventId>) {
        let log = &self.fleet.happenings.log;
        let mut news = log.subscribe();
        let mut begin = format!("retry: {RETRY}\n\n");
        if let Some(last) = last
            && !log.contains(last)
            && Some(last) < log.newest()
        {
            // What came after it may have been removed too.
            let _ = write!(begin, "event: gap\ndata: {}\n\n", json!({"after": last}));
        }
        let mut cursor = last.or_else(|| log.newest()).unwrap_or(EventId::before(Timestamp::default()));
        let mut sent = Instant::now();
        if !self.send(begin).await {
            return;
        }
        loop {
            news.mark_unchanged();
            let Ok(found) = log.after(cursor, READ).await else {
                // The store is away, and what is asked for is no longer in memory. The client comes back.
                return;
            };
            let mut part = String::new();
            for event in &found.events {
                if self.filter.holds(event) && may_know(&self.caller, event) {
                    let kind = event.kind.as_str();
                    let _ = write!(part, "id: {}\nevent: {kind}\ndata: {}\n\n", event.id, json!(event));
                }
            }
            let is_waiting = found.reached.is_none();
            cursor = found.reached.unwrap_or(cursor);
            if part.is_empty() && sent.elapsed() >= BEAT {
                part = ":\n\n".to_owned();
            }
            if !part.is_empty() {
                if !self.send(part).await {
                    return;
                }
                sent = Instant::now();
            }
            if is_waiting {
                tokio::select! {
                    _ = timeout(BEAT.saturating_sub(sent.elapsed()), news.changed()) => {}
                    () = self.sender.closed() => return,
                }
            }
        }
    }

    /// Whether the client took it in time.
    async fn send(&self, part: String) -> bool {
        matches!(timeout(SLOW, self.sender.send(part)).await, Ok(Ok(())))
    }
}
