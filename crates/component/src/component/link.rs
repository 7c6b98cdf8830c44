//! The streams to the agent, kept open until the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::actions;
use super::connection::{ConnectError, Connector};
use super::handler::{About, Handler, News, Reporter};
use super::session::Session;
use super::start_up::{Address, StartUp, StartUpError};
use crate::chunks::{Assembler, LARGEST_WHOLE, split};
use crate::wire;
use crate::wire::elastic_agent_client::ElasticAgentClient;

/// The agent hears of a component at least this often.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// The pause before the first attempt to connect again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many messages may wait to be sent.
const MOST_WAITING: usize = 4;
/// So much news may wait for the handler; then the agent waits.
const MOST_NEWS: usize = 16;
/// So many actions are done at a time.
const MOST_ACTIONS: usize = 16;

/// Runs a component until `stop`. The connection is made again whenever it is lost.
///
/// # Errors
/// What the agent has said cannot be used: there is no way to reach it.
pub async fn run(
    start_up: StartUp,
    about: About,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) -> Result<(), ConnectError> {
    let source = Source::Told(Way::new(&start_up)?);
    keep_until(stop, Session::new(&start_up, about), handler, source).await;
    Ok(())
}

/// Runs a service until `stop`. Whenever the connection is lost, it is asked at `address` how the agent is reached: it
/// may be another one, which knows nothing of the credentials of the one before.
pub async fn run_service(
    address: &Address,
    about: About,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) {
    keep_until(stop, Session::unmet(about), handler, Source::Asked(address.clone())).await;
}

async fn keep_until(stop: CancellationToken, session: Session, handler: Arc<dyn Handler>, source: Source) {
    let reporter = Reporter::new(session);
    let (news, told) = mpsc::channel(MOST_NEWS);
    let telling = tokio::spawn(tell(Arc::clone(&handler), reporter.clone(), told, stop.clone()));
    let link = Link { source, handler, reporter, news };
    stop.run_until_cancelled(link.keep()).await;
    drop(link);
    // It ends as soon as the handler has taken what it was given.
    let _ = telling.await;
}

/// From where it is known how the agent is reached.
enum Source {
    /// The agent has started this process, and has told it.
    Told(Way),
    /// It is told here.
    Asked(Address),
}

