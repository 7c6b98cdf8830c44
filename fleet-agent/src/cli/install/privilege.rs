//! `fleet-agent privileged` and `fleet-agent unprivileged`: as whom an installed agent runs.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use fleet_service::error::chain;
use tokio::time::{Instant, sleep};

use super::super::flags::Globals;
use super::super::{Failure, Outcome, failure, say};
use super::cut_off::is_as_recorded;
use super::interrupt::Interrupts;
use super::place::{Place, agreed, must_be_root};
use super::uninstall::has_server_of_root;
use super::{AsWhom, belong_to, tell_taken, write_unit};
use crate::fleet_server::documents;
use crate::install::{self, Account, InstallError, Layout, LevelChange, Record, Seized, Systemctl};
use crate::state::{Identity, StateStore};

/// An agent that was changed is looked at so often.
const LOOK: Duration = Duration::from_millis(500);
/// One that has ended by itself so often is left as it was before.
const MOST_ENDS: u32 = 3;

/// Makes it run as root.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Privileged {
    #[command(flatten)]
    place: Place,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Makes it run as a user of its own.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Unprivileged {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    as_whom: AsWhom,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Go back if the agent has not said within so many seconds that it reaches its fleet; the agent asks for this
    #[arg(long, hide = true, value_name = "SECONDS")]
    prove_within: Option<u64>,
}

