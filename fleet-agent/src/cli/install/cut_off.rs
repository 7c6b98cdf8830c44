//! A change of the user of an agent that was cut off: the machine died, or what made the change was killed.

use rustix::process::geteuid;

use super::super::{Failure, failure};
use super::belong_to;
use crate::install::{self, Account, Layout, Record, Systemctl};
use crate::paths::Paths;

/// Whether the agent is what its record says, which is written before all is so.
pub(super) fn is_as_recorded(layout: &Layout, record: &Record) -> bool {
    let user = if record.is_unprivileged() { Account::id_of(&record.user).ok() } else { Some(0) };
    let paths = &layout.paths;
    let is_owner = [&paths.home, &paths.data, &paths.logs]
        .into_iter()
        .all(|path| !path.exists() || user == Some(install::owner(path).0));
    is_owner && install::user_of_unit(&layout.unit).as_ref() == Some(&record.user)
}

/// An agent that is started as root makes what is a user's root's again, if its unit says that it is root: only root
/// writes units. By hand, root does not run what belongs to a user.
pub(in crate::cli) fn take_back(paths: &Paths) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let Some(record) = Record::read(&paths.home) else { return Ok(()) };
    let is_users = install::owner(&paths.home).0 != 0;
    if !is_users && !record.is_unprivileged() {
        return Ok(());
    }
    let installed = Layout::installed(&paths.home).map(|(layout, _)| layout).filter(is_service);
    let Some(layout) = installed else {
        return if is_users { Err(belongs_to_user(paths)) } else { Ok(()) };
    };
    if install::user_of_unit(&layout.unit).is_none_or(|user| !user.is_empty()) {
        // systemd does not know yet what the unit says.
        Systemctl.reload()?;
        return Err(belongs_to_user(paths));
    }
    let seized = install::seize(paths)?;
    belong_to(&layout, None, (Some(&record), &seized))
}

/// Whether this process is the agent's service.
fn is_service(layout: &Layout) -> bool {
    let main = Systemctl.property(&layout.service, "MainPID");
    main.is_ok_and(|main| main == std::process::id().to_string())
}

fn belongs_to_user(paths: &Paths) -> Failure {
    failure(format!(
        "the agent in {} belongs to a user without privileges: start its service, or run it as that user",
        paths.home.display()
    ))
}
