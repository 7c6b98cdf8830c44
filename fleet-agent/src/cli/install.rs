//! `fleet-agent install`, and what changes an agent that is installed: `uninstall`, `privileged`, `unprivileged`.

mod cut_off;
mod interrupt;
mod place;
mod privilege;
mod uninstall;

use std::fs;
use std::process::ExitCode;

use clap::Args;

use super::enroll;
use super::flags::{EnrollFlags, Globals};
use super::{Failure, Outcome, bootstrap, failure, say};
use crate::enrolment::{self, Wanted};
use crate::fleet_server::BootstrapError;
use crate::install::{self, Account, InstallError, Layout, Record, Seized, Systemctl};
use crate::standalone;
use crate::state::replace_with_mode;
use crate::version;
use interrupt::Interrupts;
use place::{Place, agreed, must_be_root};

pub(super) use cut_off::take_back;
pub(super) use privilege::{Privileged, Unprivileged, privileged, unprivileged};
pub(super) use uninstall::{Uninstall, uninstall};

/// The user of an unprivileged agent, and its group.
const USER: &str = "fleet-agent";
/// All may read what is installed: without it `fleet-agent status` would not find the agent.
const RECORD_MODE: u32 = 0o644;
/// As all unit files.
const UNIT_MODE: u32 = 0o644;

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
    #[command(flatten)]
    as_whom: AsWhom,
    /// Accepted for scripts: there is one form of this agent
    #[arg(long, hide = true)]
    install_servers: bool,
}

impl Install {
    fn is_unprivileged(&self) -> bool {
        self.unprivileged || self.as_whom.user.is_some()
    }
}

