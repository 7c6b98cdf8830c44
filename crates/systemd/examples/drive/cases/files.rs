//! Unit files, links and reloads.

use fleet_cluster::documents::TargetState;
use fleet_cluster::systemd::{JobResult, Operation, Record, Systemd};
use fleet_unit::UnitFile;
use futures_util::future::try_join_all;

use super::{World, check, unit};
use crate::commands::Failure;

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
const HELLO: &str = "[Unit]\nDescription=Hello\n[Service]\nExecStart=/bin/sleep 1000\n";
const DISCOVERY: &str = "[Unit]\nBindsTo=hello.service\nAfter=hello.service\n\
    [Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=hello.service\n";

/// Every step in the life of a service, without a single reload.
pub(crate) async fn service_flow(world: &mut World) -> Result<(), Failure> {
    world.install("a.service", SLEEP).await?;
    world.expect("a.service", "loaded inactive dead").await?;
    let record = Record { current: TargetState::Launched, restarts: 1 };
    world.manager.record(&unit("a.service")?, record).await?;
    let installed = world.manager.installed().await?;
    let known = installed.iter().map(|unit| (unit.name.to_string(), unit.hash, unit.record));
    let wanted = [("a.service".to_owned(), UnitFile::parse(SLEEP)?.hash(), Some(record))];
    check(known.eq(wanted), format!("installed: {installed:?}"))?;
    world.done("a.service", Operation::Start).await?;
    world.told("a.service", "loaded active running").await?;
    world.expect("a.service", "loaded active running").await?;
    let before = world.property("a.service", "MainPID").await?;
    world.done("a.service", Operation::Start).await?;
    check(world.property("a.service", "MainPID").await? == before, "a second start starts nothing")?;
    world.done("a.service", Operation::Restart).await?;
    world.told("a.service", "loaded active running").await?;
    check(world.property("a.service", "MainPID").await? != before, "a restart starts it anew")?;
    world.done("a.service", Operation::Stop).await?;
    world.told("a.service", "loaded inactive dead").await?;
    world.uninstall("a.service").await?;
    world.expect("a.service", "not-found inactive dead").await?;
    check(world.manager.queue(&unit("a.service")?, Operation::Start).await.is_err(), "it is gone")?;
    world.done("a.service", Operation::Stop).await?;
    world.uninstall("a.service").await?;
    check(world.reloads().await? == 0, "systemd has reloaded")
}

/// A unit that is wanted by and bound to another one follows it, in whichever order they come.
pub(crate) async fn install_section(world: &mut World) -> Result<(), Failure> {
    for order in [["hello.service", "discovery.service"], ["discovery.service", "hello.service"]] {
        for name in order {
            let content = if name == "hello.service" { HELLO } else { DISCOVERY };
            world.install(name, content).await?;
        }
        world.expect("discovery.service", "loaded inactive dead").await?;
        world.done("hello.service", Operation::Start).await?;
        world.told("discovery.service", "loaded active running").await?;
        world.done("hello.service", Operation::Stop).await?;
        world.told("discovery.service", "loaded inactive dead").await?;
        world.remove(&order).await?;
    }
    check(world.reloads().await? == 4, "one reload for each change of the links")
}

/// A new file without the `[Install]` section of the old one leaves none of its links.
pub(crate) async fn install_section_is_replaced(world: &mut World) -> Result<(), Failure> {
    world.install("hello.service", HELLO).await?;
    world.install("discovery.service", DISCOVERY).await?;
    let (plain, _) = DISCOVERY.split_once("[Install]").ok_or("no such section")?;
    world.install("discovery.service", plain).await?;
    world.done("hello.service", Operation::Start).await?;
    world.expect("discovery.service", "loaded inactive dead").await?;
    world.remove(&["discovery.service", "hello.service"]).await
}

/// What systemd does not take leaves nothing behind and says why.
pub(crate) async fn install_that_is_refused(world: &mut World) -> Result<(), Failure> {
    let bad = format!("{SLEEP}[Install]\nAlias=other.target\n");
    let error = match world.install("a.service", &bad).await {
        Ok(()) => return Err("an alias of another type was accepted".into()),
        Err(error) => error.to_string(),
    };
    check(error.starts_with("cannot install a.service: "), format!("the error is {error:?}"))?;
    world.expect("a.service", "not-found inactive dead").await?;
    for name in ["a.busname", "a.snapshot"] {
        check(world.install(name, "[Unit]\nDescription=x\n").await.is_err(), format!("{name} was accepted"))?;
        world.remove(&[name]).await?;
    }
    check(world.reloads().await? == 0, "systemd has reloaded")
}

