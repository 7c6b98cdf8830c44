//! A message bus with a scripted systemd, in this process: what a real one does only once in a while.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_unit::{UnitFile, UnitName};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::mpsc;
use zbus::connection::Builder;
use zbus::connection::socket::Channel;
use zbus::message::{Message, Type};
use zbus::{Connection, DynamicType, Guid, MessageStream, ObjectPath};

use crate::bus::{BUS, BUS_PATH, MANAGER, MANAGER_PATH, SYSTEMD, UNIT, unit_path};
use crate::link::Connector;
use crate::{Manager, Options};

/// How long a test waits for anything. Time is paused in these tests, so this takes none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

/// The other side of every connection.
pub(crate) struct Fake {
    calls: mpsc::Receiver<Call>,
    bus: Arc<Bus>,
    _directory: TempDir,
}

#[derive(Default)]
struct Bus {
    /// systemd's unique name, if it is there.
    owner: Mutex<Option<String>>,
    /// The connection that asks for signals.
    session: Mutex<Option<Connection>>,
    /// How many connections there have been.
    connections: Mutex<usize>,
}

/// A call that waits for an answer.
pub(crate) struct Call {
    connection: Connection,
    message: Message,
}

impl Fake {
    /// A manager that is connected to a new fake.
    pub(crate) async fn start() -> (Manager, Fake) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            units_directory: directory.path().join("units"),
            records_directory: directory.path().join("records"),
            user: false,
        };
        let (calls, received) = mpsc::channel(1000);
        let bus = Arc::new(Bus::default());
        *bus.owner.lock().unwrap() = Some(":1.1".to_owned());
        let fake = Fake { calls: received, bus: Arc::clone(&bus), _directory: directory };
        let connector = Connector::new(move || {
            let (ours, theirs) = Channel::pair();
            tokio::spawn(serve(theirs, Arc::clone(&bus), calls.clone()));
            Builder::authenticated_socket(ours, Guid::generate())
        });
        (Manager::connect_by(options, connector).await.unwrap(), fake)
    }

    /// The next call, which must be of this method.
    pub(crate) async fn call(&mut self, method: &str) -> Call {
        let call = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        let call = call.unwrap_or_else(|_| panic!("{method} is never called")).unwrap();
        assert_eq!(call.method(), method);
        call
    }

    /// Whether no call waits for an answer, even after a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(1), self.calls.recv()).await.is_err()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        *self.bus.connections.lock().unwrap()
    }

    /// Closes the connection that asks for signals.
    pub(crate) async fn hang_up(&self) {
        let session = self.bus.session.lock().unwrap().take().unwrap();
        session.close().await.unwrap();
    }

    /// systemd leaves the bus, or another one comes.
    pub(crate) async fn set_owner(&self, owner: Option<&str>) {
        let old = std::mem::replace(&mut *self.bus.owner.lock().unwrap(), owner.map(str::to_owned));
        let body = (SYSTEMD, old.unwrap_or_default(), owner.unwrap_or_default());
        self.signal(BUS, BUS_PATH, BUS, "NameOwnerChanged", &body).await;
    }

    /// A signal from the systemd that is there.
    pub(crate) async fn manager_signal<B: serde::Serialize + DynamicType>(&self, member: &str, body: &B) {
        let owner = self.bus.owner.lock().unwrap().clone().unwrap();
        self.signal(&owner, MANAGER_PATH, MANAGER, member, body).await;
    }

    /// A job has ended.
    pub(crate) async fn job_removed(&self, job: u32, unit: &str, result: &str) {
        let path = ObjectPath::try_from(job_path(job)).unwrap();
        self.manager_signal("JobRemoved", &(job, path, unit, result)).await;
    }

    /// A unit was loaded or unloaded.
    pub(crate) async fn unit_signal(&self, member: &str, unit: &str) {
        let path = ObjectPath::try_from(unit_path(unit)).unwrap();
        self.manager_signal(member, &(unit, path)).await;
    }

    /// A unit has changed, says `sender`.
    pub(crate) async fn changed(&self, sender: &str, unit: &str, active: &str, sub: &str) {
        let values = std::collections::HashMap::from([
            ("ActiveState", zbus::Variant::from(active)),
            ("SubState", zbus::Variant::from(sub)),
        ]);
        let body = (UNIT, values, Vec::<&str>::new());
        let interface = "org.freedesktop.DBus.Properties";
        self.signal(sender, &unit_path(unit), interface, "PropertiesChanged", &body).await;
    }

    async fn signal<B: serde::Serialize + DynamicType>(
        &self,
        sender: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) {
        let session = self.bus.session.lock().unwrap().clone().unwrap();
        let message = Message::signal(path, interface, member).sender(sender).build(body).unwrap();
        session.send(&message).await.unwrap();
    }
}