pub(super) async fn install(globals: &Globals, asked: &Install) -> Outcome {
    must_be_root("install")?;
    let layout = asked.place.layout(globals)?;
    let before = Record::read(&layout.paths.home);
    if before.is_some() && !asked.flags.force {
        return Err(InstallError::Installed { home: layout.paths.home }.into());
    }
    asked.as_whom.check(asked.unprivileged)?;
    let is_enrolling = !asked.flags.url.is_empty() || asked.flags.enrollment_token.is_some();
    let mut own_server = bootstrap::wanted(&layout.paths, &asked.flags)?;
    let mut wanted = match own_server {
        None if is_enrolling => Some(enroll::wanted(&asked.flags)?),
        Some(_) if !bootstrap::has_component(&layout.paths) => return Err(BootstrapError::NoComponent.into()),
        _ => None,
    };
    Systemctl.check()?;
    let question = format!(
        "The agent will be installed in {} and run as a service. Continue?",
        layout.paths.home.display()
    );
    if !asked.place.non_interactive && !asked.flags.force && !agreed(&question)? {
        return Err(failure("nothing was installed"));
    }
    let is_enrolled = wanted.is_some() || own_server.is_some();
    if asked.is_unprivileged()
        && let Some(wanted) = wanted.as_mut().or(own_server.as_mut().map(|(wanted, _)| wanted))
    {
        tell_taken(&wanted.take_in_files()?);
    }
    let own_wanted = own_server.as_ref().map(|(wanted, _)| wanted);
    let mut interrupts = Interrupts::hear()?;
    put_in(&layout, asked, before.as_ref(), (wanted, own_wanted), &mut interrupts).await?;
    Systemctl.enable(&layout.service)?;
    say(&format!("The agent is installed as service {}.", layout.service));
    if !is_enrolled && before.is_none() {
        let file = &layout.paths.config_file;
        if matches!(standalone::policy(file, 1), Ok(Some(_))) {
            say(&format!("It belongs to no fleet: it does what {} says.", file.display()));
        } else {
            say("It is not enrolled yet: run fleet-agent enroll.");
        }
    }
    if let Some((wanted, server)) = own_server.filter(|_| !asked.flags.delay_enroll) {
        let socket = layout.paths.socket();
        tokio::select! {
            followed = bootstrap::follow(&socket, &wanted, &server) => followed?,
            () = interrupts.come() => return Err(failure("interrupted: the service goes on by itself")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Enrols, and puts the files in. An agent that is there already is stopped for that, and goes on as it was if it fails.
async fn put_in(
    layout: &Layout,
    asked: &Install,
    before: Option<&Record>,
    wanted: (Option<Wanted>, Option<&Wanted>),
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let was_running = layout.unit.exists() && Systemctl.is_active(&layout.service);
    if was_running {
        // Whoever interrupts this may end what stops it, too.
        let _ = Systemctl.stop(&layout.service);
    }
    let put = match install::seize(&layout.paths) {
        Err(error) => Err(error.into()),
        Ok(seized) => {
            let put = tokio::select! {
                biased;
                put = put_into_own(layout, asked, (before, &seized), wanted) => put,
                // It waits for its server, and nothing was put in yet.
                () = interrupts.come() => Err(failure("interrupted: nothing was installed")),
            };
            if put.is_err() {
                // The first failure is what is told.
                let _ = seized.give_back();
            }
            put
        }
    };
    if put.is_err() && was_running {
        let _ = Systemctl.start(&layout.service);
    }
    put
}

/// The same where all that is there is root's.
async fn put_into_own(
    layout: &Layout,
    asked: &Install,
    before: (Option<&Record>, &Seized),
    (wanted, own_server): (Option<Wanted>, Option<&Wanted>),
) -> Result<(), Failure> {
    // Before anything else is written: without an enrolment, nothing is installed.
    if let Some(wanted) = wanted {
        if asked.flags.delay_enroll {
            enrolment::delay(&layout.paths, None, &wanted)?;
        } else {
            let identity =
                enrolment::enroll(&layout.paths, None, &wanted, &enroll::tell_attempts(wanted.within))
                    .await?;
            say(&format!("Successfully enrolled the agent: {}", identity.id));
        }
    }
    if let Some(wanted) = own_server {
        // The service does it: the server belongs to its user.
        bootstrap::prepare(&layout.paths, None, wanted)?;
    }
    put_files(layout)?;
    let account = asked.is_unprivileged().then(|| asked.as_whom.account()).transpose()?;
    belong_to(layout, account, before)
}

/// Says that files were taken in.
pub(super) fn tell_taken(files: &[String]) {
    if !files.is_empty() {
        let files = files.join(", ");
        say(&format!(
            "The agent keeps the content of {files}, which its user may not be able to read. When they change, enroll it again."
        ));
    }
}

/// As whom an unprivileged agent runs.
#[derive(Clone, Debug, Args)]
struct AsWhom {
    /// The user of an unprivileged agent; it is made if it is not there [default: fleet-agent]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Its group, whose members may look at the agent [default: called as the user]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Accepted for scripts: accounts of this system need none
    #[arg(long, hide = true)]
    password: Option<String>,
}

impl AsWhom {
    fn check(&self, is_unprivileged: bool) -> Result<(), Failure> {
        if self.group.is_some() && self.user.is_none() && !is_unprivileged {
            return Err(failure("--group is the group of an unprivileged agent: give --unprivileged, too"));
        }
        if self.user.as_deref() == Some("root") {
            return Err(failure(
                "--user root is an agent with privileges: leave --user and --unprivileged out",
            ));
        }
        Ok(())
    }

    /// The names of the user and the group.
    fn names(&self) -> (String, String) {
        let user = self.user.clone().unwrap_or_else(|| USER.to_owned());
        let group = self.group.clone().unwrap_or_else(|| user.clone());
        (user, group)
    }

    /// The user and the group, made if they are not there.
    fn account(&self) -> Result<(String, String, Account), InstallError> {
        let (user, group) = self.names();
        let account = Account::ensure(&user, &group)?;
        Ok((user, group, account))
    }
}

/// Puts the programs in, and the link that people call.
fn put_files(layout: &Layout) -> Result<(), Failure> {
    let paths = &layout.paths;
    let program = std::env::current_exe()?;
    let directory = install::add_version(paths, &program, version::current())?;
    install::turn_link(&paths.program(), &directory.join("fleet-agent"))?;
    for path in [&paths.config, &paths.logs] {
        fs::create_dir_all(path).map_err(InstallError::file("making", path))?;
    }
    for path in [&layout.unit, &layout.command] {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent).map_err(InstallError::file("making", parent))?;
    }
    if layout.command.symlink_metadata().is_ok_and(|there| !there.is_symlink()) {
        let (there, program) = (layout.command.display(), paths.program());
        say(&format!(
            "{there} is another program, and stays: this agent's command is {}.",
            program.display()
        ));
        return Ok(());
    }
    install::turn_link(&layout.command, &paths.program())?;
    Ok(())
}

/// Makes an agent that does not run belong to a user (`None`: root): its files, its unit, and what is known of it.
/// `before`: to whom it did, and what root has taken of that.
fn belong_to(
    layout: &Layout,
    account: Option<(String, String, Account)>,
    (before, seized): (Option<&Record>, &Seized),
) -> Result<(), Failure> {
    let paths = &layout.paths;
    let before = before.filter(|before| before.is_unprivileged());
    let service = layout.service.clone();
    let (record, uid, gid) = match account {
        None => (Record { service, ..Record::default() }, 0, 0),
        Some((user, group, account)) => {
            // What was made for the agent before is still its own.
            let made_user =
                account.is_new || before.is_some_and(|before| before.made_user && before.user == user);
            let made_group = account.is_new_group
                || before.is_some_and(|before| before.made_group && before.group == group);
            (Record { service, user, group, made_user, made_group }, account.uid, account.gid)
        }
    };
    let owner = seized.owner_of(&paths.home);
    let leaving = before.filter(|before| install::owns(before, owner)).map(|before| before.without(&record));
    let file = paths.home.join(Record::FILE);
    replace_with_mode(&file, &serde_json::to_vec_pretty(&record)?, RECORD_MODE)
        .map_err(InstallError::file("writing", &file))?;
    install::secure_data(paths).map_err(InstallError::file("making", &paths.data))?;
    // If the machine dies in between, an agent of root takes all back when it starts (`take_back`); one of a user could not
    // go on with what is root's.
    if !record.is_unprivileged() {
        write_unit(layout, &record)?;
    }
    if record.is_unprivileged() || before.is_some() {
        // The home last: it has the program, which is root's to run as long as the unit says so.
        for path in [&paths.data, &paths.logs, &paths.home] {
            install::give(path, uid, gid)?;
        }
    }
    if record.is_unprivileged() {
        write_unit(layout, &record)?;
    }
    Systemctl.reload()?;
    if let Some(leaving) = leaving
        && let Err(error) = Account::remove(&leaving)
    {
        say(&format!("User {} or group {} is still there: {error}", leaving.user, leaving.group));
    }
    Ok(())
}

fn write_unit(layout: &Layout, record: &Record) -> Result<(), InstallError> {
    replace_with_mode(&layout.unit, install::unit_file(layout, record).as_bytes(), UNIT_MODE)
        .map_err(InstallError::file("writing", &layout.unit))
}
