//! What is done for each call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::systemd::{
    Error, InstalledUnit, Job, JobResult, Notice, Operation, OwnService, Record, Systemd, UnitState,
};
use fleet_unit::{UnitFile, UnitName};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use zbus::OwnedObjectPath;
use zbus::connection;

use crate::batch::Batches;
use crate::bus::{Change, job_id};
use crate::error::{CallError, file_error};
use crate::files::Directory;
use crate::jobs::Request;
use crate::link::{Connector, Link};
use crate::records;
use crate::reload::Reloads;
use crate::session::{self, Session};
use crate::state::{Reach, Shared};

/// How long [`Manager::connect`] waits for systemd.
const FIRST_ANSWER: Duration = Duration::from_secs(25);
/// How long it waits for a systemd that is not on the bus.
const ARRIVAL: Duration = Duration::from_secs(5);

/// The load state of a unit that has no file.
const NOT_FOUND: &str = "not-found";

/// Whether links of an `[Install]` section were removed; `None` if the call was refused.
type Disabled = Option<bool>;

/// Where units are kept, and which systemd runs them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the unit files; made if there is none.
    pub units_directory: PathBuf,
    /// The directory of the records of [`Systemd::record`]; made if there is none. A boot must empty it.
    pub records_directory: PathBuf,
    /// Whether to use the session bus and the user's systemd instead of the system's.
    pub user: bool,
}

/// Runs units through systemd.
///
/// Once connected it connects again by itself for as long as it exists. While systemd is out of reach every
/// call that needs it fails at once with `unreachable`; results of jobs under way are unknown, and when systemd
/// can be asked again the subscriber is told [`Notice::Reset`].
#[derive(Debug)]
pub struct Manager {
    shared: Arc<Shared>,
    units: Directory,
    records: Directory,
    reloads: Reloads,
    disabling: Batches<Disabled>,
    session: JoinHandle<()>,
}

impl Manager {
    /// Connects to the message bus (`DBUS_SYSTEM_BUS_ADDRESS` or `DBUS_SESSION_BUS_ADDRESS`, or where it
    /// usually is) and to systemd.
    ///
    /// # Errors
    /// A directory cannot be made or read, or bus or systemd are not there.
    pub async fn connect(options: Options) -> Result<Manager, Error> {
        let user = options.user;
        let builder =
            move || if user { connection::Builder::session() } else { connection::Builder::system() };
        Manager::connect_by(options, Connector::new(builder)).await
    }

    pub(crate) async fn connect_by(options: Options, connector: Connector) -> Result<Manager, Error> {
        let directory = |path: PathBuf, doing: &str| {
            Directory::open(&path).map_err(|error| file_error(doing, &path, error))
        };
        let units = directory(options.units_directory, "cannot open the units directory")?;
        let records = directory(options.records_directory, "cannot open the records directory")?;
        let shared = Arc::new(Shared::new());
        let names = units
            .units()
            .map_err(|error| file_error("cannot read the units directory", units.path(), error))?;
        names.iter().for_each(|name| shared.followed().tracker.add(name));

        let doing = "cannot connect to systemd";
        let session =
            Session::open(connector, Arc::clone(&shared)).await.map_err(|error| error.into_error(doing))?;
        let session = tokio::spawn(session::run(session));
        let manager = Manager {
            shared,
            units,
            records,
            reloads: Reloads::default(),
            disabling: Batches::new(),
            session,
        };
        manager.wait_for_systemd().await.map_err(|error| error.into_error(doing))?;
        Ok(manager)
    }

    async fn wait_for_systemd(&self) -> Result<(), CallError> {
        let mut reach = self.shared.reach();
        let known = reach.wait_for(|reach| !matches!(reach, Reach::Connecting));
        if tokio::time::timeout(FIRST_ANSWER, known).await.is_err() {
            return Err(CallError::Silent(FIRST_ANSWER));
        }
        // While a machine boots, systemd comes to the bus a moment after the bus is there.
        let up = reach.wait_for(|reach| matches!(reach, Reach::Up(_)));
        drop(tokio::time::timeout(ARRIVAL, up).await);
        self.shared.link().map(drop)
    }

