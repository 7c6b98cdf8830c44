//! HTTP by hand: a client that sends exactly the bytes that it is told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fleet_service::listen::{Address, Listener};
use fleetd::exporter::Exporter;
use fleetd::serve::{Site, serve};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::Reply;
use crate::world::World;

/// A test that waits for longer has found a hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The `Server` header.
pub(crate) const SERVER: &str = "fleetd/2.0.0-test";

/// An API on a TCP socket.
pub(crate) struct Server {
    pub(crate) world: World,
    address: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
    // While the sender lives, the site's API may change.
    _api: watch::Sender<Arc<fleetd::api::Api>>,
}

impl Server {
    /// Serves the API of a world.
    pub(crate) async fn start(world: World) -> Server {
        Server::with_exporter(world, Arc::new(Exporter::new())).await
    }

    /// Serves the API of a world, and these metrics.
    pub(crate) async fn with_exporter(world: World, exporter: Arc<Exporter>) -> Server {
        let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".to_owned())).await.unwrap();
        let address = listener.address().to_owned();
        let (sender, api) = watch::channel(Arc::clone(&world.api));
        let site = Site::new(api, exporter, HeaderValue::from_static(SERVER));
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(Arc::new(listener), site, stop.clone()));
        Server { world, address, stop, task, _api: sender }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Connection {
        Connection { stream: TcpStream::connect(&self.address).await.unwrap(), buffer: BytesMut::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.receive().await
    }

    /// Waits until the server has had the time to read what was sent before: it answers a later connection.
    pub(crate) async fn is_reading(&self) {
        for _ in 0..10 {
            self.ask(request(&Method::GET, "/nope", "", "")).await;
        }
    }

    /// Lets requests under way finish.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &Method, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: fleet\r\n{headers}{length}\r\n{body}")
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(LIMIT, self.stream.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// The next answer.
    pub(crate) async fn receive(&mut self) -> Reply {
        self.receive_to(&Method::GET).await
    }

    /// The next answer, to a request of this method: one to `HEAD` has no body.
    pub(crate) async fn receive_to(&mut self, method: &Method) -> Reply {
        match self.try_receive(method).await {
            Some(reply) => reply,
            None => panic!("the connection was closed without an answer"),
        }
    }

    /// The next answer; `None`: the connection was closed before it.
    pub(crate) async fn try_receive(&mut self, method: &Method) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(self.buffer.is_empty(), "half an answer: {:?}", self.buffer);
                return None;
            }
        };
        let head = self.buffer.split_to(end);
        let (status, headers) = parse_head(std::str::from_utf8(&head).unwrap());
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length =
            headers.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap().parse().unwrap());
        let body = match length {
            _ if bodiless => Bytes::new(),
            Some(length) => {
                while self.buffer.len() < length {
                    assert!(self.read_more().await, "half a body");
                }
                self.buffer.split_to(length).freeze()
            }
            None => panic!("an answer of unknown length: {headers:?}"),
        };
        Some(Reply { status, headers, body })
    }

    /// Whether the other side closes the connection now, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.read_more().await
    }

    /// Everything until the other side closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> String {
        while self.read_more().await {}
        String::from_utf8(self.buffer.split().to_vec()).unwrap()
    }

    async fn read_more(&mut self) -> bool {
        let read = timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await;
        // A reset is an end too.
        read.unwrap_or_else(|_| panic!("the server hangs")).is_ok_and(|count| count > 0)
    }
}

fn parse_head(head: &str) -> (StatusCode, HeaderMap) {
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    });
    (status, headers.collect())
}