/// A unit stays in systemd's memory as long as others refer to it: what is removed or replaced must not be
/// started from there.
pub(crate) async fn unit_that_others_refer_to(world: &mut World) -> Result<(), Failure> {
    world.install("a.service", &format!("[Unit]\nDescription=first\n{SLEEP}")).await?;
    world.install("b.service", &format!("[Unit]\nWants=a.service\n{SLEEP}")).await?;
    world.done("b.service", Operation::Start).await?;
    world.told("a.service", "loaded active running").await?;
    world.done("a.service", Operation::Stop).await?;
    world.install("a.service", &format!("[Unit]\nDescription=second\n{SLEEP}")).await?;
    world.done("a.service", Operation::Start).await?;
    let description = world.property("a.service", "Description").await?;
    check(description == "second", format!("it runs the {description} file"))?;
    world.done("a.service", Operation::Stop).await?;
    world.uninstall("a.service").await?;
    world.expect("a.service", "not-found inactive dead").await?;
    check(
        world.manager.queue(&unit("a.service")?, Operation::Start).await.is_err(),
        "it was started from memory",
    )?;
    world.install("a.service", &format!("[Unit]\nDescription=third\n{SLEEP}")).await?;
    world.done("a.service", Operation::Start).await?;
    let description = world.property("a.service", "Description").await?;
    check(description == "third", format!("it runs the {description} file"))?;
    world.remove(&["a.service", "b.service"]).await
}

/// A unit whose name systemd knew before there was a file.
pub(crate) async fn unit_that_was_awaited(world: &mut World) -> Result<(), Failure> {
    world.install("b.service", &format!("[Unit]\nWants=a.service\nAfter=a.service\n{SLEEP}")).await?;
    world.done("b.service", Operation::Start).await?;
    world.install("a.service", SLEEP).await?;
    world.expect("a.service", "loaded inactive dead").await?;
    world.done("a.service", Operation::Start).await?;
    world.told("a.service", "loaded active running").await?;
    check(world.reloads().await? == 0, "systemd has reloaded, though it looks for the file by itself")?;
    world.remove(&["b.service", "a.service"]).await
}

/// Many who need a reload at once need few reloads.
pub(crate) async fn reloads_are_shared(world: &mut World) -> Result<(), Failure> {
    let names: Vec<String> = (0..40).map(|number| format!("wanted-{number}.service")).collect();
    let content = format!("{SLEEP}[Install]\nWantedBy=all.target\n");
    world.install("all.target", "[Unit]\nDescription=x\n").await?;
    try_join_all(names.iter().map(|name| world.install(name, &content))).await?;
    let reloads = world.reloads().await?;
    check((1..=5).contains(&reloads), format!("{reloads} reloads for 40 units"))?;
    world.done("all.target", Operation::Start).await?;
    for name in &names {
        // The target does not wait for what it merely wants.
        world.done(name, Operation::Start).await?;
        world.expect(name, "loaded active running").await?;
    }
    try_join_all(names.iter().map(|name| world.job(name, Operation::Stop))).await?;
    try_join_all(names.iter().map(|name| world.uninstall(name))).await?;
    let reloads = world.reloads().await?;
    check((1..=10).contains(&reloads), format!("{reloads} reloads for the removal of 40 units"))?;
    world.remove(&["all.target"]).await
}

/// Every type of unit can be installed, started or not with a reason, stopped and removed.
pub(crate) async fn every_type(world: &mut World) -> Result<(), Failure> {
    let mounted = (!world.user).then_some("active mounted");
    let socket = format!("[Socket]\nListenStream={}\n", world.directory.join("t.sock").display());
    let types = [
        ("mnt-fleet.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt/fleet\nType=tmpfs\n", mounted),
        ("t.path", "[Path]\nPathExists=/nowhere\n", Some("active waiting")),
        ("t.slice", "[Slice]\nCPUWeight=100\n", Some("active active")),
        ("t.socket", &socket, Some("active listening")),
        ("t.target", "[Unit]\nDescription=x\n", Some("active active")),
        ("t.timer", "[Timer]\nOnActiveSec=1000\n", Some("active waiting")),
        // What becomes of these depends on the kernel, on rights, and on whether this is a container.
        ("mnt-fleet.automount", "[Automount]\nWhere=/mnt/fleet\n", None),
        ("nofile.swap", "[Swap]\nWhat=/nofile\n", None),
        ("t.device", "[Unit]\nJobRunningTimeoutSec=1\n", None),
        ("t.scope", "[Scope]\nTimeoutStopSec=1\n", None),
    ];
    // Sockets, paths and timers need a unit to start.
    world.install("t.service", SLEEP).await?;
    for (name, content, wanted) in types {
        world.install(name, content).await?;
        let started = world.manager.queue(&unit(name)?, Operation::Start).await;
        let outcome = match started {
            Ok(job) => format!("{:?}", job.result.await?),
            Err(error) => error.to_string(),
        };
        match wanted {
            Some(wanted) => world.expect(name, &format!("loaded {wanted}")).await?,
            None => check(outcome.len() > 2, format!("{name} says nothing"))?,
        }
        let result = world.job(name, Operation::Stop).await?;
        check(result == JobResult::Done, format!("{name} cannot be stopped: {result:?}"))?;
        world.uninstall(name).await?;
    }
    world.remove(&["t.service"]).await
}
