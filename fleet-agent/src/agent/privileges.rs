//! Other privileges, as the fleet asks for them.
//!
//! As whom the agent runs is said by its service, which only root may change, and which ends while that is done. So an
//! agent of root asks systemd to run `fleet-agent unprivileged` in a unit of its own, beside the service. A file in the
//! agent's home says what is under way ([`LevelChange`]): the agent that starts removes it when it has checked in, and
//! `fleet-agent unprivileged` goes back if that does not happen. An agent without privileges cannot make itself root.

use std::path::PathBuf;

use fleet_service::error::chain;
use serde_json::Value;
use tokio::process::Command;

use super::core::Agent;
use super::job::JobDone;
use super::proof::Proof;
use crate::fleet::Action;
use crate::install::{Layout, LevelChange, Record, Systemctl};

/// The user that an agent without privileges runs as when nobody names one.
const USER: &str = "fleet-agent";
/// What a command said last says why it failed.
const LAST_LINES: usize = 3;

/// The agent proves itself with other privileges.
#[derive(Debug)]
pub(super) struct ProvingLevel {
    change: LevelChange,
    proof: Proof,
}

impl Agent {
    /// Begins a change of privileges.
    pub(super) fn change_privileges(&mut self, action: Action) {
        let record = Record::read(&self.context.paths.home);
        let is_root = rustix::process::geteuid().is_root();
        let change = match wanted(&action, is_root, record.as_ref()) {
            Ok(Some(change)) => change,
            Ok(None) => return self.finish(&action, Ok(())),
            Err(reason) => return self.finish(&action, Err(reason)),
        };
        let layout = match self.layout() {
            Ok(layout) => layout,
            Err(reason) => return self.finish(&action, Err(reason)),
        };
        if let Err(error) = change.write(&self.context.paths) {
            return self.finish(&action, Err(format!("the change cannot be written down: {error}")));
        }
        let grace = self.context.upgrade.grace.as_secs();
        let jobs = self.jobs.clone();
        tokio::spawn(async move {
            let outcome = run_beside(&layout, &change, grace).await;
            // If it is well, the agent has ended by now.
            let _ = jobs.send(JobDone::Privileges(Box::new(action), outcome)).await;
        });
    }

    /// The installation that this agent is.
    fn layout(&self) -> Result<Layout, String> {
        let layout = Layout::of_program().filter(|layout| layout.paths.home == self.context.paths.home);
        layout.ok_or_else(|| {
            "this agent was not installed by fleet-agent install: change the user that it is started as"
                .to_owned()
        })
    }

    /// The command that was to change the privileges has ended, and the agent has not.
    pub(super) fn privileges_stay(&mut self, action: &Action, outcome: Result<(), String>) {
        LevelChange::remove(&self.context.paths);
        let unchanged = "the agent was not started again".to_owned();
        self.finish(action, Err(outcome.err().unwrap_or(unchanged)));
    }

    /// What a change of privileges means to the agent that starts.
    pub(super) fn resume_privileges(&mut self) {
        let Some(change) = LevelChange::read(&self.context.paths) else { return };
        if change.given_up.is_empty() && !rustix::process::geteuid().is_root() {
            self.proving_level = Some(ProvingLevel { change, proof: Proof::default() });
            return;
        }
        let reason = if change.given_up.is_empty() {
            "the change was cut off".to_owned()
        } else {
            format!("gone back to root: {}", change.given_up)
        };
        self.finish(&asked_for(&change), Err(reason));
        LevelChange::remove(&self.context.paths);
    }

    /// Looks whether the agent has proven itself with other privileges.
    pub(super) fn watch_privileges(&mut self) {
        let link = self.link.borrow().clone();
        let Some(proving) = &mut self.proving_level else { return };
        if proving.proof.is_there(&link) {
            let action = asked_for(&proving.change);
            tracing::info!(user = proving.change.user, "the agent has proven itself with other privileges");
            self.proving_level = None;
            self.finish(&action, Ok(()));
            LevelChange::remove(&self.context.paths);
            self.publish();
        }
    }
}

/// What an action asks for. `None`: the agent runs so already.
fn wanted(action: &Action, is_root: bool, record: Option<&Record>) -> Result<Option<LevelChange>, String> {
    let by_hand = |way: &str| {
        format!(
            "an agent without privileges cannot change the user that its service runs as: run sudo {way} on the machine"
        )
    };
    let is_unprivileged = match action.data.get("unprivileged") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(unprivileged)) => *unprivileged,
        Some(_) => return Err("data.unprivileged: this is neither true nor false".to_owned()),
    };
    if !is_unprivileged {
        return if is_root { Ok(None) } else { Err(by_hand("fleet-agent privileged")) };
    }
    let named = |name: &str| action.data.pointer(&format!("/user_info/{name}")).and_then(Value::as_str);
    let named = |name: &str| named(name).filter(|text| !text.is_empty());
    let (user, group) = (named("username"), named("groupname"));
    if user == Some("root") {
        return Err("data.user_info.username: root has privileges".to_owned());
    }
    if !is_root {
        let is_other = |asked: Option<&str>, own: fn(&Record) -> &str| {
            asked.is_some_and(|asked| record.is_none_or(|record| own(record) != asked))
        };
        if is_other(user, |record| &record.user) || is_other(group, |record| &record.group) {
            let flags = [("--user", user), ("--group", group)];
            let flags = flags.into_iter().filter_map(|(flag, name)| Some(format!(" {flag} {}", name?)));
            return Err(by_hand(&format!("fleet-agent unprivileged{}", flags.collect::<String>())));
        }
        return Ok(None);
    }
    let user = user.unwrap_or(USER).to_owned();
    let group = group.map_or_else(|| user.clone(), str::to_owned);
    Ok(Some(LevelChange { action_id: action.id.clone(), user, group, given_up: String::new() }))
}

