//! Cases on a real systemd, for a machine that may be thrown away.
//!
//! Each case starts with a manager of its own on empty directories, and ends with nothing left of its units.

mod changes;
mod connection;
mod files;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_cluster::systemd::{JobResult, Notice, Operation, Systemd, UnitState};
use fleet_systemd::{Manager, Options};
use fleet_unit::{UnitFile, UnitName};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use zbus::{MatchRule, MessageStream};

use crate::commands::Failure;

/// A case.
type Case = fn(&mut World) -> LocalBoxFuture<'_, Result<(), Failure>>;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The cases, by name.
const CASES: [(&str, Case); 15] = [
    ("service_flow", |world| files::service_flow(world).boxed_local()),
    ("install_section", |world| files::install_section(world).boxed_local()),
    ("install_section_is_replaced", |world| files::install_section_is_replaced(world).boxed_local()),
    ("install_that_is_refused", |world| files::install_that_is_refused(world).boxed_local()),
    ("unit_that_others_refer_to", |world| files::unit_that_others_refer_to(world).boxed_local()),
    ("unit_that_was_awaited", |world| files::unit_that_was_awaited(world).boxed_local()),
    ("reloads_are_shared", |world| files::reloads_are_shared(world).boxed_local()),
    ("every_type", |world| files::every_type(world).boxed_local()),
    ("failed_unit", |world| changes::failed_unit(world).boxed_local()),
    ("changes_from_outside", |world| changes::changes_from_outside(world).boxed_local()),
    ("quick_units", |world| changes::quick_units(world).boxed_local()),
    ("more_jobs_than_match_rules", |world| changes::more_jobs_than_match_rules(world).boxed_local()),
    ("own_job", |world| changes::own_job(world).boxed_local()),
    ("systemd_executes_itself_again", |world| connection::systemd_executes_itself_again(world).boxed_local()),
    ("message_bus_restarts", |world| connection::message_bus_restarts(world).boxed_local()),
];

/// Runs the cases of these names, or all.
pub(crate) async fn run(names: &[&str], user: bool) -> Result<(), Failure> {
    let mut failed = 0;
    for (name, case) in CASES {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let start = Instant::now();
        match run_one(case, user).await {
            Ok(()) => println!("ok {name} {:?}", start.elapsed()),
            Err(error) => {
                failed += 1;
                println!("FAILED {name}: {error}");
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} cases have failed").into()) }
}

async fn run_one(case: Case, user: bool) -> Result<(), Failure> {
    let mut world = World::new(user).await?;
    let outcome = match case(&mut world).await {
        Ok(()) => world.check_that_nothing_is_left().await,
        failed => failed,
    };
    if outcome.is_err() {
        world.clear().await;
    }
    outcome
}

/// Fails unless `holds`.
pub(crate) fn check(holds: bool, what: impl Display) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(what.to_string().into()) }
}

/// The unit of this name.
pub(crate) fn unit(name: &str) -> Result<UnitName, Failure> {
    Ok(UnitName::parse(name)?)
}

/// A manager, what it tells, and how often systemd has reloaded.
pub(crate) struct World {
    pub(crate) manager: Manager,
    pub(crate) notices: mpsc::Receiver<Notice>,
    reloads: MessageStream,
    pub(crate) user: bool,
    /// Where the cases keep their files.
    pub(crate) directory: PathBuf,
    /// Where systemd keeps its links.
    links: PathBuf,
}

impl World {
    async fn new(user: bool) -> Result<World, Failure> {
        let runtime = if user { std::env::var("XDG_RUNTIME_DIR")? } else { "/run".to_owned() };
        let directory = Path::new(&runtime).join("fleet-systemd-cases");
        let units_directory = directory.join("units");
        let records_directory = directory.join("records");
        let options = Options { units_directory, records_directory, user };
        let manager = Manager::connect(options).await?;
        let notices = manager.subscribe().await?;
        let connection =
            if user { zbus::Connection::session().await? } else { zbus::Connection::system().await? };
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.freedesktop.systemd1.Manager")
            .member("Reloading")
            .build()?;
        let reloads = MessageStream::for_match_rule(rule, &connection, None).await?;
        let links = Path::new(&runtime).join(if user { "systemd/user" } else { "systemd/system" });
        Ok(World { manager, notices, reloads, user, directory, links })
    }

    /// Installs a unit.
    pub(crate) async fn install(&self, name: &str, content: &str) -> Result<(), Failure> {
        Ok(self.manager.install(&unit(name)?, &UnitFile::parse(content)?).await?)
    }

    /// Uninstalls a unit.
    pub(crate) async fn uninstall(&self, name: &str) -> Result<(), Failure> {
        Ok(self.manager.uninstall(&unit(name)?).await?)
    }

