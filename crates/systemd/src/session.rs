//! One connection to the message bus: signals and the answers to our own questions.
//!
//! A session works on every message of its connection in the order in which they came, and never waits for
//! anything while messages are there: the connection's reader, and with it every call, waits for us. So its own
//! questions are sent, noted, and their answers taken from the same stream. That also says exactly which
//! signals came before an answer and which after.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::systemd::Notice;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zbus::DynamicType;
use zbus::message::{Message, Type};
use zbus::names::OwnedUniqueName;
use zbus::{Connection, MessageStream};

use crate::bus::{BUS, BUS_PATH, ListedUnit, MANAGER, MANAGER_PATH, SYSTEMD};
use crate::error::CallError;
use crate::link::{Connector, Link};
use crate::signals::{self, Signal};
use crate::state::Shared;
use crate::tracker::Read;

/// How long an answer to one of our own questions may take, a reload of systemd included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(300);
/// How many messages may wait for us; then the reader waits, and the bus keeps the rest.
const MESSAGES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How long an announced unit's first change is waited for before its state is read.
const READ_DELAY: Duration = Duration::from_millis(20);
/// How long to wait between two attempts to connect: doubled each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A connection to the bus.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    connector: Connector,
    stream: MessageStream,
    shared: Arc<Shared>,
    /// systemd's unique name; its signals are taken from nobody else.
    owner: Option<OwnedUniqueName>,
    /// Questions without an answer, by the number of their message.
    asked: HashMap<NonZeroU32, (Instant, Question)>,
    /// Since when states must be read.
    unread_since: Option<Instant>,
    /// Whether systemd could be asked, at some time.
    was_up: bool,
}

#[derive(Debug)]
enum Question {
    /// To be sent some signals.
    Match,
    /// Who systemd is.
    Owner,
    /// That this systemd sends its signals.
    Subscribe(OwnedUniqueName),
    /// States of units.
    Read(Read),
}

/// Keeps a session going for ever.
pub(crate) async fn run(mut session: Session) {
    let (connector, shared) = (session.connector.clone(), Arc::clone(&session.shared));
    let mut pause = RETRY.0;
    loop {
        let error = session.serve().await;
        if session.was_up {
            pause = RETRY.0;
        }
        drop(session);
        tracing::warn!("the message bus is lost: {}", error.reason());
        shared.set_down(error.reason());
        session = loop {
            tokio::time::sleep(pause).await;
            pause = RETRY.1.min(pause * 2);
            match Session::open(connector.clone(), Arc::clone(&shared)).await {
                Ok(session) => break session,
                Err(error) => shared.set_down(error.reason()),
            }
        };
    }
}

impl Session {
    /// Connects to the bus. [`Session::serve`] does the rest.
    pub(crate) async fn open(connector: Connector, shared: Arc<Shared>) -> Result<Session, CallError> {
        let connection = connector.connect(|builder| builder.max_queued(MESSAGES)).await?;
        let stream = MessageStream::from(&connection);
        Ok(Session {
            connection,
            connector,
            stream,
            shared,
            owner: None,
            asked: HashMap::new(),
            unread_since: None,
            was_up: false,
        })
    }