    async fn reload(&self, link: &Link) -> Result<(), CallError> {
        self.reloads
            .request(|| async {
                tracing::debug!("reloading systemd");
                let manager = link.manager().await?;
                link.answer(manager.reload()).await
            })
            .await
    }

    /// Links and enables a unit whose file is written.
    async fn put_in_force(&self, unit: &UnitName, file: &UnitFile, old: bool) -> Result<(), CallError> {
        let link = self.shared.link()?;
        let manager = link.manager().await?;
        let path = self.units.path_of(unit);
        let paths = [path.to_str().ok_or_else(|| CallError::not_text(&path))?];
        // An older file may have had an `[Install]` section of its own.
        let mut relinked = old && self.disable(&link, unit).await?;
        let (loaded, linked) = tokio::join!(
            // A unit that is not loaded after its file was written will be loaded from that file.
            link.answer(manager.get_unit(unit.as_str())),
            link.answer(manager.link_unit_files(&paths, true, true)),
        );
        linked?;
        if file.has_section("Install") {
            let (_, changes) = link.answer(manager.enable_unit_files(&paths, true, true)).await?;
            relinked |= !changes.is_empty();
        }
        let stale = match loaded {
            Ok(object) => !relinked && is_stale(&link, unit, &object).await?,
            Err(error) if error.is_unreachable() => return Err(error),
            Err(_) => false,
        };
        if relinked || stale || self.reloads.is_owed() {
            self.reload(&link).await?;
        }
        Ok(())
    }

    /// Unlinks a unit. Whether links of an `[Install]` section were removed.
    async fn disable(&self, link: &Link, unit: &UnitName) -> Result<bool, CallError> {
        let together = |units: Vec<UnitName>| async move { disable_all(link, &units).await.ok() };
        if let Some(relinked) = self.disabling.join(unit, together).await {
            return Ok(relinked);
        }
        // systemd refuses all for one.
        match disable_all(link, std::slice::from_ref(unit)).await {
            Err(error) if error.is_nothing_there() => Ok(false),
            other => other,
        }
    }

    /// Unlinks a unit and forgets its failure. Whether links of an `[Install]` section were removed.
    async fn take_out_of_force(&self, link: &Link, unit: &UnitName) -> Result<bool, CallError> {
        let manager = link.manager().await?;
        let (disabled, reset) =
            tokio::join!(self.disable(link, unit), link.answer(manager.reset_failed_unit(unit.as_str())),);
        match reset {
            Err(error) if error.is_unreachable() => Err(error),
            // systemd 252 says so for each unit that is not loaded, which is what is wanted.
            Err(_) | Ok(()) => disabled,
        }
    }

    /// Removes what [`Systemd::install`] has begun.
    async fn clean_up(&self, unit: &UnitName) {
        if let Ok(link) = self.shared.link()
            && let Err(error) = self.take_out_of_force(&link, unit).await
        {
            tracing::warn!(%unit, "cannot unlink a unit that could not be installed: {}", error.reason());
        }
        if let Err(error) = self.units.remove(unit) {
            tracing::warn!(%unit, %error, "cannot remove the file of a unit that could not be installed");
        }
        self.shared.followed().tracker.remove(unit);
    }

    async fn read_state(&self, unit: &UnitName) -> Result<UnitState, CallError> {
        let not_loaded = UnitState { load: NOT_FOUND.into(), active: "inactive".into(), sub: "dead".into() };
        if unit.is_template() {
            // Templates are never loaded; systemd refuses to be asked for one.
            return Ok(not_loaded);
        }
        let link = self.shared.link()?;
        let rows = link.answer(link.manager().await?.list_units_by_names(&[unit.as_str()])).await?;
        // No row: a name that is none for this systemd.
        Ok(rows.into_iter().next().map_or(not_loaded, |row| UnitState {
            load: row.2,
            active: row.3,
            sub: row.4,
        }))
    }

