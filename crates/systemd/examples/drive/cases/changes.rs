//! Jobs and changes of states.

use std::collections::BTreeMap;

use fleet_cluster::systemd::{JobResult, Notice, Operation, Systemd};
use fleet_unit::UnitFile;
use futures_util::future::try_join_all;

use super::{PATIENCE, World, check, unit, words};
use crate::commands::Failure;

/// A failure is told, and forgotten with the unit.
pub(crate) async fn failed_unit(world: &mut World) -> Result<(), Failure> {
    world.install("a.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n").await?;
    let result = world.job("a.service", Operation::Start).await?;
    check(result == JobResult::Failed("failed".into()), format!("the job ended as {result:?}"))?;
    world.told("a.service", "loaded failed failed").await?;
    world.uninstall("a.service").await?;
    world.expect("a.service", "not-found inactive dead").await?;
    world.install("b.service", "[Service]\nExecStart=/nowhere\nExecStart=\n").await?;
    check(
        world.manager.queue(&unit("b.service")?, Operation::Start).await.is_err(),
        "a bad file was started",
    )?;
    world.expect("b.service", "bad-setting inactive dead").await?;
    world.remove(&["b.service"]).await
}

/// What others do to a unit is told too.
pub(crate) async fn changes_from_outside(world: &mut World) -> Result<(), Failure> {
    world.install("a.service", "[Service]\nExecStart=/bin/sleep 1000\n").await?;
    world.systemctl(&["start", "a.service"]).await?;
    world.told("a.service", "loaded active running").await?;
    world.systemctl(&["kill", "--signal=KILL", "a.service"]).await?;
    world.told("a.service", "loaded failed failed").await?;
    world.systemctl(&["reset-failed", "a.service"]).await?;
    world.told("a.service", "loaded inactive dead").await?;
    world.systemctl(&["start", "a.service"]).await?;
    world.told("a.service", "loaded active running").await?;
    world.systemctl(&["stop", "a.service"]).await?;
    world.told("a.service", "loaded inactive dead").await?;
    world.remove(&["a.service"]).await
}

/// Units that end as soon as they have started: the last thing told is the truth.
pub(crate) async fn quick_units(world: &mut World) -> Result<(), Failure> {
    let names: Vec<String> = (0..60).map(|number| format!("quick-{number}.service")).collect();
    let kinds = [
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
        "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    ];
    let files = names.iter().zip(kinds.iter().cycle());
    let start = async |world: &World, name: &str, content: &str| {
        world.install(name, content).await?;
        world.job(name, Operation::Start).await
    };
    try_join_all(files.map(|(name, content)| start(world, name, content))).await?;
    let mut missing = BTreeMap::new();
    for name in &names {
        missing.insert(name.clone(), world.state(name).await?);
    }
    // A unit is missing until what was told of it last is what it is.
    let mut told = BTreeMap::new();
    while !missing.is_empty() {
        let notice = tokio::time::timeout(PATIENCE, world.notices.recv()).await;
        match notice.map_err(|_| format!("told {told:?}, but never that {missing:?}"))? {
            Some(Notice::Changed { unit, state }) => drop(told.insert(unit.to_string(), words(&state))),
            other => return Err(format!("{other:?} instead of a change").into()),
        }
        missing.retain(|name, state| told.get(name) != Some(state));
    }
    for name in &names {
        world.remove(&[name]).await?;
    }
    Ok(())
}

/// systemd notes each job by a match rule on the bus, which allows 512 of them.
pub(crate) async fn more_jobs_than_match_rules(world: &mut World) -> Result<(), Failure> {
    let file = UnitFile::parse("[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n")?;
    let units =
        (0..600).map(|number| unit(&format!("slow-{number}.service"))).collect::<Result<Vec<_>, _>>()?;
    let jobs = try_join_all(units.iter().map(|unit| async {
        world.manager.install(unit, &file).await?;
        world.manager.queue(unit, Operation::Start).await
    }))
    .await?;
    let stopped = units.iter().map(|unit| async {
        world.done(unit.as_str(), Operation::Stop).await?;
        world.uninstall(unit.as_str()).await
    });
    try_join_all(stopped).await?;
    for job in jobs {
        let result = job.result.await?;
        check(result == JobResult::Canceled, format!("a start ended as {result:?}"))?;
    }
    Ok(())
}

/// A service finds out what systemd is about to do with it.
pub(crate) async fn own_job(world: &mut World) -> Result<(), Failure> {
    check(world.manager.own_service().await?.is_none(), "this is no service")?;
    let told = world.directory.join("own-job");
    let program = std::env::current_exe()?;
    let flag = if world.user { "--user" } else { "--each" };
    let content = format!(
        "[Service]\nType=notify\nNotifyAccess=all\nStandardOutput=truncate:{}\n\
         ExecStart={} {flag} --units {own}/units \
         --records {own}/records own-job-at-term\n",
        told.display(),
        program.display(),
        own = world.directory.join("own").display(),
    );
    world.install("own.service", &content).await?;
    for (operation, wanted) in [(Operation::Restart, "Some(Restart)"), (Operation::Stop, "Some(Stop)")] {
        world.done("own.service", Operation::Start).await?;
        // After a restart the file is a new one, so the old one is kept by a name of its own.
        let kept = told.with_extension("kept");
        std::fs::hard_link(&told, &kept)?;
        std::fs::remove_file(&told)?;
        world.done("own.service", operation).await?;
        let says = std::fs::read_to_string(&kept)?;
        std::fs::remove_file(&kept)?;
        check(says.contains(wanted), format!("{operation:?} is seen as {says:?}"))?;
    }
    world.done("own.service", Operation::Start).await?;
    world.forget();
    world.systemctl(&["kill", "--kill-whom=main", "--signal=TERM", "own.service"]).await?;
    world.told("own.service", "loaded inactive dead").await?;
    let says = std::fs::read_to_string(&told)?;
    check(says.contains("None"), format!("no job is seen as {says:?}"))?;
    world.remove(&["own.service"]).await
}
