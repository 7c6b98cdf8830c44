//! The gRPC server that components connect to.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, error, warn};

use super::Settings;
use super::authority::Registry;
use super::endpoint::{Endpoint, Event, OpenStream, StreamKind};
use super::listener::{Connection, Listener, Peer};
use crate::chunks::{Assembler, LARGEST_WHOLE, split};
use crate::wire::elastic_agent_server::{ElasticAgent, ElasticAgentServer};
use crate::wire::{ActionRequest, ActionResponse, Expected, Observed};

/// A stream without a first message in this time is closed.
const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(5);
/// The id of the first message of a stream of actions.
const INIT: &str = "init";
/// Messages that a component may send at once, and in a second from then on. A check-in is due every 25 s: more than
/// this is a component that runs wild, and it waits.
const BURST: u32 = 100;
const PER_SECOND: u32 = 50;
/// So many requests may wait for a component to take them.
const MOST_REQUESTS: usize = 32;

/// Connections that may wait to be served.
const MOST_ACCEPTED: usize = 16;
/// What a component may send ahead on a stream and on its connection, in bytes: what waits here of one that talks
/// without end is old when its turn comes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Streams of a connection. A component has two, and for a moment those that it has left.
const MOST_STREAMS: u32 = 16;

/// Serves components until the end.
pub(super) fn serve(
    listener: Listener,
    tls: Arc<rustls::ServerConfig>,
    registry: &Arc<Registry>,
    settings: &Settings,
    end: &CancellationToken,
) {
    let (accepted, connections) = mpsc::channel(MOST_ACCEPTED);
    tokio::spawn(super::listener::accept(listener, tls, Arc::clone(registry), accepted, end.clone()));
    let max = settings.max_message_size;
    let service = Service { chunks_above: settings.sends_chunks.then_some(max) };
    let service =
        ElasticAgentServer::new(service).max_decoding_message_size(max).max_encoding_message_size(max);
    let connections = unfold(connections, async |mut connections| {
        let connection: io::Result<Connection> = connections.recv().await?;
        Some((connection, connections))
    });
    let serving = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .add_service(service)
        .serve_with_incoming_shutdown(connections, end.clone().cancelled_owned());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            error!(error = &error as &dyn std::error::Error, "components are not served any more");
        }
    });
}

/// The service.
#[derive(Debug)]
struct Service {
    /// Messages are sent in pieces above this size, in bytes; `None`: never.
    chunks_above: Option<usize>,
}

type Outgoing<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ElasticAgent for Service {
    type CheckinV2Stream = Outgoing<Expected>;
    type ActionsStream = Outgoing<ActionRequest>;

    async fn checkin_v2(
        &self,
        request: Request<Streaming<Observed>>,
    ) -> Result<Response<Self::CheckinV2Stream>, Status> {
        let endpoint = endpoint(&request)?;
        let mut inbound = request.into_inner();
        let first = first_message(&mut inbound).await?;
        let stream = admit(&endpoint, &first.token, StreamKind::Checkin)?;
        let takes_chunks = !first.supports.is_empty();
        let (latest, expected) = watch::channel(None);
        send(&endpoint, Event::CheckinOpened { stream: stream.id, latest }).await?;
        let ended = stream.ended.clone();
        tokio::spawn(read_checkins(stream, first, inbound));
        let max = self.chunks_above.filter(|_| takes_chunks).unwrap_or(usize::MAX);
        Ok(Response::new(Box::pin(expected_stream(expected, ended, max))))
    }

    async fn actions(
        &self,
        request: Request<Streaming<ActionResponse>>,
    ) -> Result<Response<Self::ActionsStream>, Status> {
        let endpoint = endpoint(&request)?;
        let mut inbound = request.into_inner();
        let first = first_message(&mut inbound).await?;
        if first.id != INIT {
            return Err(Status::invalid_argument("the first message of a stream of actions has the id init"));
        }
        let stream = admit(&endpoint, &first.token, StreamKind::Actions)?;
        let (requests, waiting) = mpsc::channel(MOST_REQUESTS);
        send(&endpoint, Event::ActionsOpened { stream: stream.id, requests }).await?;
        let ended = stream.ended.clone();
        tokio::spawn(read_responses(stream, inbound));
        Ok(Response::new(Box::pin(request_stream(waiting, ended))))
    }
}

fn endpoint<T>(request: &Request<T>) -> Result<Arc<Endpoint>, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| Arc::clone(&peer.0)).ok_or_else(|| Status::unauthenticated("there is no certificate"))
}

async fn first_message<T>(inbound: &mut Streaming<T>) -> Result<T, Status> {
    match timeout(FIRST_MESSAGE_MAX, inbound.message()).await {
        Ok(message) => message?.ok_or_else(|| Status::invalid_argument("the stream has no first message")),
        Err(_) => Err(Status::deadline_exceeded("there was no first message in time")),
    }
}

