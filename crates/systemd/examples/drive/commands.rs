//! The commands.

use std::time::{Duration, Instant};

use fleet_cluster::documents::TargetState;
use fleet_cluster::systemd::{Notice, Operation, Record, Systemd, UnitState};
use fleet_systemd::Manager;
use fleet_unit::{UnitFile, UnitName};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;

/// Why a command failed.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// What can be said.
pub(crate) const USAGE: &str = "\
drive [--user] [--units DIRECTORY] [--records DIRECTORY] [--each] COMMAND [, COMMAND ...]
  install UNIT FILE         install UNIT with the content of FILE
  uninstall UNIT
  start|stop|restart UNIT   queue a job and tell its result
  state UNIT
  installed                 list the installed units
  record UNIT STATE COUNT   note `loaded` or `launched`, and a number of restarts
  own-job                   what systemd does with the service that this runs in
  own-job-at-term           the same when SIGTERM comes
  watch SECONDS             tell changes
  until UNIT ACTIVE         wait until UNIT is, up to 30 s
  measure COUNT             time from install to active of one unit, COUNT times
  cases [NAME ...]          the cases that a change must pass, for a machine of their own
  many COUNT [FILE]         the same for COUNT units (of FILE's content) at once, and their removal";

/// A service that starts at once and does nothing.
const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many units are worked on at once.
const AT_ONCE: usize = 64;

/// Runs one command.
pub(crate) async fn run(manager: &Manager, words: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["install", name, file] => {
            let file = UnitFile::parse(&std::fs::read_to_string(file)?)?;
            manager.install(&UnitName::parse(name)?, &file).await?;
        }
        ["uninstall", name] => manager.uninstall(&UnitName::parse(name)?).await?,
        ["start", name] => queue(manager, name, Operation::Start).await?,
        ["stop", name] => queue(manager, name, Operation::Stop).await?,
        ["restart", name] => queue(manager, name, Operation::Restart).await?,
        ["state", name] => println!("{name} {}", words_of(&manager.state(&UnitName::parse(name)?).await?)),
        ["installed"] => {
            for unit in manager.installed().await? {
                println!("{} {} {:?}", unit.name, unit.hash, unit.record);
            }
        }
        ["record", name, state, restarts] => {
            let current = TargetState::parse(state).ok_or("no such state")?;
            manager.record(&UnitName::parse(name)?, Record { current, restarts: restarts.parse()? }).await?;
        }
        ["own-job"] => {
            println!("own job: {:?}", manager.own_service().await?.and_then(|service| service.job));
        }
        ["own-job-at-term"] => {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            // Only now the service counts as started, so that no signal comes before it is caught.
            std::process::Command::new("systemd-notify").arg("--ready").status()?;
            term.recv().await;
            println!("own job: {:?}", manager.own_service().await?.and_then(|service| service.job));
        }
        ["watch", seconds] => watch(manager, Duration::from_secs(seconds.parse()?)).await?,
        ["until", name, active] => until(manager, &UnitName::parse(name)?, active).await?,
        ["measure", count] => measure(manager, count.parse()?).await?,
        ["many", count] => many(manager, count.parse()?, SLEEP).await?,
        ["many", count, file] => many(manager, count.parse()?, &std::fs::read_to_string(file)?).await?,
        _ => return Err(format!("what is {words:?}?\n{USAGE}").into()),
    }
    Ok(())
}

async fn queue(manager: &Manager, name: &str, operation: Operation) -> Result<(), Failure> {
    let job = manager.queue(&UnitName::parse(name)?, operation).await?;
    match job.result.await {
        Ok(result) => println!("{name} {operation:?} {result:?}"),
        Err(_) => println!("{name} {operation:?} unknown"),
    }
    Ok(())
}

fn words_of(state: &UnitState) -> String {
    format!("{} {} {}", state.load, state.active, state.sub)
}