    async fn read_own_service(&self) -> Result<Option<OwnService>, CallError> {
        let link = self.shared.link()?;
        let object = match link.answer(link.manager().await?.get_unit_by_pid(std::process::id())).await {
            Ok(object) => object,
            Err(CallError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !object.ends_with("_2eservice") {
            return Ok(None);
        }
        // A person's shell, and what is run there, may belong to a service too: that of the terminal.
        let main = link.answer(link.service(&object).await?.main_pid()).await?;
        if main != std::process::id() && main != std::os::unix::process::parent_id() {
            return Ok(None);
        }
        let (number, job) = link.answer(link.unit(&object).await?.job()).await?;
        if number == 0 {
            return Ok(Some(OwnService { job: None }));
        }
        match link.answer(link.job(&job).await?.job_type()).await {
            Ok(kind) => Ok(Some(OwnService { job: operation_of(&kind) })),
            // It has just ended.
            Err(CallError::Refused { .. }) => Ok(Some(OwnService { job: None })),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.session.abort();
    }
}

/// A request of a job on its way; over when this is dropped.
struct PendingRequest<'a> {
    shared: &'a Shared,
    request: Request,
}

impl<'a> PendingRequest<'a> {
    fn begin(shared: &'a Shared) -> PendingRequest<'a> {
        PendingRequest { shared, request: shared.followed().jobs.begin() }
    }

    fn accept(self, job: u32) -> oneshot::Receiver<JobResult> {
        self.shared.followed().jobs.accept(self.request, job)
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.shared.followed().jobs.end();
    }
}

/// Whether a loaded unit would go on with something older than the file that is there now.
async fn is_stale(link: &Link, unit: &UnitName, object: &OwnedObjectPath) -> Result<bool, CallError> {
    let manager = link.manager().await?;
    let name = [unit.as_str()];
    let before = link.answer(manager.list_units_by_patterns(&[], &name)).await?;
    // Since version 246 systemd looks again for the file of a unit that it knows, because others refer to it,
    // but has not found.
    link.answer(manager.load_unit(unit.as_str())).await?;
    let proxy = link.unit(object).await?;
    if link.answer(proxy.load_state()).await? == NOT_FOUND {
        return Ok(true);
    }
    if before.iter().all(|row| row.2 == NOT_FOUND) {
        return Ok(false);
    }
    // Since version 255 this also holds for each loaded unit once any unit was linked.
    link.answer(proxy.need_daemon_reload()).await
}

/// Unlinks units. Whether links of any `[Install]` section were removed.
async fn disable_all(link: &Link, units: &[UnitName]) -> Result<bool, CallError> {
    let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    let changes = link.answer(link.manager().await?.disable_unit_files(&names, true)).await?;
    Ok(changes.iter().any(|change| is_installation(&names, change)))
}

/// Whether a link belongs to an `[Install]` section: all but the links of the units' own names.
fn is_installation(units: &[&str], (_, link, _): &Change) -> bool {
    let Some((directory, name)) = link.rsplit_once('/') else { return false };
    !units.contains(&name) || [".wants", ".requires", ".upholds"].iter().any(|kind| directory.ends_with(kind))
}

fn operation_of(kind: &str) -> Option<Operation> {
    match kind {
        "start" | "reload-or-start" => Some(Operation::Start),
        "stop" => Some(Operation::Stop),
        "restart" | "try-restart" => Some(Operation::Restart),
        _ => None,
    }
}

#[async_trait::async_trait]
impl Systemd for Manager {
    async fn installed(&self) -> Result<Vec<InstalledUnit>, Error> {
        let doing = "cannot list the installed units";
        let names = self.units.units().map_err(|error| file_error(doing, self.units.path(), error))?;
        let installed = names.into_iter().filter_map(|name| {
            let content = match self.units.read(&name) {
                Ok(content) => content?,
                Err(error) => {
                    self.units.warn_once(name.as_str(), &format!("it cannot be read: {error}"));
                    return None;
                }
            };
            match UnitFile::parse(&content) {
                Ok(file) => {
                    let record = records::load(&self.records, &name);
                    Some(InstalledUnit { hash: file.hash(), record, name })
                }
                Err(error) => {
                    self.units.warn_once(name.as_str(), &format!("it is no unit file: {error}"));
                    None
                }
            }
        });
        Ok(installed.collect())
    }

    async fn install(&self, unit: &UnitName, file: &UnitFile) -> Result<(), Error> {
        let doing = format!("cannot install {unit}");
        self.shared.link().map_err(|error| error.into_error(&doing))?;
        let old = self.units.read(unit).ok().flatten().and_then(|text| UnitFile::parse(&text).ok());
        // What was done with an older file says nothing of this one.
        self.records.remove(unit).map_err(|error| file_error(&doing, &self.records.path_of(unit), error))?;
        self.units
            .write(unit, &file.to_string())
            .map_err(|error| file_error(&doing, &self.units.path_of(unit), error))?;
        self.shared.followed().tracker.add(unit);
        let was_enabled = old.is_some_and(|old| old.has_section("Install"));
        match self.put_in_force(unit, file, was_enabled).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.clean_up(unit).await;
                Err(error.into_error(&doing))
            }
        }
    }

    async fn uninstall(&self, unit: &UnitName) -> Result<(), Error> {
        let doing = format!("cannot uninstall {unit}");
        let failed = |error: CallError| error.into_error(&doing);
        let link = self.shared.link().map_err(failed)?;
        let relinked = self.take_out_of_force(&link, unit).await.map_err(failed)?;
        for directory in [&self.units, &self.records] {
            let removed = directory.remove(unit);
            removed.map_err(|error| file_error(&doing, &directory.path_of(unit), error))?;
        }
        self.shared.followed().tracker.remove(unit);
        let manager = link.manager().await.map_err(failed)?;
        let stale = match link.answer(manager.get_unit(unit.as_str())).await {
            Ok(_) => true,
            Err(error) if error.is_unreachable() => return Err(failed(error)),
            Err(_) => false,
        };
        if relinked || stale || self.reloads.is_owed() {
            self.reload(&link).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn record(&self, unit: &UnitName, record: Record) -> Result<(), Error> {
        records::store(&self.records, unit, record).map_err(|error| {
            let doing = format!("cannot note what was done with {unit}");
            file_error(&doing, &self.records.path_of(unit), error)
        })
    }

    async fn queue(&self, unit: &UnitName, operation: Operation) -> Result<Job, Error> {
        let verb = match operation {
            Operation::Start => "start",
            Operation::Stop => "stop",
            Operation::Restart => "restart",
        };
        let failed = |error: CallError| error.into_error(&format!("cannot {verb} {unit}"));
        let link = self.shared.link().map_err(failed)?;
        let request = PendingRequest::begin(&self.shared);
        let path = match link.queue(unit.as_str(), operation).await {
            Ok(path) => path,
            Err(error) if operation == Operation::Stop && error.is_nothing_there() => {
                let (sender, result) = oneshot::channel();
                drop(sender.send(JobResult::Done));
                return Ok(Job { result });
            }
            Err(error) => return Err(failed(error)),
        };
        match job_id(&path) {
            Some(job) => Ok(Job { result: request.accept(job) }),
            None => Err(failed(CallError::Odd(zbus::Error::InvalidReply))),
        }
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Error> {
        let state = self.read_state(unit).await;
        let state = state.map_err(|error| error.into_error(&format!("cannot read the state of {unit}")))?;
        self.shared.followed().tracker.learn(unit, &state.load);
        Ok(state)
    }

    async fn subscribe(&self) -> Result<mpsc::Receiver<Notice>, Error> {
        Ok(self.shared.followed().subscribe())
    }

    async fn own_service(&self) -> Result<Option<OwnService>, Error> {
        self.read_own_service()
            .await
            .map_err(|error| error.into_error("cannot find the service of this process"))
    }
}
