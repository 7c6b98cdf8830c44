//! Data streams are there before the first event.
//!
//! Elasticsearch has templates of its own for `logs-*-*` and its like, and makes the data stream of a name with the
//! first document. OpenSearch has none: unless a template is there, it makes a plain index of that name, which stands
//! in the way of the data stream for ever. So there, a data stream is asked for, and made, before anything is written
//! to it; and when the engine has no template for it, its events wait for one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fleet_service::error::chain;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use super::bulk::Refusal;
use super::worker::read;

/// More names than this are forgotten, and asked for again.
const MOST_KNOWN: usize = 10_000;
/// The longest reason of an engine that is told, in characters.
const LONGEST_REASON: usize = 300;

/// What is known of an engine, shared by its workers.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// `None`: nobody has asked yet.
    makes_plain_indices: Option<bool>,
    there: HashSet<String>,
}

impl Streams {
    /// Why nothing may be written to `name` yet; `None`: it may. `bulk` is the address of the engine's `_bulk`.
    ///
    /// # Errors
    /// The engine does not answer; in words.
    pub(super) async fn lacking(
        &self,
        client: &reqwest::Client,
        bulk: &Url,
        name: &str,
    ) -> Result<Option<Refusal>, String> {
        let known = self.lock().makes_plain_indices;
        let makes_plain_indices = match known {
            Some(known) => known,
            None => {
                let found = is_opensearch(client, bulk).await?;
                self.lock().makes_plain_indices = Some(found);
                found
            }
        };
        if !makes_plain_indices || self.lock().there.contains(name) {
            return Ok(None);
        }
        let refusal = make(client, bulk, name).await?;
        if refusal.is_none() {
            let mut known = self.lock();
            if known.there.len() >= MOST_KNOWN {
                known.there.clear();
            }
            known.there.insert(name.to_owned());
        }
        Ok(refusal)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the engine says that it is an OpenSearch. One that does not tell who it is, is none.
async fn is_opensearch(client: &reqwest::Client, bulk: &Url) -> Result<bool, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct About {
        version: Version,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Version {
        distribution: String,
    }
    let (status, text) = ask(client, Method::GET, beside(bulk, "")).await?;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(format!("the engine answers {status}"));
    }
    let about: About = serde_json::from_slice(&text).unwrap_or_default();
    Ok(about.version.distribution == "opensearch")
}

/// Makes a data stream that is not there. What the login may not ask, is left to the write itself.
async fn make(client: &reqwest::Client, bulk: &Url, name: &str) -> Result<Option<Refusal>, String> {
    let address = beside(bulk, &format!("_data_stream/{name}"));
    let (status, _) = ask(client, Method::GET, address.clone()).await?;
    match status.as_u16() {
        404 => {}
        429 | 500.. => return Err(format!("the engine answers {status}")),
        _ => return Ok(None),
    }
    let (status, text) = ask(client, Method::PUT, address).await?;
    match status.as_u16() {
        400 if !mentions(&text, "resource_already_exists") => {
            Ok(Some(Refusal { status: 404, kind: "no_template".to_owned(), reason: reason(&text) }))
        }
        429 | 500.. => Err(format!("the engine answers {status}")),
        _ => Ok(None),
    }
}

/// What the engine says is wrong, or the beginning of its answer when it says it in another way.
pub(super) fn reason(text: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let told = answer.pointer("/error/reason").and_then(serde_json::Value::as_str);
    let told = told.map_or_else(|| String::from_utf8_lossy(text), Into::into);
    told.chars().take(LONGEST_REASON).collect()
}

fn mentions(text: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(text).contains(word)
}

async fn ask(client: &reqwest::Client, method: Method, url: Url) -> Result<(StatusCode, Vec<u8>), String> {
    let unreachable = |error: reqwest::Error| format!("cannot be reached: {}", chain(&error.without_url()));
    let answer = client.request(method, url).send().await.map_err(unreachable)?;
    let status = answer.status();
    Ok((status, read(answer).await?))
}

/// The address of something beside `_bulk`.
fn beside(bulk: &Url, path: &str) -> Url {
    let mut url = bulk.clone();
    let base = url.path().trim_end_matches("_bulk").to_owned();
    url.set_path(&format!("{base}{path}"));
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_quoted_with_its_reason_alone() {
        let answer = br#"{"error":{"root_cause":[{"type":"t","reason":"no template"}],"type":"t","reason":"no template"},"status":400}"#;
        assert_eq!(reason(answer), "no template");
        assert_eq!(reason(b"<html>bad gateway"), "<html>bad gateway");
        assert_eq!(reason("x".repeat(1000).as_bytes()).len(), LONGEST_REASON);
    }
}
