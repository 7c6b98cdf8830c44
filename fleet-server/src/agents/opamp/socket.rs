//! A connection of WebSocket.
//!
//! Messages are taken one after the other, and each is answered before the next is read: nothing queues up.
//! Meanwhile the connection holds a place among the held check-ins, so that what concerns its collector is told
//! at once. A connection speaks for the collector whose message came last.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_access::key::ApiKey;
use fleet_protocol::opamp::{AgentToServer, ServerToAgent, read_frame, write_frame};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tracing::debug;

use super::exchange::Heard;
use super::who::renamed;
use super::{handshake, refusal};
use crate::agents::error::ApiError;
use crate::agents::{AgentsApi, auth};
use crate::http::{Outcome, Request, Transport, Upgrade};
use crate::sessions::Place;

/// A sign of life is asked for this often.
const PING: Duration = Duration::from_secs(30);
/// A client of which nothing has come for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// The time for a message to be taken by the client.
const SEND_MAX: Duration = Duration::from_secs(20);
/// It is looked again this long after the store was in trouble.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Bytes that are read at a time: most messages are small, and most connections wait.
const READ_BUFFER: usize = 4096;
/// Bytes that may wait to be written: a message with the largest policy there can be.
const WRITE_BUFFER_MAX: usize = 8 << 20;

impl AgentsApi {
    /// A connection of WebSocket, if there is a key for it.
    pub(in crate::agents) async fn opamp_socket(
        self: &Arc<AgentsApi>,
        request: &Request,
    ) -> Result<Outcome, ApiError> {
        let key = auth::key(request)?;
        self.collector_key(&key).await?;
        let response = handshake::accept(request)?;
        if self.drain.is_cancelled() {
            return Err(ApiError::Stopping);
        }
        let api = Arc::clone(self);
        let then = Box::new(move |transport, read| -> futures_util::future::BoxFuture<'static, ()> {
            Box::pin(Connection::serve(api, key, transport, read))
        });
        Ok(Outcome::Upgrade(Upgrade { response, then }))
    }
}

/// The connection is over.
#[derive(Debug)]
enum Over {
    /// The client, or the way to it, is gone.
    Gone(WsError),
    /// It is told why.
    Close(CloseCode, String),
}

impl From<WsError> for Over {
    fn from(error: WsError) -> Over {
        match error {
            WsError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                Over::Close(CloseCode::Size, format!("a message may have {max_size} bytes"))
            }
            error => Over::Gone(error),
        }
    }
}

/// The collector that a connection speaks for.
struct Speaker {
    instance_uid: Vec<u8>,
    agent_id: Arc<str>,
    /// `None`: it had its turn, or was displaced.
    place: Option<Place>,
    /// Another connection speaks for the same collector.
    is_displaced: bool,
    look_again: Option<Instant>,
}

struct Connection {
    api: Arc<AgentsApi>,
    key: ApiKey,
    socket: WebSocketStream<Transport>,
    speaker: Option<Speaker>,
    heard_at: Instant,
}

enum Event {
    Frame(Option<Result<Message, WsError>>),
    Turn(Option<crate::http::Turn>),
    Look,
    Ping,
    Drain,
}

impl Connection {
    async fn serve(api: Arc<AgentsApi>, key: ApiKey, transport: Transport, read: Bytes) {
        let limit = api.limits.opamp.limit.max_body;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let socket =
            WebSocketStream::from_partially_read(transport, read.to_vec(), Role::Server, Some(config)).await;
        let mut connection = Connection { api, key, socket, speaker: None, heard_at: Instant::now() };
        let over = connection.run().await;
        match over {
            Over::Gone(WsError::ConnectionClosed | WsError::AlreadyClosed) => {}
            Over::Gone(error) => {
                debug!(error = &error as &dyn std::error::Error, "a collector's connection broke");
            }
            Over::Close(code, reason) => connection.close(code, reason).await,
        }
        if let Some(speaker) = connection.speaker.take()
            && !speaker.is_displaced
        {
            connection.api.conversations.forget(&speaker.agent_id);
        }
    }