pub(in crate::cli) async fn privileged(globals: &Globals, asked: &Privileged) -> Outcome {
    let (layout, record) = find(globals, &asked.place, "privileged")?;
    if !record.is_unprivileged() && is_as_recorded(&layout, &record) {
        say("The agent runs as root already.");
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("Service {} will start again as root. Continue?", layout.service);
    if !asked.force && !asked.place.non_interactive && !agreed(&question)? {
        return Err(failure("nothing was changed"));
    }
    let _interrupts = Interrupts::hear()?;
    // First, since root can go on with what is a user's (`take_back`), and its user not with what is root's.
    write_unit(&layout, &Record { service: layout.service.clone(), ..Record::default() })?;
    switch(&layout, &record, |seized| belong_to(&layout, None, (Some(&record), seized)))?;
    say(&format!("Service {} runs as root now.", layout.service));
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) async fn unprivileged(globals: &Globals, asked: &Unprivileged) -> Outcome {
    let (layout, record) = find(globals, &asked.place, "unprivileged")?;
    asked.as_whom.check(true)?;
    let wanted = asked.as_whom.names();
    let is_recorded = (record.user.as_str(), record.group.as_str()) == (&wanted.0, &wanted.1);
    if is_recorded && is_as_recorded(&layout, &record) {
        say(&format!("The agent runs as user {} already.", record.user));
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!(
        "Service {} will start again as user {}, who cannot read all that root can. Continue?",
        layout.service, wanted.0
    );
    if !asked.force && !asked.place.non_interactive && !agreed(&question)? {
        return Err(failure("nothing was changed"));
    }
    let mut interrupts = Interrupts::hear()?;
    let account = asked.as_whom.account()?;
    let (made_user, made_group) = (account.2.is_new, account.2.is_new_group);
    let (user, group) = wanted.clone();
    let made = Record { user, group, made_user, made_group, ..Record::default() };
    let switched = switch(&layout, &record, |seized| {
        take_documents(&layout, &record)?;
        if !record.is_unprivileged() {
            // What a user has named, root does not read for it.
            take_in_files(&layout)?;
        }
        belong_to(&layout, Some(account), (Some(&record), seized))
    });
    if switched.is_err() {
        // They may be gone already.
        let _ = Account::remove(&made);
    }
    switched?;
    if let Some(within) = asked.prove_within {
        prove(&layout, &record, Duration::from_secs(within), &mut interrupts).await?;
    }
    say(&format!("Service {} runs as user {} now.", layout.service, wanted.0));
    Ok(ExitCode::SUCCESS)
}

/// Waits until the agent, which was started as another user, has said that it is well, and goes back if it does not.
async fn prove(
    layout: &Layout,
    before: &Record,
    within: Duration,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    let reason = loop {
        let Some(change) = LevelChange::read(&layout.paths) else { return Ok(()) };
        let ended =
            Systemctl.property(&layout.service, "NRestarts").ok().and_then(|ended| ended.parse().ok());
        if ended.is_some_and(|ended: u32| ended >= MOST_ENDS) {
            break format!("as user {} it ended {MOST_ENDS} times before it had checked in", change.user);
        }
        if Instant::now() >= deadline {
            break format!("as user {} it did not check in in time", change.user);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            // The machine is shut down, as a rule.
            () = interrupts.come() => return Err(failure("interrupted: nobody looks whether the agent comes back")),
        }
    };
    Systemctl.stop(&layout.service)?;
    Err(go_back(layout, before, &reason))
}

fn find(globals: &Globals, place: &Place, verb: &'static str) -> Result<(Layout, Record), Failure> {
    must_be_root(verb)?;
    let (layout, record) = place.installed(globals)?;
    let record = record.ok_or_else(|| InstallError::NotInstalled { home: layout.paths.home.clone() })?;
    Ok((layout, record))
}

/// Changes an agent while it does not run. If it cannot be changed, or does not start then, it is as it was before.
fn switch(
    layout: &Layout,
    before: &Record,
    change: impl FnOnce(&Seized) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stopped = Systemctl.stop(&layout.service);
    let seized = match stopped.and_then(|()| install::seize(&layout.paths)) {
        Ok(seized) => seized,
        Err(error) => {
            // Nothing was changed. What leads elsewhere may be in the way of the agent, too.
            let _ = write_unit(layout, before);
            let _ = Systemctl.start(&layout.service);
            return Err(error.into());
        }
    };
    let done = change(&seized).and_then(|()| Ok(Systemctl.start(&layout.service)?));
    done.map_err(|error| go_back(layout, before, &chain(error.as_ref())))
}

/// Makes a stopped agent again what it was, and starts it; what to say of that.
fn go_back(layout: &Layout, before: &Record, reason: &str) -> Failure {
    // One that was started and cannot is started again and again.
    let _ = Systemctl.stop(&layout.service);
    let went_back = install::seize(&layout.paths).map_err(Failure::from).and_then(|seized| {
        if let Some(change) = LevelChange::read(&layout.paths) {
            // Without it, the agent tells its server no reason.
            let _ = LevelChange { given_up: reason.to_owned(), ..change }.write(&layout.paths);
        }
        let account =
            before.is_unprivileged().then(|| Account::ensure(&before.user, &before.group)).transpose()?;
        let account = account.map(|account| (before.user.clone(), before.group.clone(), account));
        let now = Record::read(&layout.paths.home);
        belong_to(layout, account, (now.as_ref(), &seized))
    });
    let user = if before.is_unprivileged() { before.user.as_str() } else { "root" };
    let started = went_back.and_then(|()| Ok(Systemctl.start(&layout.service)?));
    match started {
        Ok(()) => failure(format!("{reason}. Service {} runs as {user} again", layout.service)),
        Err(error) => failure(format!(
            "{reason}. Service {} cannot be made to run as {user} again: {}",
            layout.service,
            chain(error.as_ref())
        )),
    }
}

/// The agent's user may not be able to read the files that were named at the enrolment.
fn take_in_files(layout: &Layout) -> Result<(), Failure> {
    let Some(store) = StateStore::at_rest(&layout.paths.state()) else { return Ok(()) };
    let Some(mut identity) = store.peek::<Identity>(Identity::NAME)? else { return Ok(()) };
    let taken = identity.take_in_files()?;
    if !taken.is_empty() {
        store.save(Identity::NAME, &identity)?;
    }
    tell_taken(&taken);
    Ok(())
}

/// What a Fleet Server of root keeps, that of the user goes on with: it would know no agent otherwise.
fn take_documents(layout: &Layout, record: &Record) -> Result<(), Failure> {
    let (from, to) = (Path::new(documents::OF_ROOT), layout.paths.fleet_server());
    if to.exists() || !has_server_of_root(layout, Some(record)) {
        return Ok(());
    }
    std::fs::rename(from, &to).map_err(|error| {
        failure(format!(
            "the documents of the Fleet Server cannot be moved from {} to {}: {error}. Move them by hand, and repeat this",
            from.display(),
            to.display()
        ))
    })
}