    /// Works until the connection is lost, and returns why it is.
    pub(crate) async fn serve(&mut self) -> CallError {
        if let Err(error) = self.introduce().await {
            return error;
        }
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    async fn step(&mut self) -> Result<(), CallError> {
        let reset_due = self.shared.followed().reset_due();
        let read_at = self.read_at();
        let oldest = self.asked.values().map(|(since, _)| *since).min();
        tokio::select! {
            message = self.stream.next() => match message {
                Some(message) => self.take(&message?).await,
                None => Err(CallError::Away("the connection was closed".to_owned())),
            },
            () = at(read_at) => self.read().await,
            () = at(oldest.map(|since| since + ANSWER_DEADLINE)) => Err(CallError::Silent(ANSWER_DEADLINE)),
            () = room(reset_due) => {
                self.shared.followed().reset();
                Ok(())
            }
        }
    }

    /// Asks for the signals, then who systemd is, in this order: no change of hands is missed.
    async fn introduce(&mut self) -> Result<(), CallError> {
        for rule in signals::rules()? {
            let call = Message::method_call(BUS_PATH, "AddMatch").destination(BUS).interface(BUS);
            self.ask(Question::Match, call.build(&rule)?).await?;
        }
        let call = Message::method_call(BUS_PATH, "GetNameOwner").destination(BUS).interface(BUS);
        self.ask(Question::Owner, call.build(&SYSTEMD)?).await
    }

    async fn ask(&mut self, question: Question, call: Message) -> Result<(), CallError> {
        self.asked.insert(call.primary_header().serial_num(), (Instant::now(), question));
        Ok(self.connection.send(&call).await?)
    }

    async fn ask_systemd<B: serde::Serialize + DynamicType>(
        &mut self,
        question: Question,
        method: &str,
        body: &B,
    ) -> Result<(), CallError> {
        let Some(owner) = self.owner.clone() else { return Ok(()) };
        let call = Message::method_call(MANAGER_PATH, method).destination(&owner).interface(MANAGER);
        self.ask(question, call.build(body)?).await
    }

    async fn take(&mut self, message: &Message) -> Result<(), CallError> {
        match message.message_type() {
            Type::Signal => {
                let follows = |path: &str| self.shared.followed().tracker.follows(path);
                match signals::read(message, self.owner.as_ref(), follows) {
                    Ok(Some(signal)) => self.take_signal(signal).await,
                    Ok(None) => Ok(()),
                    Err(error) => {
                        tracing::warn!(%error, "a signal of systemd's cannot be read");
                        self.shared.followed().reset();
                        Ok(())
                    }
                }
            }
            Type::MethodReturn | Type::Error => self.take_answer(message).await,
            Type::MethodCall => Ok(()),
        }
    }

    async fn take_signal(&mut self, signal: Signal) -> Result<(), CallError> {
        match signal {
            Signal::Owner(owner) => return self.set_owner(owner).await,
            Signal::Changed { path, active, sub } => {
                let mut followed = self.shared.followed();
                let notice = followed.tracker.changed(&path, active.as_deref(), sub.as_deref());
                followed.tell_all(notice);
            }
            Signal::Loaded(path) => self.shared.followed().tracker.loaded(&path),
            Signal::Unloaded(path) => {
                let mut followed = self.shared.followed();
                let notice = followed.tracker.unloaded(&path);
                followed.tell_all(notice);
            }
            Signal::JobEnded { job, path, result } => {
                let unread = {
                    let mut followed = self.shared.followed();
                    followed.jobs.ended(job, &result);
                    followed.tracker.is_unread(&path)
                };
                if unread {
                    // Its change was swallowed by its announcement: see `tracker`.
                    return self.read().await;
                }
            }
            Signal::Reloading(active) => {
                if let Ok(link) = self.shared.link() {
                    link.set_reloading(active);
                }
                if !active {
                    self.shared.followed().tracker.reloaded();
                    return self.read().await;
                }
            }
        }
        Ok(())
    }

    async fn take_answer(&mut self, message: &Message) -> Result<(), CallError> {
        let Some(serial) = message.header().reply_serial() else { return Ok(()) };
        // Most answers belong to calls that others make.
        let Some((_, question)) = self.asked.remove(&serial) else { return Ok(()) };
        if message.message_type() == Type::Error {
            return self.take_refusal(question, CallError::from(zbus::Error::from(message.clone())));
        }
        match question {
            Question::Match => Ok(()),
            Question::Owner => self.set_owner(Some(message.body().deserialize()?)).await,
            Question::Subscribe(owner) => {
                self.set_up(owner);
                Ok(())
            }
            Question::Read(read) => self.take_states(read, message),
        }
    }

    fn take_refusal(&mut self, question: Question, error: CallError) -> Result<(), CallError> {
        match question {
            // A systemd that went away meanwhile: the next one is announced.
            Question::Owner | Question::Subscribe(_) if error.is_unreachable() => {
                self.shared.set_down("systemd is not on the message bus".to_owned());
                Ok(())
            }
            Question::Subscribe(owner) if error.is_already_subscribed() => {
                self.set_up(owner);
                Ok(())
            }
            // The end of this systemd is announced too, and a reset comes with the next one.
            Question::Read(_) if error.is_unreachable() => Ok(()),
            Question::Read(_) => {
                tracing::warn!("cannot read the states of units: {}", error.reason());
                self.shared.followed().reset();
                Ok(())
            }
            Question::Match | Question::Owner | Question::Subscribe(_) => Err(error),
        }
    }

    async fn set_owner(&mut self, owner: Option<OwnedUniqueName>) -> Result<(), CallError> {
        if owner.is_some() && self.owner == owner {
            return Ok(());
        }
        if self.owner.is_some() {
            tracing::warn!("systemd has left the message bus");
        }
        if self.owner.is_some() || owner.is_none() {
            self.shared.set_down("systemd is not on the message bus".to_owned());
        }
        self.owner = owner;
        match self.owner.clone() {
            Some(owner) => self.ask_systemd(Question::Subscribe(owner), "Subscribe", &()).await,
            None => Ok(()),
        }
    }

    fn set_up(&mut self, owner: OwnedUniqueName) {
        if self.owner.as_ref() == Some(&owner) {
            let connection = self.connection.clone();
            self.was_up = true;
            self.shared.set_up(Link::new(connection, owner, self.connector.clone()));
            tracing::debug!("following systemd's signals");
        }
    }

    /// When states should be read, if any should, and none are being read.
    fn read_at(&mut self) -> Option<Instant> {
        if !self.shared.followed().tracker.has_unread() {
            self.unread_since = None;
            return None;
        }
        let since = *self.unread_since.get_or_insert_with(Instant::now);
        (!self.is_reading()).then_some(since + READ_DELAY)
    }

    fn is_reading(&self) -> bool {
        self.asked.values().any(|(_, question)| matches!(question, Question::Read(_)))
    }

    async fn read(&mut self) -> Result<(), CallError> {
        if self.is_reading() {
            // At most one at a time: the bus bounds the questions without an answer. The rest comes next.
            return Ok(());
        }
        self.unread_since = None;
        let read = self.shared.followed().tracker.start_read();
        let none: &[&str] = &[];
        let body = (none, read.patterns.clone());
        self.ask_systemd(Question::Read(read), "ListUnitsByPatterns", &body).await
    }

    fn take_states(&self, read: Read, message: &Message) -> Result<(), CallError> {
        let rows: Vec<ListedUnit> = message.body().deserialize()?;
        let mut followed = self.shared.followed();
        let rows = rows.iter().map(|row| (row.6.as_str(), row.2.as_str(), row.3.as_str(), row.4.as_str()));
        let notices = followed.tracker.read(read, rows);
        followed.tell_all(notices);
        Ok(())
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn room(subscriber: Option<mpsc::Sender<Notice>>) {
    match subscriber {
        // An error means that nobody reads any more: that is found out by the next notice.
        Some(subscriber) => drop(subscriber.reserve().await),
        None => std::future::pending().await,
    }
}
