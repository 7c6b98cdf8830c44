//! `fleet-agent install` and `fleet-agent uninstall`

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::enroll;
use super::flags::{EnrollFlags, Globals};
use super::{Failure, Outcome, bootstrap, failure, say};
use crate::agent::{audit, is_token};
use crate::control::{Ask, ControlError, ask};
use crate::enrolment;
use crate::fleet::FleetClient;
use crate::install::{self, Account, InstallError, Layout, Record, Systemctl};
use crate::state::{Identity, SavedPolicy, StateKey, secure_directory};
use crate::version;

/// Where an agent is installed without another word.
const BASE: &str = "/opt";
/// The user of an unprivileged agent, and its group.
const USER: &str = "fleet-agent";

/// Where an agent is, or is to be.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// The directory below which the programs lie
    #[arg(long, value_name = "DIR", default_value = BASE)]
    base_path: PathBuf,
    /// One of several agents of this machine, by this name
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The same as --namespace=Development
    #[arg(long)]
    develop: bool,
    /// Ask nothing
    #[arg(short = 'n', long)]
    non_interactive: bool,
}

impl Place {
    fn layout(&self) -> Result<Layout, InstallError> {
        let namespace = self.namespace.as_deref().or(self.develop.then_some("Development"));
        Layout::new(&self.base_path, namespace)
    }
}

/// Installs.
#[derive(Clone, Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    flags: EnrollFlags,
    /// Run the service as a user without privileges
    #[arg(long)]
    unprivileged: bool,
    /// That user; it is made if it is not there
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Its group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Accepted for scripts: accounts of this system need none
    #[arg(long, hide = true)]
    password: Option<String>,
    /// Accepted for scripts: there is one form of this agent
    #[arg(long, hide = true)]
    install_servers: bool,
}

