//! systemd and the accounts of the machine, by their own programs.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};

use super::{InstallError, Record};

/// Runs a program to its end; what it said.
fn run(program: &str, arguments: &[&str]) -> Result<String, InstallError> {
    judge((program, arguments), end(program, arguments))
}

fn end(program: &str, arguments: &[&str]) -> io::Result<Output> {
    // What the terminal says is for the one who asks: half of a step is worse than all of it.
    Command::new(program).args(arguments).process_group(0).output()
}

fn judge((program, arguments): (&str, &[&str]), ended: io::Result<Output>) -> Result<String, InstallError> {
    let failed = |message: String| {
        let command = format!("{program} {}", arguments.join(" "));
        InstallError::Command { command, message }
    };
    let output = ended.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if message.is_empty() { output.status.to_string() } else { message }))
}

/// The same for what may be done twice: whoever ends this process by its unit ends what it runs as well, and an agent
/// that was stopped must be started all the same.
fn run_again_if_killed(program: &str, arguments: &[&str]) -> Result<String, InstallError> {
    let mut ended = end(program, arguments);
    for _ in 1..MOST_KILLS {
        if ended.as_ref().is_ok_and(|output| output.status.signal().is_none()) {
            break;
        }
        ended = end(program, arguments);
    }
    judge((program, arguments), ended)
}

/// So often a program may be killed until it is said that it fails.
const MOST_KILLS: u32 = 3;

/// systemd, asked by `systemctl`.
#[derive(Clone, Copy, Debug)]
pub struct Systemctl;

/// There if systemd has started the machine, see `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

impl Systemctl {
    /// Whether there is a systemd to ask.
    ///
    /// # Errors
    /// [`InstallError::NoSystemd`].
    pub fn check(self) -> Result<(), InstallError> {
        if Path::new(BOOTED).is_dir() { Ok(()) } else { Err(InstallError::NoSystemd) }
    }

    /// Makes it read unit files again.
    ///
    /// # Errors
    /// It fails, or there is no systemd.
    pub fn reload(self) -> Result<(), InstallError> {
        run("systemctl", &["daemon-reload"]).map(drop)
    }

    /// Starts a service, now and with each boot.
    ///
    /// # Errors
    /// It fails.
    pub fn enable(self, service: &str) -> Result<(), InstallError> {
        run("systemctl", &["enable", "--now", service]).map(drop)
    }

    /// Ends a service, and does not start it with the next boot.
    ///
    /// # Errors
    /// It fails.
    pub fn disable(self, service: &str) -> Result<(), InstallError> {
        run("systemctl", &["disable", "--now", service]).map(drop)
    }

    /// Starts a service.
    ///
    /// # Errors
    /// It fails.
    pub fn start(self, service: &str) -> Result<(), InstallError> {
        run_again_if_killed("systemctl", &["start", service]).map(drop)
    }

    /// A property of a service, as systemd writes it.
    ///
    /// # Errors
    /// It fails.
    pub fn property(self, service: &str, name: &str) -> Result<String, InstallError> {
        let unit = format!("{service}.service");
        run("systemctl", &["show", "--property", name, "--value", &unit])
    }

    /// Whether a service runs, or is about to.
    #[must_use]
    pub fn is_active(self, service: &str) -> bool {
        let state = self.property(service, "ActiveState");
        state.is_ok_and(|state| !matches!(state.as_str(), "inactive" | "failed"))
    }

    /// Ends a service.
    ///
    /// # Errors
    /// It fails.
    pub fn stop(self, service: &str) -> Result<(), InstallError> {
        run("systemctl", &["stop", service]).map(drop)
    }
}

/// A user and a group of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Whether the user was made just now.
    pub is_new: bool,
    /// Whether the group was.
    pub is_new_group: bool,
}

impl Account {
    /// Finds the user and the group; what is not there is made, as a user of the system that nobody can sign in as.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn ensure(user: &str, group: &str) -> Result<Account, InstallError> {
        for (field, name) in [("--user", user), ("--group", group)] {
            let is_name = name.len() <= 32
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
                && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
            if !is_name {
                let problem = "it is not the name of an account";
                return Err(InstallError::Field { field, given: name.to_owned(), problem });
            }
        }
        let is_new_group = Account::group_id(group).is_err();
        if is_new_group {
            run("groupadd", &["--system", group])?;
        }
        let is_new = run("id", &["-u", user]).is_err();
        if is_new {
            let shell = "/usr/sbin/nologin";
            run(
                "useradd",
                &[
                    "--system",
                    "--gid",
                    group,
                    "--no-create-home",
                    "--home-dir",
                    "/nonexistent",
                    "--shell",
                    shell,
                    user,
                ],
            )?;
        }
        Ok(Account { uid: Account::id_of(user)?, gid: Account::group_id(group)?, is_new, is_new_group })
    }

    /// The id of a user.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn id_of(user: &str) -> Result<u32, InstallError> {
        number("id", &["-u", user], &run("id", &["-u", user])?)
    }

    /// The id of a group.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn group_id(group: &str) -> Result<u32, InstallError> {
        let line = run("getent", &["group", group])?;
        number("getent", &["group", group], line.split(':').nth(2).unwrap_or_default())
    }

    /// Removes the user and the group that were made for an agent.
    ///
    /// # Errors
    /// One is still there.
    pub fn remove(record: &Record) -> Result<(), InstallError> {
        if record.made_user {
            run("userdel", &[&record.user])?;
        }
        // A group goes with the last user of its name on most systems.
        if record.made_group && Account::group_id(&record.group).is_ok() {
            run("groupdel", &[&record.group])?;
        }
        Ok(())
    }
}

fn number(program: &str, arguments: &[&str], text: &str) -> Result<u32, InstallError> {
    text.trim().parse().map_err(|_| InstallError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        message: format!("{text:?} is no number"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_killed_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark").display().to_string();
        let once = ["-c", "test -e \"$0\" && echo done && exit; touch \"$0\"; kill -9 $$", &mark];
        assert_eq!(run_again_if_killed("sh", &once).unwrap(), "done");
        let always = run_again_if_killed("sh", &["-c", "kill -9 $$"]).unwrap_err().to_string();
        assert!(always.contains("signal: 9"), "{always}");
        let failing = ["-c", "echo x >> \"$0\"; echo no >&2; exit 3", &mark];
        assert!(run_again_if_killed("sh", &failing).unwrap_err().to_string().contains("no"));
        assert_eq!(std::fs::read_to_string(mark).unwrap(), "x\n", "what fails is not done again");
    }
}
