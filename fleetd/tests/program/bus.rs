//! A message bus with a systemd on it, as far as fleetd can tell: units start and stop at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::net::{UnixListener, UnixStream};
use zbus::connection::Builder;
use zbus::message::{Message, Type};
use zbus::{Connection, DynamicType, Guid, MessageStream, ObjectPath, Variant};

/// systemd's unique name on the bus.
const OWNER: &str = ":1.1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// The bus.
pub(crate) struct Bus {
    path: PathBuf,
    systemd: Arc<Systemd>,
}

#[derive(Default)]
struct Systemd {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Loaded units, and whether they are active.
    units: BTreeMap<String, bool>,
    /// Units that have a file.
    linked: BTreeSet<String>,
    /// Jobs, as `StartUnit a.service`.
    jobs: Vec<String>,
    connections: Vec<Connection>,
    /// The service that fleetd is in.
    service: Option<Service>,
}

/// A service that has a process of fleetd's.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// Its main process; `None`: whoever asks.
    pub(crate) main: Option<u32>,
    /// The type of its job.
    pub(crate) job: Option<&'static str>,
}

impl Bus {
    /// A bus on a socket in `directory`.
    pub(crate) fn start(directory: &Path) -> Bus {
        let path = directory.join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let systemd = Arc::new(Systemd::default());
        let serving = Arc::clone(&systemd);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Bus { path, systemd }
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.path.display())
    }

    /// The jobs since the last look, in their order.
    pub(crate) fn take_jobs(&self) -> Vec<String> {
        std::mem::take(&mut self.systemd.state.lock().unwrap().jobs)
    }

    /// From now on fleetd is a process of this service.
    pub(crate) fn set_service(&self, service: Service) {
        self.systemd.state.lock().unwrap().service = Some(service);
    }

    /// The units that are active.
    pub(crate) fn active(&self) -> Vec<String> {
        let state = self.systemd.state.lock().unwrap();
        state.units.iter().filter(|(_, active)| **active).map(|(name, _)| name.clone()).collect()
    }
}

async fn serve(stream: UnixStream, systemd: Arc<Systemd>) {
    let stream = stream.into_std().unwrap();
    let builder = Builder::unix_stream(stream).server(&Guid::generate()).p2p();
    let Ok(connection) = builder.build().await else { return };
    let mut messages = MessageStream::from(&connection);
    systemd.state.lock().unwrap().connections.push(connection.clone());
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() == Type::MethodCall {
            systemd.answer(&Call { connection: &connection, message: &message }).await;
        }
    }
}

/// A call that waits for an answer.
struct Call<'a> {
    connection: &'a Connection,
    message: &'a Message,
}

impl Call<'_> {
    /// The first argument.
    fn name(&self) -> String {
        let body = self.message.body();
        // Most take a unit's name, and perhaps a mode.
        body.deserialize::<(&str, &str)>()
            .map(|(name, _)| name.to_owned())
            .or_else(|_| body.deserialize::<&str>().map(str::to_owned))
            .unwrap()
    }

    async fn reply<B: serde::Serialize + DynamicType>(&self, body: &B) {
        // Who asked may be gone.
        let _ = self.connection.reply(&self.message.header(), body).await;
    }

    async fn refuse(&self, error: &str) {
        let name = format!("org.freedesktop.{error}");
        let _ = self.connection.reply_error(&self.message.header(), name, &"refused").await;
    }
}

impl Systemd {
    async fn answer(&self, call: &Call<'_>) {
        let none = Vec::<(String, String, String)>::new();
        let method = call.message.header().member().unwrap().to_string();
        match method.as_str() {
            "Hello" => call.reply(&":1.7").await,
            "AddMatch" | "RemoveMatch" | "Subscribe" | "Reload" => call.reply(&()).await,
            "GetNameOwner" => call.reply(&OWNER).await,
            "LinkUnitFiles" => {
                self.set_linked(
                    call.message.body().deserialize::<(Vec<String>, bool, bool)>().unwrap().0,
                    true,
                );
                call.reply(&none).await;
            }
            "DisableUnitFiles" => {
                self.set_linked(call.message.body().deserialize::<(Vec<String>, bool)>().unwrap().0, false);
                call.reply(&none).await;
            }
            "EnableUnitFiles" => call.reply(&(true, none)).await,
            "GetUnit" | "ResetFailedUnit" => self.get_unit(call, &method).await,
            "LoadUnit" => call.reply(&unit_path(&call.name())).await,
            "ListUnitsByNames" => self.list_units(call, call.message.body().deserialize().unwrap()).await,
            "ListUnitsByPatterns" => {
                let body = call.message.body();
                let (_, names): (Vec<String>, Vec<String>) = body.deserialize().unwrap();
                self.list_units(call, names).await;
            }
            "StartUnit" | "StopUnit" | "RestartUnit" => self.run_job(call, &method).await,
            "Get" => {
                let body = call.message.body();
                let (_, property): (&str, &str) = body.deserialize().unwrap();
                match property {
                    "LoadState" => call.reply(&Variant::from("loaded")).await,
                    "NeedDaemonReload" => call.reply(&Variant::from(false)).await,
                    "MainPID" | "Job" | "JobType" => self.tell_service(call, property).await,
                    other => panic!("property {other}"),
                }
            }
            "GetUnitByPID" => {
                let asked: u32 = call.message.body().deserialize().unwrap();
                let service = {
                    let mut state = self.state.lock().unwrap();
                    if let Some(service) = &mut state.service {
                        service.main.get_or_insert(asked);
                    }
                    state.service
                };
                match service {
                    Some(_) => call.reply(&unit_path("fleet.service")).await,
                    None => call.refuse("systemd1.NoUnitForPID").await,
                }
            }
            other => panic!("method {other}"),
        }
    }

