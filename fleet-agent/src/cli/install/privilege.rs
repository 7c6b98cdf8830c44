//! `fleet-agent privileged` and `fleet-agent unprivileged`: as whom an installed agent runs.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::super::flags::Globals;
use super::super::{Failure, Outcome, failure, say};
use super::place::{Place, agreed, must_be_root};
use super::uninstall::has_server_of_root;
use super::{AsWhom, belong_to, tell_taken};
use crate::fleet_server::documents;
use crate::install::{InstallError, Layout, Record, Systemctl};
use crate::state::{Identity, StateStore};

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
}

pub(in crate::cli) async fn privileged(globals: &Globals, asked: &Privileged) -> Outcome {
    let (layout, record) = find(globals, &asked.place, "privileged")?;
    if !record.is_unprivileged() {
        say("The agent runs as root already.");
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("Service {} will start again as root. Continue?", layout.service);
    if !asked.force && !asked.place.non_interactive && !agreed(&question)? {
        return Err(failure("nothing was changed"));
    }
    switch(&layout, || belong_to(&layout, None, Some(&record)))?;
    say(&format!("Service {} runs as root now.", layout.service));
    Ok(ExitCode::SUCCESS)
}

pub(in crate::cli) async fn unprivileged(globals: &Globals, asked: &Unprivileged) -> Outcome {
    let (layout, record) = find(globals, &asked.place, "unprivileged")?;
    asked.as_whom.check(true)?;
    let wanted = asked.as_whom.names();
    if record.is_unprivileged() && (record.user.as_str(), record.group.as_str()) == (&wanted.0, &wanted.1) {
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
    let account = asked.as_whom.account()?;
    switch(&layout, || {
        take_documents(&layout, &record)?;
        take_in_files(&layout)?;
        belong_to(&layout, Some(account), Some(&record))
    })?;
    say(&format!("Service {} runs as user {} now.", layout.service, wanted.0));
    Ok(ExitCode::SUCCESS)
}

fn find(globals: &Globals, place: &Place, verb: &'static str) -> Result<(Layout, Record), Failure> {
    must_be_root(verb)?;
    let (layout, record) = place.installed(globals)?;
    let record = record.ok_or_else(|| InstallError::NotInstalled { home: layout.paths.home.clone() })?;
    Ok((layout, record))
}

/// Changes an agent while it does not run. It is started again whatever comes of that.
fn switch(layout: &Layout, change: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    Systemctl.stop(&layout.service)?;
    let changed = change();
    let started = Systemctl.start(&layout.service);
    changed?;
    Ok(started?)
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