impl Call {
    /// The method's name.
    pub(crate) fn method(&self) -> String {
        self.message.header().member().unwrap().to_string()
    }

    /// The arguments.
    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    /// Answers it.
    pub(crate) async fn reply<B: serde::Serialize + DynamicType>(&self, body: &B) {
        self.connection.reply(&self.message.header(), body).await.unwrap();
    }

    /// Refuses it.
    pub(crate) async fn refuse(&self, name: &str, text: &str) {
        self.connection.reply_error(&self.message.header(), name, &text).await.unwrap();
    }

    /// Answers it with the path of a job.
    pub(crate) async fn reply_job(&self, job: u32) {
        self.reply(&ObjectPath::try_from(job_path(job)).unwrap()).await;
    }

    /// Answers it with a list of units: name, load, active and sub state.
    pub(crate) async fn reply_units(&self, units: &[(&str, &str, &str, &str)]) {
        let row = |&(name, load, active, sub): &(&str, &str, &str, &str)| {
            let path = ObjectPath::try_from(unit_path(name)).unwrap();
            let none = ObjectPath::try_from("/").unwrap();
            let text = str::to_owned;
            (
                text(name),
                String::new(),
                text(load),
                text(active),
                text(sub),
                String::new(),
                path,
                0_u32,
                String::new(),
                none,
            )
        };
        self.reply(&units.iter().map(row).collect::<Vec<_>>()).await;
    }

    /// Refuses it as systemd does for a unit that it has not loaded.
    pub(crate) async fn refuse_not_loaded(&self) {
        self.refuse("org.freedesktop.systemd1.NoSuchUnit", "Unit is not loaded.").await;
    }
}

fn job_path(job: u32) -> String {
    format!("/org/freedesktop/systemd1/job/{job}")
}

/// A unit's name.
pub(crate) fn unit(name: &str) -> UnitName {
    UnitName::parse(name).unwrap()
}

/// A unit's file.
pub(crate) fn file(text: &str) -> UnitFile {
    UnitFile::parse(text).unwrap()
}

async fn serve(socket: Channel, bus: Arc<Bus>, calls: mpsc::Sender<Call>) {
    let connection = Builder::authenticated_socket(socket, Guid::generate()).p2p().build().await.unwrap();
    let mut messages = MessageStream::from(&connection);
    *bus.connections.lock().unwrap() += 1;
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let call = Call { connection: connection.clone(), message };
        match call.method().as_str() {
            "AddMatch" => {
                *bus.session.lock().unwrap() = Some(connection.clone());
                call.reply(&()).await;
            }
            "GetNameOwner" => {
                let owner = bus.owner.lock().unwrap().clone();
                match owner {
                    Some(owner) => call.reply(&owner).await,
                    None => call.refuse("org.freedesktop.DBus.Error.NameHasNoOwner", "nobody").await,
                }
            }
            "Subscribe" => call.reply(&()).await,
            _ => calls.send(call).await.unwrap_or_default(),
        }
    }
}
