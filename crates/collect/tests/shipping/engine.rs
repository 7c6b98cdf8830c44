//! An HTTP server that speaks `_bulk`, and fails as it is told.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What is done with one document: a status, and the type of the error if there is one.
pub(crate) type Rule = Box<dyn Fn(&Value) -> (u16, &'static str) + Send + Sync>;

/// How the engine answers.
pub(crate) enum Mood {
    /// Takes everything.
    Well,
    /// Answers every request so.
    Status(u16),
    /// Takes each document or not.
    Each(Rule),
    /// Takes requests, and never answers.
    Silent,
}

#[derive(Clone)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    mood: Mutex<Mood>,
    /// Index, id → document.
    documents: Mutex<BTreeMap<(String, String), Value>>,
    /// Documents in each request.
    requests: watch::Sender<Vec<usize>>,
}

impl Engine {
    pub(crate) async fn start() -> Engine {
        let shared = Arc::new(Shared {
            mood: Mutex::new(Mood::Well),
            documents: Mutex::default(),
            requests: watch::Sender::new(Vec::new()),
        });
        let router = Router::new().route("/_bulk", post(bulk)).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Engine { shared, address }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// The messages of all documents of an index, in the order of their offsets.
    pub(crate) fn messages(&self, index: &str) -> Vec<String> {
        let documents = self.shared.documents.lock().unwrap();
        let mut all: Vec<(u64, String)> = documents
            .iter()
            .filter(|((name, _), _)| name == index)
            .map(|(_, document)| {
                let offset = document["log"]["offset"].as_u64().unwrap_or_default();
                (offset, document["message"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, message)| message).collect()
    }

    pub(crate) fn documents(&self, index: &str) -> Vec<Value> {
        let documents = self.shared.documents.lock().unwrap();
        documents
            .iter()
            .filter(|((name, _), _)| name == index)
            .map(|(_, document)| document.clone())
            .collect()
    }

    pub(crate) fn requests(&self) -> Vec<usize> {
        self.shared.requests.borrow().clone()
    }

    /// Waits for so many requests.
    pub(crate) async fn requested(&self, count: usize) {
        let mut requests = self.shared.requests.subscribe();
        let wait = requests.wait_for(|requests| requests.len() >= count);
        tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.unwrap().unwrap();
    }

    /// Waits until the index has so many documents.
    pub(crate) async fn has(&self, index: &str, count: usize) {
        let mut requests = self.shared.requests.subscribe();
        let wait = requests.wait_for(|_| self.documents(index).len() >= count);
        let done = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.is_ok();
        assert!(done, "{index} has {} documents, not {count}", self.documents(index).len());
    }
}

async fn bulk(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    assert_eq!(headers["content-type"], "application/json");
    let mut text = String::new();
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(body.to_vec()).unwrap();
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if matches!(&*shared.mood.lock().unwrap(), Mood::Silent) {
        return std::future::pending().await;
    }
    let answer = answer(&shared, &lines);
    shared.requests.send_modify(|requests| requests.push(lines.len() / 2));
    answer
}

fn answer(shared: &Shared, lines: &[Value]) -> (StatusCode, String) {
    let mood = shared.mood.lock().unwrap();
    if let Mood::Status(status) = &*mood {
        return (StatusCode::from_u16(*status).unwrap(), "no".to_owned());
    }
    let mut documents = shared.documents.lock().unwrap();
    let mut errors = false;
    let items: Vec<Value> = lines
        .chunks(2)
        .map(|pair| {
            let action = &pair[0]["create"];
            let index = action["_index"].as_str().unwrap().to_owned();
            let id = action["_id"].as_str().map_or_else(|| format!("own-{}", documents.len()), str::to_owned);
            let (mut status, mut kind) = match &*mood {
                Mood::Each(rule) => rule(&json!({"index": index, "document": pair[1]})),
                _ => (201, ""),
            };
            if status == 201 && documents.contains_key(&(index.clone(), id.clone())) {
                (status, kind) = (409, "version_conflict_engine_exception");
            }
            if status == 201 {
                documents.insert((index, id), pair[1].clone());
                return json!({"create": {"status": status}});
            }
            errors = true;
            json!({"create": {"status": status, "error": {"type": kind, "reason": "as the test wants"}}})
        })
        .collect();
    (StatusCode::OK, json!({"errors": errors, "items": items}).to_string())
}