/// Why it is not known how the agent is reached.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("it is not told how the agent is reached")]
    Fetch(#[source] StartUpError),
    #[error("what is told of how the agent is reached cannot be used")]
    Use(#[source] ConnectError),
}

/// How the agent is reached, and what it takes.
#[derive(Clone, Debug)]
struct Way {
    connector: Connector,
    token: String,
    /// Messages above this size are sent in pieces.
    split_above: usize,
}

impl Way {
    fn new(start_up: &StartUp) -> Result<Way, ConnectError> {
        Ok(Way {
            connector: Connector::new(start_up)?,
            token: start_up.token.clone(),
            split_above: if start_up.takes_chunks { start_up.max_message_size } else { usize::MAX },
        })
    }
}

/// Tells the handler what is new, one thing after the other.
async fn tell(
    handler: Arc<dyn Handler>,
    reporter: Reporter,
    mut news: mpsc::Receiver<News>,
    stop: CancellationToken,
) {
    while let Some(Some(news)) = stop.run_until_cancelled(news.recv()).await {
        handler.changed(news, &reporter).await;
    }
}

struct Link {
    source: Source,
    handler: Arc<dyn Handler>,
    reporter: Reporter,
    news: mpsc::Sender<News>,
}

impl Link {
    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            if let Err(error) = self.connect().await {
                warn!(error = &*error, "the agent cannot be reached: trying again");
            }
            if began.elapsed() >= FIRST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, and serves until the connection is lost.
    async fn connect(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let way = self.ask().await?;
        let client = way.connector.connect().await?;
        info!("the agent is reached");
        let status = self.serve(&way, client).await;
        warn!(%status, "the agent is lost: connecting again");
        Ok(())
    }

    async fn ask(&self) -> Result<Way, AskError> {
        match &self.source {
            Source::Told(way) => Ok(way.clone()),
            Source::Asked(address) => {
                let start_up = StartUp::fetch(address).await.map_err(AskError::Fetch)?;
                self.reporter.session().meet(&start_up);
                Way::new(&start_up).map_err(AskError::Use)
            }
        }
    }

    /// Serves both streams until one of them ends.
    async fn serve(&self, way: &Way, client: ElasticAgentClient<Channel>) -> Status {
        let (say, said) = mpsc::channel(MOST_WAITING);
        let (answer, answered) = mpsc::channel(MOST_WAITING);
        let first = self.reporter.session().open();
        tokio::select! {
            status = self.say(first, say, way.split_above) => status,
            status = self.hear(client.clone(), said) => status,
            status = self.act(client, answer, answered, &way.token) => status,
        }
    }

    /// Says how units are: when that changes, and now and then.
    async fn say(
        &self,
        first: wire::Observed,
        say: mpsc::Sender<wire::Observed>,
        split_above: usize,
    ) -> Status {
        let gone = || Status::new(Code::Unavailable, "the stream of check-ins has ended");
        let mut last = first.clone();
        (last.version, last.supports) = (None, Vec::new());
        let mut next = Some(first);
        loop {
            if let Some(observed) = next.take() {
                let pieces = match split(observed, split_above, SystemTime::now()) {
                    Ok(pieces) => pieces,
                    Err(error) => return Status::new(Code::ResourceExhausted, error.to_string()),
                };
                for piece in pieces {
                    if say.send(piece).await.is_err() {
                        return gone();
                    }
                }
            }
            let due = Instant::now() + HEARTBEAT;
            next = loop {
                let is_due = tokio::select! {
                    () = self.reporter.changed() => false,
                    () = sleep_until(due) => true,
                    () = say.closed() => return gone(),
                };
                let observed = self.reporter.session().observed();
                if is_due || observed != last {
                    last = observed.clone();
                    break Some(observed);
                }
            };
        }
    }

    /// Hears what there should be.
    async fn hear(
        &self,
        mut client: ElasticAgentClient<Channel>,
        said: mpsc::Receiver<wire::Observed>,
    ) -> Status {
        // The answer begins with the agent's first message.
        let mut stream = match client.checkin_v2(outgoing(said)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        let mut assembler = Assembler::new(LARGEST_WHOLE);
        loop {
            let expected = match stream.message().await {
                Ok(Some(expected)) => expected,
                Ok(None) => {
                    return Status::new(Code::Unavailable, "the agent has ended the stream of check-ins");
                }
                Err(status) => return status,
            };
            match assembler.take(expected) {
                Ok(Some(expected)) => self.take(expected).await,
                Ok(None) => {}
                Err(error) => return Status::new(Code::ResourceExhausted, error.to_string()),
            }
        }
    }

    async fn take(&self, expected: wire::Expected) {
        let news = self.reporter.session().expected(expected);
        // It says what it has taken, if that is something.
        self.reporter.wake();
        if !news.is_empty() {
            // Nobody hears it at the end.
            let _ = self.news.send(news).await;
        }
    }

    /// Does what is asked.
    async fn act(
        &self,
        mut client: ElasticAgentClient<Channel>,
        answer: mpsc::Sender<wire::ActionResponse>,
        answered: mpsc::Receiver<wire::ActionResponse>,
        token: &str,
    ) -> Status {
        // There is room: nothing was sent yet.
        let _ = answer.send(actions::init(token)).await;
        let mut stream = match client.actions(outgoing(answered)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        let mut doing = JoinSet::new();
        loop {
            let request = tokio::select! {
                request = stream.message() => request,
                Some(done) = doing.join_next() => {
                    if let Err(error) = done {
                        warn!(%error, "an action was not done");
                    }
                    continue;
                }
            };
            let request = match request {
                Ok(Some(request)) => request,
                Ok(None) => {
                    return Status::new(Code::Unavailable, "the agent has ended the stream of actions");
                }
                Err(status) => return status,
            };
            debug!(action = request.id, name = request.name, "something is to be done");
            if doing.len() >= MOST_ACTIONS {
                let _ = answer.send(actions::refuse(&request, token)).await;
                continue;
            }
            let (answer, token) = (answer.clone(), token.to_owned());
            let (handler, reporter) = (Arc::clone(&self.handler), self.reporter.clone());
            doing.spawn(async move {
                let response = actions::answer(request, token, handler, reporter).await;
                let _ = answer.send(response).await;
            });
        }
    }
}

fn outgoing<T>(messages: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    unfold(messages, |mut messages| async move { Some((messages.recv().await?, messages)) })
}