    async fn run(&mut self) -> Over {
        let mut ping_at = Instant::now() + PING;
        loop {
            // What an event needs is in a box of its own, so that a connection that waits is small.
            let done = match self.next(ping_at).await {
                Event::Frame(Some(Ok(frame))) => {
                    self.heard_at = Instant::now();
                    Box::pin(self.frame(frame)).await
                }
                Event::Frame(Some(Err(error))) => return error.into(),
                Event::Frame(None) => return Over::Gone(WsError::ConnectionClosed),
                Event::Turn(Some(turn)) => {
                    self.give_up_place();
                    let looked = Box::pin(self.look()).await;
                    drop(turn);
                    looked
                }
                Event::Turn(None) => self.displaced().await,
                Event::Look => Box::pin(self.look()).await,
                Event::Ping => {
                    ping_at = Instant::now() + PING;
                    self.ping().await
                }
                Event::Drain => return Over::Close(CloseCode::Away, "the server stops".to_owned()),
            };
            if let Err(over) = done {
                return over;
            }
        }
    }

    /// What happens next. Cancel-safe, as each of its parts is.
    async fn next(&mut self, ping_at: Instant) -> Event {
        let look_again = self.speaker.as_ref().and_then(|speaker| speaker.look_again);
        let place = self.speaker.as_mut().and_then(|speaker| speaker.place.as_mut());
        let turn = async {
            match place {
                Some(place) => place.turn().await,
                None => pending().await,
            }
        };
        let look = async {
            match look_again {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            // First, so that what a client sent before it came back is known as such.
            turn = turn => Event::Turn(turn),
            frame = self.socket.next() => Event::Frame(frame),
            () = look => Event::Look,
            () = sleep_until(ping_at) => Event::Ping,
            () = self.api.drain.cancelled() => Event::Drain,
        }
    }

    async fn frame(&mut self, frame: Message) -> Result<(), Over> {
        let bytes = match frame {
            Message::Binary(bytes) => bytes,
            Message::Text(_) => {
                let error = ApiError::BadRequest("a message is binary".to_owned());
                return self.send(&refusal(&[], &error)).await;
            }
            // The library answers pings and closes.
            _ => return Ok(()),
        };
        let message: AgentToServer = match read_frame(bytes) {
            Ok(message) => message,
            Err(error) => return self.send(&refusal(&[], &ApiError::BadRequest(error.to_string()))).await,
        };
        if self.is_displaced(&message) {
            // Who has come back sends nothing here any more: this is another one with the same id.
            if message.agent_disconnect.is_some() {
                return Ok(());
            }
            return self.send(&renamed(&message)).await;
        }
        let api = Arc::clone(&self.api);
        let heard = match api.limits.opamp.enter() {
            Ok(_leave) => api.exchange(&self.key, &message).await,
            Err(error) => Err(error),
        };
        match heard {
            Ok(mut heard) => {
                // Held before it is answered: who has its answer can count on what comes next.
                let must_look = self.settle(message.instance_uid, &mut heard);
                self.send(&heard.reply).await?;
                if must_look { self.look().await } else { Ok(()) }
            }
            Err(error) => {
                self.send(&refusal(&message.instance_uid, &error)).await?;
                match error {
                    ApiError::Unauthorized | ApiError::EnrollmentKey(_) => {
                        Err(Over::Close(CloseCode::Policy, error.to_string()))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn is_displaced(&self, message: &AgentToServer) -> bool {
        let speaker = self.speaker.as_ref();
        speaker.is_some_and(|speaker| speaker.is_displaced && speaker.instance_uid == message.instance_uid)
    }

    /// Holds a place for whoever has spoken. Whether there may be something to tell it beside the answer.
    fn settle(&mut self, instance_uid: Vec<u8>, heard: &mut Heard) -> bool {
        let Some(agent) = heard.agent.take() else {
            self.speaker = None;
            return false;
        };
        if let Some(speaker) = &mut self.speaker
            && speaker.agent_id == agent.id
            && let Some(place) = &mut speaker.place
        {
            if place.is_taken() {
                self.mark_displaced();
                return false;
            }
            if place.is_of(&agent.policy_id) {
                self.wait_until(heard);
                return heard.has_more;
            }
        }
        // First the old place goes, which may be of the same collector.
        self.speaker = None;
        let place = Some(self.api.fleet.sessions.hold(&agent.id, &agent.policy_id));
        let agent_id = agent.id;
        self.speaker = Some(Speaker { instance_uid, agent_id, place, is_displaced: false, look_again: None });
        true
    }

    fn give_up_place(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.place = None;
        }
    }

    fn wait_until(&mut self, heard: &Heard) {
        let now = self.api.fleet.clock.now();
        if let Some(speaker) = &mut self.speaker {
            speaker.look_again = heard.look_again.map(|at| Instant::now() + now.until(at));
        }
    }

    /// Tells the collector what there is to tell, and holds a place for what comes.
    async fn look(&mut self) -> Result<(), Over> {
        let api = Arc::clone(&self.api);
        loop {
            let Some(speaker) = &mut self.speaker else { return Ok(()) };
            speaker.look_again = None;
            let (agent_id, instance_uid) = (Arc::clone(&speaker.agent_id), speaker.instance_uid.clone());
            // Removed: it enrols anew with its next message.
            let Some(agent) = api.fleet.agents.get(&agent_id) else {
                self.speaker = None;
                return Ok(());
            };
            if !agent.agent.active {
                self.speaker = None;
                return self.send(&refusal(&instance_uid, &ApiError::AgentInactive)).await;
            }
            if speaker.place.as_mut().is_some_and(Place::is_taken) {
                return self.displaced().await;
            }
            // Held before it is looked: what comes meanwhile asks for another turn.
            if !speaker.place.as_ref().is_some_and(|place| place.is_of(&agent.agent.policy_id)) {
                speaker.place = None;
                speaker.place = Some(api.fleet.sessions.hold(&agent_id, &agent.agent.policy_id));
            }
            let heard = match api.hear(agent, None, &instance_uid).await {
                Ok(heard) => heard,
                Err(error) => {
                    debug!(agent = &*agent_id, %error, "cannot look what a collector is to be told");
                    speaker.look_again = Some(Instant::now() + LOOK_PAUSE);
                    return Ok(());
                }
            };
            if heard.says_something {
                self.send(&heard.reply).await?;
            }
            self.wait_until(&heard);
            if !heard.has_more {
                return Ok(());
            }
        }
    }

    /// Another connection speaks for the same collector. If the client of this one is still there, they are two
    /// with the same id, and this one gets another when it speaks; if it is not, the ping finds that out.
    async fn displaced(&mut self) -> Result<(), Over> {
        self.mark_displaced();
        self.ping().await
    }

    fn mark_displaced(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.place = None;
            speaker.is_displaced = true;
            speaker.look_again = None;
        }
    }

    async fn ping(&mut self) -> Result<(), Over> {
        if self.heard_at.elapsed() > SILENCE_MAX {
            return Err(Over::Gone(WsError::ConnectionClosed));
        }
        self.write(Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, message: &ServerToAgent) -> Result<(), Over> {
        self.write(Message::Binary(write_frame(message).into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Over> {
        match timeout(SEND_MAX, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(Over::from),
            Err(_) => Err(Over::Gone(WsError::Io(io::ErrorKind::TimedOut.into()))),
        }
    }

    /// Says goodbye and waits for the answer, but not long.
    async fn close(&mut self, code: CloseCode, reason: String) {
        let frame = CloseFrame { code, reason: reason.into() };
        let closing = async {
            self.socket.close(Some(frame)).await?;
            while let Some(frame) = self.socket.next().await {
                frame?;
            }
            Ok::<(), WsError>(())
        };
        // It ends either way.
        let _ = timeout(Duration::from_secs(2), closing).await;
    }
}