pub(super) async fn install(_globals: &Globals, asked: &Install) -> Outcome {
    must_be_root("install")?;
    let layout = asked.place.layout()?;
    if Record::read(&layout.paths.home).is_some() && !asked.flags.force {
        return Err(InstallError::Installed { home: layout.paths.home }.into());
    }
    let is_enrolling = !asked.flags.url.is_empty() || asked.flags.enrollment_token.is_some();
    let own_server = bootstrap::wanted(&layout.paths, &asked.flags)?;
    let wanted = match own_server {
        None if is_enrolling => Some(enroll::wanted(&asked.flags)?),
        _ => None,
    };
    let question = format!(
        "The agent will be installed in {} and run as a service. Continue?",
        layout.paths.home.display()
    );
    if !asked.place.non_interactive && !asked.flags.force && !agreed(&question)? {
        return Err(failure("nothing was installed"));
    }
    if asked.flags.force && layout.unit.exists() {
        // It may not run.
        let _ = Systemctl.stop(&layout.service);
    }
    // Before anything else is written: without an enrolment, nothing is installed.
    if let Some(wanted) = wanted {
        if asked.flags.delay_enroll {
            enrolment::delay(&layout.paths, None, &wanted)?;
        } else {
            let identity = enrolment::enroll(&layout.paths, None, &wanted, &enroll::tell_attempt).await?;
            say(&format!("Successfully enrolled the agent: {}", identity.id));
        }
    }
    if let Some((wanted, _)) = &own_server {
        // The service does it: the server belongs to its user.
        bootstrap::prepare(&layout.paths, None, wanted)?;
    }
    let account = account(asked)?;
    put_files(&layout, account.as_ref())?;
    if let Some((_, _, account)) = &account {
        for path in [&layout.paths.home, &layout.paths.data, &layout.paths.logs] {
            install::give(path, account.uid, account.gid)?;
        }
    }
    Systemctl.reload()?;
    Systemctl.enable(&layout.service)?;
    say(&format!("The agent is installed as service {}.", layout.service));
    if let Some((wanted, server)) = own_server.filter(|_| !asked.flags.delay_enroll) {
        bootstrap::follow(&layout.paths.socket(), &wanted, &server).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The user and the group of the service, made if they are not there; `None`: root.
fn account(asked: &Install) -> Result<Option<(String, String, Account)>, InstallError> {
    if !asked.unprivileged && asked.user.is_none() {
        return Ok(None);
    }
    let user = asked.user.clone().unwrap_or_else(|| USER.to_owned());
    let group = asked.group.clone().unwrap_or_else(|| user.clone());
    let account = Account::ensure(&user, &group)?;
    Ok(Some((user, group, account)))
}

fn put_files(layout: &Layout, account: Option<&(String, String, Account)>) -> Result<(), Failure> {
    let paths = &layout.paths;
    let program = std::env::current_exe()?;
    let directory = install::add_version(paths, &program, version::current())?;
    install::turn_link(&paths.program(), &directory.join("fleet-agent"))?;
    secure_directory(&paths.data).map_err(InstallError::file("making", &paths.data))?;
    for path in [&paths.config, &paths.logs] {
        fs::create_dir_all(path).map_err(InstallError::file("making", path))?;
    }
    let record = match account {
        None => Record { service: layout.service.clone(), ..Record::default() },
        Some((user, group, account)) => Record {
            service: layout.service.clone(),
            user: user.clone(),
            group: group.clone(),
            made_user: account.is_new,
        },
    };
    for path in [&layout.unit, &layout.command] {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent).map_err(InstallError::file("making", parent))?;
    }
    install::turn_link(&layout.command, &paths.program())?;
    fs::write(&layout.unit, install::unit_file(layout, &record))
        .map_err(InstallError::file("writing", &layout.unit))?;
    // The record is last: with it, all is there.
    let file = paths.home.join(Record::FILE);
    fs::write(&file, serde_json::to_vec_pretty(&record)?).map_err(InstallError::file("writing", &file))?;
    Ok(())
}

/// Uninstalls.
#[derive(Clone, Debug, Args)]
pub(super) struct Uninstall {
    #[command(flatten)]
    place: Place,
    /// The token of a protected agent's policy
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    uninstall_token: String,
    /// Do not ask, and go on when a step fails
    #[arg(short, long)]
    force: bool,
    /// Do not tell the server
    #[arg(long)]
    skip_fleet_audit: bool,
}

pub(super) async fn uninstall(_globals: &Globals, asked: &Uninstall) -> Outcome {
    must_be_root("uninstall")?;
    let layout = asked.place.layout()?;
    let record = Record::read(&layout.paths.home);
    if record.is_none() && !asked.force {
        return Err(InstallError::NotInstalled { home: layout.paths.home }.into());
    }
    may_uninstall(&layout, &asked.uninstall_token).await?;
    let question = format!(
        "The agent in {} will be removed with all that it keeps. Continue?",
        layout.paths.home.display()
    );
    if !asked.place.non_interactive && !asked.force && !agreed(&question)? {
        return Err(failure("nothing was removed"));
    }
    if layout.unit.exists() {
        let stopped = Systemctl.disable(&layout.service);
        if !asked.force {
            stopped?;
        }
    }
    let told = if asked.skip_fleet_audit { Ok(()) } else { tell_server(&layout).await };
    if let Err(error) = told {
        say(&format!("The server was not told: {error}. It will show the agent as offline."));
    }
    let paths = &layout.paths;
    for path in [&layout.unit, &layout.command, &paths.data, &paths.logs, &paths.config, &paths.home] {
        install::remove_all(path)?;
    }
    let reloaded = Systemctl.reload();
    if !asked.force {
        reloaded?;
    }
    if let Some(record) = record.filter(|record| record.made_user)
        && let Err(error) = Account::remove(&record.user)
    {
        say(&format!("User {} is still there: {error}", record.user));
    }
    say("The agent is uninstalled.");
    Ok(ExitCode::SUCCESS)
}

/// A protected agent is removed only with its token, be it running or not.
async fn may_uninstall(layout: &Layout, token: &str) -> Result<(), Failure> {
    let asked = Ask::MayUninstall { token: token.to_owned() };
    match ask(&layout.paths.socket(), &asked).await {
        Ok(_) => return Ok(()),
        Err(ControlError::NotRunning { .. } | ControlError::Broken(_)) => {}
        Err(refused) => return Err(refused.into()),
    }
    if !layout.paths.state().exists() {
        return Ok(());
    }
    if !has_key(layout) {
        let text = "the agent does not run, and its state is sealed with a credential of its service: start it, so that it can say whether it may be removed";
        return Err(failure(text));
    }
    let store = enrolment::open_state(&layout.paths, None)?;
    let (saved, _) = store.load::<SavedPolicy>(SavedPolicy::NAME)?.split();
    let protection = saved.as_ref().and_then(|saved| saved.policy.get("agent")?.get("protection"));
    let Some(protection) = protection.filter(|protection| protection["enabled"] == true) else {
        return Ok(());
    };
    if is_token(token, protection["uninstall_token_hash"].as_str().unwrap_or_default()) {
        return Ok(());
    }
    Err(failure("this agent is protected: give the uninstall token of its policy (--uninstall-token)"))
}

/// Whether the state can be opened from here.
fn has_key(layout: &Layout) -> bool {
    StateKey::in_directory(&layout.paths.state()).is_some()
}

async fn tell_server(layout: &Layout) -> Result<(), Failure> {
    if !layout.paths.state().exists() {
        return Ok(());
    }
    if !has_key(layout) {
        return Err(failure("the agent's state is sealed with a credential of its service"));
    }
    let store = enrolment::open_state(&layout.paths, None)?;
    let (identity, _) = store.load::<Identity>(Identity::NAME)?.split();
    let Some(identity) = identity else { return Ok(()) };
    let (saved, _) = store.load::<SavedPolicy>(SavedPolicy::NAME)?.split();
    let fleet = saved.as_ref().and_then(|saved| saved.policy.get("fleet")?.as_object());
    let wanted = fleet.and_then(|fleet| identity.connection_by(fleet).ok());
    let settings = wanted.unwrap_or_else(|| identity.connection.clone());
    let client = tokio::task::spawn_blocking(move || FleetClient::new(&settings)).await??;
    audit(&client, &identity.id, &identity.access_api_key, "uninstall").await?;
    Ok(())
}

fn must_be_root(verb: &'static str) -> Result<(), InstallError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(InstallError::NotRoot(verb)) }
}

/// Asks whoever is at the terminal.
fn agreed(question: &str) -> Result<bool, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(failure("there is no terminal to ask at: give --non-interactive or --force"));
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{question} [Y/n] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes"))
}
