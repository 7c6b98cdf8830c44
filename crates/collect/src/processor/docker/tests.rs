//! Engines that misbehave; how a real one is followed is tested in `tests/docker`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::super::tests::mistake;
use super::super::{Chain, Shared};
use crate::event::{Base, Event};

/// What does not come true by then never does: an engine that is gone is tried again after a second, and then two.
const PATIENCE: Duration = Duration::from_secs(30);

fn chain(shared: &Arc<Shared>, socket: &Path) -> Chain {
    let settings = json!({"host": format!("unix://{}", socket.display()), "match_fields": ["c"]});
    let processors = json!([{ "add_docker_metadata": settings }]);
    Chain::build(&[("processors", Some(&processors))], shared).unwrap()
}

fn name(chain: &Chain, id: &str) -> Option<String> {
    let event = json!({ "c": id });
    let mut event = Event::new(Arc::new(Base::new(event.as_object().unwrap().clone())));
    chain.run(&mut event);
    Some(event.to_map().get("container")?["name"].as_str()?.to_owned())
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes true");
}

/// An engine with one container of this name; its events are these bytes, and then nothing, or the end.
fn serve(socket: &Path, called: &'static str, events: &'static [u8], ends: bool) -> JoinHandle<()> {
    let answer = move |request: Request| async move {
        let body = match request.uri().path() {
            "/events" if ends => Body::from(events),
            "/events" => Body::from_stream(futures_util::stream::unfold(Some(events), |left| async move {
                match left {
                    Some(left) => Some((Ok::<_, std::io::Error>(Bytes::from_static(left)), None)),
                    None => std::future::pending().await,
                }
            })),
            _ => Body::from(json!([{"Id": "a".repeat(64), "Names": [called]}]).to_string()),
        };
        Response::new(body)
    };
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() })
}

#[tokio::test]
async fn without_an_engine_nothing_is_done_until_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let shared = Arc::default();
    let chain = chain(&shared, &socket);
    assert!(chain.prepare().await);
    assert!(chain.without_idle().is_empty(), "nothing is left to do for events");
    let engine = serve(&socket, "/web", b"", false);
    until_named(&chain, "web").await;
    assert!(!chain.without_idle().is_empty());
    engine.abort();
}

/// An input looks when it starts; here it does so again and again.
async fn until_named(chain: &Chain, called: &str) {
    let looking = async {
        while name(chain, &"a".repeat(64)).as_deref() != Some(called) {
            chain.prepare().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("no {called}"));
}

#[tokio::test]
async fn an_engine_that_starts_again_is_followed_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let chain = chain(&Arc::default(), &socket);
    // It tells what there is, and ends.
    let first = serve(&socket, "/first", b"", true);
    until_named(&chain, "first").await;
    first.abort();
    std::fs::remove_file(&socket).unwrap();
    let second = serve(&socket, "/second", b"", false);
    until_named(&chain, "second").await;
    second.abort();
}

#[tokio::test]
async fn events_that_mean_nothing_or_have_no_end_are_borne() {
    static STRANGE: &[u8] = b"\n{\"Type\":\"network\",\"Actor\":{\"ID\":\"x\"}}\nno json\n";
    static ENDLESS: [u8; 2 << 20] = [b'x'; 2 << 20];
    for events in [STRANGE, &ENDLESS[..]] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let engine = serve(&socket, "/web", events, false);
        let chain = chain(&Arc::default(), &socket);
        until_named(&chain, "web").await;
        engine.abort();
    }
}

#[tokio::test]
async fn nobody_follows_an_engine_that_nobody_needs() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let shared = Arc::default();
    let (one, other) = (chain(&shared, &socket), chain(&shared, &socket));
    let is_taken = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_taken);
    let closed = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        seen.store(true, Ordering::Relaxed);
        // It reads the question, says nothing, and waits for the end.
        let mut buffer = Vec::new();
        let mut stream = stream;
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut buffer).await.unwrap();
        String::from_utf8(buffer).unwrap()
    });
    tokio::join!(one.prepare(), other.prepare());
    until(|| is_taken.load(Ordering::Relaxed)).await;
    drop(one);
    assert!(!closed.is_finished(), "the other still has it");
    drop(other);
    let question = tokio::time::timeout(PATIENCE, closed).await.unwrap().unwrap();
    assert!(question.starts_with("GET /events?filters="), "{question}");
}

#[test]
fn what_is_wrong_is_told() {
    for (settings, problem) in [
        (json!({"host": "tcp://engine:2375"}), "host: must be a Unix socket"),
        (json!({"match_source_index": "x"}), "match_source_index: must be a whole number"),
        (json!({"labels": {"dedot": "x"}}), "labels.dedot: must be true or false"),
        (json!({"match_pids": {}}), "match_pids: must be a list of texts"),
        (json!({"cleanup_timeout": "x"}), "cleanup_timeout: must be a duration"),
    ] {
        let text = mistake(&json!([{ "add_docker_metadata": settings }]));
        assert!(text.contains(&format!("add_docker_metadata.{problem}")), "{text}");
    }
    let value: Value = json!([{"add_docker_metadata": null}]);
    assert!(Chain::build(&[("processors", Some(&value))], &Arc::default()).is_ok());
}