    /// Queues a job and waits for its result.
    pub(crate) async fn job(&self, name: &str, operation: Operation) -> Result<JobResult, Failure> {
        let job = self.manager.queue(&unit(name)?, operation).await?;
        Ok(tokio::time::timeout(PATIENCE, job.result).await.map_err(|_| "a job does not end")??)
    }

    /// Queues a job, which must succeed.
    pub(crate) async fn done(&self, name: &str, operation: Operation) -> Result<(), Failure> {
        let result = self.job(name, operation).await?;
        check(result == JobResult::Done, format!("{operation:?} of {name} ended as {result:?}"))
    }

    /// Stops and uninstalls units.
    pub(crate) async fn remove(&self, names: &[&str]) -> Result<(), Failure> {
        for name in names {
            self.done(name, Operation::Stop).await?;
            self.uninstall(name).await?;
        }
        Ok(())
    }

    /// The three words of a unit.
    pub(crate) async fn state(&self, name: &str) -> Result<String, Failure> {
        Ok(words(&self.manager.state(&unit(name)?).await?))
    }

    /// Fails unless the three words of a unit are these.
    pub(crate) async fn expect(&self, name: &str, wanted: &str) -> Result<(), Failure> {
        let state = self.state(name).await?;
        check(state == wanted, format!("{name} is {state:?}, not {wanted:?}"))
    }

    /// Drops what was told and not looked at.
    pub(crate) fn forget(&mut self) {
        while self.notices.try_recv().is_ok() {}
    }

    /// Waits for the notice that a unit is so; fails on a reset.
    pub(crate) async fn told(&mut self, name: &str, wanted: &str) -> Result<(), Failure> {
        let mut seen = Vec::new();
        let waiting = async {
            loop {
                match self.notices.recv().await {
                    Some(Notice::Changed { unit, state }) if unit.as_str() == name => {
                        if words(&state) == wanted {
                            return Ok(());
                        }
                        seen.push(words(&state));
                    }
                    Some(Notice::Changed { .. }) => {}
                    other => return Err(Failure::from(format!("{other:?} instead of a change"))),
                }
            }
        };
        let told = tokio::time::timeout(PATIENCE, waiting).await;
        told.map_err(|_| format!("not told that {name} is {wanted:?}, only {seen:?}"))?
    }

    /// Waits for a reset.
    pub(crate) async fn told_reset(&mut self) -> Result<(), Failure> {
        let waiting = async {
            while let Some(notice) = self.notices.recv().await {
                if notice == Notice::Reset {
                    return Ok(());
                }
            }
            Err("the subscription has ended")
        };
        Ok(tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| "no reset was told")??)
    }

    /// How often systemd has reloaded since this was asked last.
    pub(crate) async fn reloads(&mut self) -> Result<usize, Failure> {
        // An answer comes after every signal before it.
        let connection = zbus::Connection::from(&self.reloads);
        let (bus, path) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        let peer = Some("org.freedesktop.DBus.Peer");
        connection.call_method(Some(bus), path, peer, "Ping", &()).await?;
        let mut count = 0;
        while let Some(Some(message)) = self.reloads.next().now_or_never() {
            if message?.body().deserialize::<bool>()? {
                count += 1;
            }
        }
        Ok(count)
    }

    /// A property of a unit that systemd has loaded.
    pub(crate) async fn property(&self, name: &str, property: &str) -> Result<String, Failure> {
        self.systemctl(&["show", "--value", "--property", property, name]).await
    }

    /// Another program that works on the same systemd.
    pub(crate) async fn systemctl(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = std::process::Command::new("systemctl");
        if self.user {
            command.arg("--user");
        }
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        check(output.status.success(), format!("systemctl {arguments:?}: {output:?}"))?;
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Removes what a failed case may have left, as far as that can be done.
    async fn clear(&self) {
        for installed in self.manager.installed().await.unwrap_or_default() {
            if let Ok(job) = self.manager.queue(&installed.name, Operation::Stop).await {
                drop(tokio::time::timeout(PATIENCE, job.result).await);
            }
            drop(self.manager.uninstall(&installed.name).await);
        }
    }

    async fn check_that_nothing_is_left(&self) -> Result<(), Failure> {
        let installed = self.manager.installed().await?;
        check(installed.is_empty(), format!("left installed: {installed:?}"))?;
        let mut links = BTreeSet::new();
        collect_links(&self.links, &self.directory, &mut links)?;
        check(links.is_empty(), format!("left behind: {links:?}"))
    }
}

/// A state in three words.
pub(crate) fn words(state: &UnitState) -> String {
    format!("{} {} {}", state.load, state.active, state.sub)
}

/// Links below `directory` to files below `targets`.
fn collect_links(directory: &Path, targets: &Path, links: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let metadata = std::fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            collect_links(&path, targets, links)?;
        } else if metadata.is_symlink() && std::fs::read_link(&path)?.starts_with(targets) {
            links.insert(path);
        }
    }
    Ok(())
}
