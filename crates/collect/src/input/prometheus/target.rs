//! One target: asked, and its answer read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_service::named_file::{self, NamedFileError};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::document::{Document, Documents};
use super::history::History;
use super::parse::{Unread, parse};
use super::settings::Form;
use crate::batch::{Batch, DocumentId};
use crate::clock;
use crate::input::Context;
use crate::outlet::Closed;

/// A batch is handed over when it has so many events.
const BATCH_EVENTS: usize = 1000;

/// The text format, which has the names that dashboards know, before `OpenMetrics`.
const FORMATS: HeaderValue = HeaderValue::from_static(
    "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1",
);

/// No token is longer.
const LARGEST_TOKEN: u64 = 64 << 10;

/// What all targets of a stream have in common.
#[derive(Debug)]
pub(super) struct Scraping {
    pub(super) client: Client,
    pub(super) headers: HeaderMap,
    pub(super) login: Option<(String, String)>,
    pub(super) token_file: Option<String>,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) most: usize,
    pub(super) form: Form,
    /// So many answers are held in memory at once.
    pub(super) turns: Arc<Semaphore>,
}

/// Why a target told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Down {
    /// No answer.
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It takes too long.
    #[error("it does not answer within {0:?}")]
    Slow(Duration),
    /// It says no.
    #[error("it answers {0}")]
    Status(http::StatusCode),
    /// It says too much.
    #[error("it answers with more than {0} bytes: raise body_size_limit, or let it tell less")]
    TooLarge(usize),
    /// The token cannot be read.
    #[error("bearer_token_file")]
    Token(#[source] NamedFileError),
    /// Reading it broke down.
    #[error("bearer_token_file cannot be read")]
    Broken(#[source] tokio::task::JoinError),
}

/// A target and what it told last.
#[derive(Debug)]
pub(super) struct Target {
    url: Url,
    usual: Map<String, Value>,
    history: History,
}

impl Target {
    pub(super) fn new(url: Url) -> Target {
        let host = url.host_str().unwrap_or_default();
        let instance =
            url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let usual = json!({"instance": instance, "job": "prometheus"});
        let usual = usual.as_object().cloned().unwrap_or_default();
        Target { url, usual, history: History::default() }
    }

    /// The address, without what may be secret in it.
    pub(super) fn name(&self) -> String {
        let mut url = self.url.clone();
        // Fails for addresses that cannot have any.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        url.into()
    }

    /// Scrapes it once, and hands over what it told. The result is what an operator should know.
    ///
    /// # Errors
    /// The collector stops.
    pub(super) async fn scrape(
        &mut self,
        context: &Context,
        scraping: &Scraping,
    ) -> Result<Option<String>, Closed> {
        // One answer at a time in memory, or a few: they can be large.
        let turn = scraping.turns.acquire().await.map_err(|_| Closed)?;
        let (timestamp, began) = (clock::now(), std::time::Instant::now());
        let fetched = tokio::time::timeout(scraping.timeout, self.fetch(scraping)).await;
        let fetched = fetched.unwrap_or(Err(Down::Slow(scraping.timeout)));
        let duration = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut out = Out {
            context,
            batch: context.batch(),
            common: common(scraping, &self.name(), duration),
            timestamp,
            types: scraping.form.types,
        };
        let problem = match fetched {
            Err(down) => {
                let reason = fleet_service::error::chain(&down);
                out.push(Document::up(&scraping.form, &self.usual, false), Some(&reason)).await?;
                Some(reason)
            }
            Ok((text, open_metrics)) => {
                context.stream().counters().bytes_read.add(text.len() as u64);
                let (documents, unread) = self.documents(&text, open_metrics, &scraping.form);
                drop(text);
                out.push(Document::up(&scraping.form, &self.usual, true), None).await?;
                for document in documents {
                    out.push(document, None).await?;
                }
                unread.first.map(|(line, problem)| {
                    format!("{} lines cannot be read, the first is line {line}: {problem}", unread.lines)
                })
            }
        };
        out.flush().await?;
        drop(turn);
        Ok(problem)
    }

    pub(super) fn documents(
        &mut self,
        text: &str,
        open_metrics: bool,
        form: &Form,
    ) -> (Vec<Document>, Unread) {
        let mut documents = Documents::new(form, &mut self.history, &self.usual);
        let unread = parse(text, open_metrics, |sample| documents.add(sample));
        let documents = documents.finish().collect();
        self.history.turn();
        (documents, unread)
    }

    /// The text, and whether it is of OpenMetrics.
    async fn fetch(&self, scraping: &Scraping) -> Result<(String, bool), Down> {
        let mut request = scraping.client.get(self.url.clone()).header(ACCEPT, FORMATS);
        if let Some((name, password)) = &scraping.login {
            request = request.basic_auth(name, Some(password));
        }
        if let Some(path) = &scraping.token_file {
            let path = path.clone();
            let token =
                tokio::task::spawn_blocking(move || named_file::read(Path::new(&path), LARGEST_TOKEN));
            let token = token.await.map_err(Down::Broken)?.map_err(Down::Token)?;
            request = request.bearer_auth(String::from_utf8_lossy(token.trim_ascii()));
        }
        let unreachable = |error: reqwest::Error| Down::Unreachable(error.without_url());
        let mut answer = request.headers(scraping.headers.clone()).send().await.map_err(unreachable)?;
        if !answer.status().is_success() {
            return Err(Down::Status(answer.status()));
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let open_metrics = kind.is_some_and(|kind| kind.starts_with("application/openmetrics-text"));
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > scraping.most {
                return Err(Down::TooLarge(scraping.most));
            }
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes);
        Ok((
            text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            open_metrics,
        ))
    }
}

/// What all documents of a scrape have.
fn common(scraping: &Scraping, address: &str, duration: u64) -> Map<String, Value> {
    let period = u64::try_from(scraping.period.as_millis()).unwrap_or(u64::MAX);
    let fields = json!({
        "event": {"module": "prometheus", "duration": duration},
        "metricset": {"name": "collector", "period": period},
        "service": {"type": "prometheus", "address": address},
    });
    fields.as_object().cloned().unwrap_or_default()
}

/// Where documents go.
struct Out<'a> {
    context: &'a Context,
    batch: Batch,
    common: Map<String, Value>,
    timestamp: String,
    types: bool,
}

impl Out<'_> {
    async fn push(&mut self, document: Document, error: Option<&str>) -> Result<(), Closed> {
        let mut event = self.context.stream().event();
        let timestamp = document.timestamp.clone();
        event.set("@timestamp", timestamp.unwrap_or_else(|| self.timestamp.clone()));
        event.merge(self.common.clone());
        event.set("prometheus", document.into_value(self.types));
        if let Some(error) = error {
            event.set("error", json!({ "message": error }));
        }
        self.context.stream().push(&mut self.batch, event, DocumentId::Any);
        if self.batch.len() >= BATCH_EVENTS {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        let full = std::mem::replace(&mut self.batch, self.context.batch());
        self.context.send(full).await
    }
}