async fn watch(manager: &Manager, time: Duration) -> Result<(), Failure> {
    let mut notices = manager.subscribe().await?;
    let start = Instant::now();
    while let Ok(notice) = tokio::time::timeout(time.saturating_sub(start.elapsed()), notices.recv()).await {
        match notice.ok_or("the subscription has ended")? {
            Notice::Changed { unit, state } => {
                println!("{:?} {unit} {}", start.elapsed(), words_of(&state));
            }
            Notice::Reset => println!("{:?} reset", start.elapsed()),
        }
    }
    Ok(())
}

async fn until(manager: &Manager, unit: &UnitName, active: &str) -> Result<(), Failure> {
    let mut notices = manager.subscribe().await?;
    let mut state = manager.state(unit).await?;
    let wait = async {
        while state.active != active {
            match notices.recv().await.ok_or("the subscription has ended")? {
                Notice::Changed { unit: changed, state: now } if changed == *unit => state = now,
                Notice::Changed { .. } => {}
                Notice::Reset => state = manager.state(unit).await?,
            }
        }
        Ok::<(), Failure>(())
    };
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| format!("{unit} has not become {active}"))??;
    println!("{unit} {}", words_of(&state));
    Ok(())
}

/// Waits for `count` units to become `active`.
async fn all(notices: &mut mpsc::Receiver<Notice>, count: usize, active: &str) -> Result<(), Failure> {
    let mut there = std::collections::BTreeSet::new();
    let wait = async {
        while there.len() < count {
            if let Notice::Changed { unit, state } =
                notices.recv().await.ok_or("the subscription has ended")?
                && state.active == active
            {
                there.insert(unit);
            }
        }
        Ok::<(), Failure>(())
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.map_err(|_| format!("only {} of {count} are {active}", there.len()))?
}

async fn measure(manager: &Manager, count: usize) -> Result<(), Failure> {
    let file = UnitFile::parse(SLEEP)?;
    let mut notices = manager.subscribe().await?;
    let (mut times, mut accepted) = (Vec::new(), Vec::new());
    for number in 0..count {
        let unit = UnitName::parse(&format!("measure-{number}.service"))?;
        let start = Instant::now();
        manager.install(&unit, &file).await?;
        accepted.push(start.elapsed());
        let job = manager.queue(&unit, Operation::Start).await?;
        all(&mut notices, 1, "active").await?;
        times.push(start.elapsed());
        job.result.await?;
        manager.queue(&unit, Operation::Stop).await?.result.await?;
        manager.uninstall(&unit).await?;
        while notices.try_recv().is_ok() {}
    }
    for (what, mut times) in [("install", accepted), ("active", times)] {
        times.sort_unstable();
        let at =
            |share: usize| times.get((times.len() * share / 100).min(count - 1)).copied().unwrap_or_default();
        println!("{what}: p50 {:?} p90 {:?} p99 {:?}", at(50), at(90), at(99));
    }
    Ok(())
}

async fn many(manager: &Manager, count: usize, file: &str) -> Result<(), Failure> {
    let file = UnitFile::parse(file)?;
    let mut notices = manager.subscribe().await?;
    let units = (0..count)
        .map(|number| UnitName::parse(&format!("many-{number}.service")))
        .collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let started = stream::iter(&units).map(|unit| async {
        manager.install(unit, &file).await?;
        manager.queue(unit, Operation::Start).await
    });
    let jobs: Vec<_> = started.buffer_unordered(AT_ONCE).try_collect().await?;
    println!("{count} accepted after {:?}", start.elapsed());
    all(&mut notices, count, "active").await?;
    println!("{count} active after {:?}", start.elapsed());
    drop(jobs);
    let start = Instant::now();
    let removed = stream::iter(&units).map(|unit| async {
        // Nobody waits for an answer that is lost: the unit is looked at instead.
        drop(manager.queue(unit, Operation::Stop).await?.result.await);
        manager.uninstall(unit).await
    });
    removed.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    println!("{count} gone after {:?}", start.elapsed());
    Ok(())
}