fn admit(endpoint: &Arc<Endpoint>, token: &str, kind: StreamKind) -> Result<OpenStream, Status> {
    if !is_token(endpoint, token) {
        return Err(Status::permission_denied("the token is not known"));
    }
    if endpoint.is_stopping() {
        return Err(Status::unavailable("the component is being stopped"));
    }
    endpoint.open(kind).ok_or_else(|| Status::already_exists("the component has such a stream already"))
}

/// The connection has proved itself by its certificate already: the token is no secret to whoever has that.
fn is_token(endpoint: &Endpoint, token: &str) -> bool {
    endpoint.identity.token == token
}

async fn send(endpoint: &Endpoint, event: Event) -> Result<(), Status> {
    let sent = endpoint.events().send(event).await;
    sent.map_err(|_| Status::unavailable("the component is not wanted any more"))
}

/// Reads a component's check-ins until one side ends the stream.
async fn read_checkins(stream: OpenStream, first: Observed, mut inbound: Streaming<Observed>) {
    let endpoint = Arc::clone(&stream.endpoint);
    let mut assembler = Assembler::new(LARGEST_WHOLE);
    let mut pace = Pace::new();
    let mut next = Some(first);
    while let Some(observed) = next {
        if !is_token(&endpoint, &observed.token) {
            debug!("a component has changed its token: its stream is closed");
            break;
        }
        match assembler.take(observed) {
            Ok(Some(observed)) => {
                if send(&endpoint, Event::Observed { stream: stream.id, observed }).await.is_err() {
                    break;
                }
            }
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "a component says too much: its stream is closed");
                break;
            }
        }
        next = read(&stream.ended, &mut inbound, &mut pace).await;
    }
    let id = stream.id;
    drop(stream);
    // Its runner is gone, or is told.
    let _ = endpoint.events().send(Event::CheckinClosed { stream: id }).await;
}

async fn read_responses(stream: OpenStream, mut inbound: Streaming<ActionResponse>) {
    let endpoint = Arc::clone(&stream.endpoint);
    let mut pace = Pace::new();
    while let Some(response) = read(&stream.ended, &mut inbound, &mut pace).await {
        let is_good = is_token(&endpoint, &response.token);
        if !is_good || send(&endpoint, Event::Response { response }).await.is_err() {
            break;
        }
    }
    let id = stream.id;
    drop(stream);
    let _ = endpoint.events().send(Event::ActionsClosed { stream: id }).await;
}

/// The next message, at a pace that this side keeps up with; `None`: there are no more.
async fn read<T>(ended: &CancellationToken, inbound: &mut Streaming<T>, pace: &mut Pace) -> Option<T> {
    let next = async {
        pace.wait().await;
        inbound.message().await
    };
    match ended.run_until_cancelled(next).await? {
        Ok(message) => message,
        Err(status) => {
            debug!(%status, "a stream of a component has ended");
            None
        }
    }
}

/// How fast a component may talk.
#[derive(Debug)]
struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    fn new() -> Pace {
        Pace { left: BURST, since: Instant::now() }
    }

    async fn wait(&mut self) {
        self.gain();
        while self.left == 0 {
            sleep(Duration::from_secs(1) / PER_SECOND).await;
            self.gain();
        }
        self.left -= 1;
    }

    fn gain(&mut self) {
        let gained = self.since.elapsed().as_millis() * u128::from(PER_SECOND) / 1000;
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(BURST);
            self.left = self.left.saturating_add(gained).min(BURST);
            self.since = Instant::now();
        }
    }
}

/// What the component should have, each time that it changes; what was overtaken is left out.
fn expected_stream(
    latest: watch::Receiver<Option<Arc<Expected>>>,
    ended: CancellationToken,
    max: usize,
) -> impl Stream<Item = Result<Expected, Status>> {
    unfold((latest, ended, VecDeque::new()), move |(mut latest, ended, mut pieces)| async move {
        loop {
            if let Some(piece) = pieces.pop_front() {
                return Some((Ok(piece), (latest, ended, pieces)));
            }
            ended.run_until_cancelled(latest.changed()).await?.ok()?;
            let Some(expected) = latest.borrow_and_update().clone() else { continue };
            match split(Expected::clone(&expected), max, SystemTime::now()) {
                Ok(split) => pieces.extend(split),
                Err(error) => {
                    let status = Status::resource_exhausted(error.to_string());
                    ended.cancel();
                    return Some((Err(status), (latest, ended, pieces)));
                }
            }
        }
    })
}

fn request_stream(
    waiting: mpsc::Receiver<ActionRequest>,
    ended: CancellationToken,
) -> impl Stream<Item = Result<ActionRequest, Status>> {
    unfold((waiting, ended), |(mut waiting, ended)| async move {
        let request = ended.run_until_cancelled(waiting.recv()).await??;
        Some((Ok(request), (waiting, ended)))
    })
}