    async fn tell_service(&self, call: &Call<'_>, property: &str) {
        let service = self.state.lock().unwrap().service.unwrap();
        let job =
            ObjectPath::try_from(if service.job.is_some() { "/org/freedesktop/systemd1/job/1" } else { "/" });
        match property {
            "MainPID" => call.reply(&Variant::from(service.main.unwrap())).await,
            "Job" => call.reply(&Variant::from((u32::from(service.job.is_some()), job.unwrap()))).await,
            _ => call.reply(&Variant::from(service.job.unwrap())).await,
        }
    }

    /// Notes units, by names or paths.
    fn set_linked(&self, names: Vec<String>, linked: bool) {
        let mut state = self.state.lock().unwrap();
        for name in names {
            let name = name.rsplit('/').next().unwrap().to_owned();
            if linked {
                state.linked.insert(name);
            } else {
                state.linked.remove(&name);
            }
        }
    }

    async fn get_unit(&self, call: &Call<'_>, method: &str) {
        let name = call.name();
        let is_loaded = self.state.lock().unwrap().units.contains_key(&name);
        match (is_loaded, method) {
            (true, "GetUnit") => call.reply(&unit_path(&name)).await,
            (true, _) => call.reply(&()).await,
            (false, _) => call.refuse("systemd1.NoSuchUnit").await,
        }
    }

    async fn list_units(&self, call: &Call<'_>, names: Vec<String>) {
        let (units, linked) = {
            let state = self.state.lock().unwrap();
            (state.units.clone(), state.linked.clone())
        };
        let row = |name: String| {
            let text = str::to_owned;
            let (load, active, sub) = match units.get(&name) {
                None if !linked.contains(&name) => ("not-found", "inactive", "dead"),
                None | Some(false) => ("loaded", "inactive", "dead"),
                Some(true) => ("loaded", "active", "running"),
            };
            let (path, no_job) = (unit_path(&name), ObjectPath::try_from("/").unwrap());
            let [load, active, sub, empty] = [load, active, sub, ""].map(text);
            (name, empty.clone(), load, active, sub, empty.clone(), path, 0_u32, empty, no_job)
        };
        call.reply(&names.into_iter().map(row).collect::<Vec<_>>()).await;
    }

    /// A job that is done at once: its answer, then the unit's change, then its end.
    async fn run_job(&self, call: &Call<'_>, method: &str) {
        let (name, active) = (call.name(), method != "StopUnit");
        let (number, connections) = {
            let mut state = self.state.lock().unwrap();
            state.units.insert(name.clone(), active);
            state.jobs.push(format!("{method} {name}"));
            (
                u32::try_from(state.connections.len() * 1000 + state.jobs.len()).unwrap(),
                state.connections.clone(),
            )
        };
        let job = ObjectPath::try_from(format!("{MANAGER_PATH}/job/{number}")).unwrap();
        call.reply(&job).await;
        let (state, sub) = if active { ("active", "running") } else { ("inactive", "dead") };
        let values = HashMap::from([("ActiveState", Variant::from(state)), ("SubState", Variant::from(sub))]);
        let changed = (UNIT, values, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        for connection in connections {
            signal(&connection, &unit_path(&name), properties, "PropertiesChanged", &changed).await;
            let removed = (number, &job, name.as_str(), "done");
            signal(
                &connection,
                &ObjectPath::try_from(MANAGER_PATH).unwrap(),
                MANAGER,
                "JobRemoved",
                &removed,
            )
            .await;
        }
    }
}

async fn signal<B: serde::Serialize + DynamicType>(
    connection: &Connection,
    path: &ObjectPath<'_>,
    interface: &str,
    member: &str,
    body: &B,
) {
    let message = Message::signal(path, interface, member).sender(OWNER).build(body).unwrap();
    // Who listened may be gone.
    let _ = connection.send(&message).await;
}

/// The path of a unit's object, escaped as systemd escapes it.
fn unit_path(name: &str) -> ObjectPath<'static> {
    let escaped = name.bytes().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("_{byte:02x}"),
    });
    ObjectPath::try_from(format!("{MANAGER_PATH}/unit/{}", escaped.collect::<String>())).unwrap()
}
