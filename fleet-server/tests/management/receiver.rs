//! A receiver of webhooks: a real HTTP server that can fail, hang and be killed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The longest time for something to be received.
const RECEIVE_MAX: Duration = Duration::from_secs(60);

/// What it does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers with this status.
    Answer(u16),
    /// Never answers.
    Hang,
}

/// One delivery, whatever came of it.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) mode: Mode,
}

impl Delivery {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).expect("the header").to_str().expect("text")
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }
}

/// Where webhooks are sent to.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    received: Arc<Mutex<Vec<Delivery>>>,
    running: Option<JoinSet<()>>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut receiver = Receiver {
            address,
            mode: Arc::new(Mutex::new(Mode::Answer(204))),
            received: Arc::default(),
            running: None,
        };
        receiver.serve(listener);
        receiver
    }

    fn serve(&mut self, listener: TcpListener) {
        let (mode, received) = (Arc::clone(&self.mode), Arc::clone(&self.received));
        let mut running = JoinSet::new();
        running.spawn(async move {
            // Connections end with the receiver.
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (mode, received) = (Arc::clone(&mode), Arc::clone(&received));
                connections.spawn(async move {
                    let service =
                        service_fn(move |request| take(request, Arc::clone(&mode), Arc::clone(&received)));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        self.running = Some(running);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?of=fleet", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().expect("the mode") = mode;
    }

    /// It is gone, and so is every connection to it.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// It is there again, where it was.
    pub(crate) async fn revive(&mut self) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < RECEIVE_MAX, "{error}"),
            }
            sleep(Duration::from_millis(10)).await;
        };
        self.serve(listener);
    }

    pub(crate) fn received(&self) -> Vec<Delivery> {
        self.received.lock().expect("deliveries").clone()
    }

    /// Those that it has taken.
    pub(crate) fn taken(&self) -> Vec<Delivery> {
        let is_taken = |delivery: &Delivery| matches!(delivery.mode, Mode::Answer(200..=299));
        self.received().into_iter().filter(is_taken).collect()
    }

    /// Waits until it has received what is asked for.
    pub(crate) async fn wait(&self, what: &str, is: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let began = Instant::now();
        loop {
            let received = self.received();
            if is(&received) {
                return received;
            }
            let bodies: Vec<Value> = received.iter().map(Delivery::json).collect();
            assert!(began.elapsed() < RECEIVE_MAX, "{what} was not received: {bodies:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn take(
    request: Request<Incoming>,
    mode: Arc<Mutex<Mode>>,
    received: Arc<Mutex<Vec<Delivery>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mode = *mode.lock().expect("the mode");
    received.lock().expect("deliveries").push(Delivery { headers: head.headers, body, mode });
    let status = match mode {
        Mode::Answer(status) => StatusCode::from_u16(status).expect("a status"),
        Mode::Hang => std::future::pending().await,
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