/// Has systemd run what changes the privileges, and waits for its end: nobody hears of one that is well.
async fn run_beside(layout: &Layout, change: &LevelChange, grace: u64) -> Result<(), String> {
    let service = layout.service.clone();
    let main = tokio::task::spawn_blocking(move || Systemctl.property(&service, "MainPID")).await;
    let main = main.map_err(|error| error.to_string())?.map_err(|error| chain(&error))?;
    if main != std::process::id().to_string() {
        return Err(format!(
            "this agent does not run as the service {}: change the user that it is started as",
            layout.service
        ));
    }
    let program = std::env::current_exe().map_err(|error| format!("the program is not found: {error}"))?;
    let output = Command::new("systemd-run").args(arguments(layout, change, program, grace)).output().await;
    let output = output.map_err(|error| format!("systemd-run cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(lines[lines.len().saturating_sub(LAST_LINES)..].join("; "))
}

fn arguments(layout: &Layout, change: &LevelChange, program: PathBuf, grace: u64) -> Vec<std::ffi::OsString> {
    let mut home = std::ffi::OsString::from("--path.home=");
    home.push(&layout.paths.home);
    let mut arguments: Vec<std::ffi::OsString> =
        ["--quiet", "--collect", "--wait", "--pipe"].map(std::ffi::OsString::from).to_vec();
    arguments.push(format!("--unit={}", layout.changing_unit()).into());
    // Whoever kills it would leave the agent stopped otherwise. As it is written: systemd forgets quotes and variables in
    // these when it reads its units again.
    for end in ["daemon-reload".to_owned(), format!("start {}", layout.service)] {
        arguments.push(format!("--property=ExecStopPost=-/bin/sh -c \"systemctl {end}\"").into());
    }
    arguments.extend(["--".into(), program.into_os_string(), "unprivileged".into(), "--force".into(), home]);
    arguments.extend([
        format!("--user={}", change.user).into(),
        format!("--group={}", change.group).into(),
        format!("--prove-within={grace}").into(),
    ]);
    arguments
}

/// The action that a change came from, as far as it is known.
fn asked_for(change: &LevelChange) -> Action {
    Action {
        id: change.action_id.clone(),
        kind: "PRIVILEGE_LEVEL_CHANGE".to_owned(),
        data: Value::Null,
        input_type: String::new(),
        start_time: None,
        expiration: None,
        timeout: None,
        signed: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(data: Value, is_root: bool, record: Option<&Record>) -> Result<Option<LevelChange>, String> {
        let change = LevelChange {
            action_id: "a".to_owned(),
            user: String::new(),
            group: String::new(),
            given_up: String::new(),
        };
        wanted(&Action { data, ..asked_for(&change) }, is_root, record)
    }

    #[test]
    fn root_becomes_the_user_that_is_named() {
        let become_one = |data: Value| {
            let change = asked(data, true, None).unwrap().unwrap();
            (change.action_id, change.user, change.group)
        };
        let is = |user: &str, group: &str| ("a".to_owned(), user.to_owned(), group.to_owned());
        assert_eq!(become_one(json!({"unprivileged": true})), is("fleet-agent", "fleet-agent"));
        assert_eq!(become_one(json!({})), is("fleet-agent", "fleet-agent"));
        let named = json!({"unprivileged": true, "user_info": {"username": "u", "password": "p"}});
        assert_eq!(become_one(named), is("u", "u"));
        let named = json!({"unprivileged": true, "user_info": {"username": "u", "groupname": "g"}});
        assert_eq!(become_one(named), is("u", "g"));
        assert_eq!(asked(json!({"unprivileged": false}), true, None), Ok(None));
        for wrong in [json!({"unprivileged": "yes"}), json!({"user_info": {"username": "root"}})] {
            assert!(asked(wrong, true, None).is_err());
        }
    }

    #[test]
    fn whoever_has_no_privileges_is_told_the_command() {
        let record = Record { user: "u".to_owned(), group: "g".to_owned(), ..Record::default() };
        let told = |data: Value| asked(data, false, Some(&record));
        assert!(told(json!({"unprivileged": false})).unwrap_err().contains("sudo fleet-agent privileged"));
        assert_eq!(told(json!({"unprivileged": true})), Ok(None));
        assert_eq!(told(json!({"user_info": {"username": "u", "groupname": "g"}})), Ok(None));
        let other = told(json!({"user_info": {"username": "v", "groupname": "g"}})).unwrap_err();
        assert!(other.contains("sudo fleet-agent unprivileged --user v --group g"), "{other}");
    }
}
