//! `fleet-agent uninstall`

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use fleet_service::error::chain;

use super::super::flags::Globals;
use super::super::{Failure, Outcome, failure, say};
use super::place::{Place, agreed, must_be_root};
use crate::agent::{audit, is_token};
use crate::control::{Ask, ControlError, ask};
use crate::fleet::FleetClient;
use crate::fleet_server::documents;
use crate::install::{self, Account, InstallError, Layout, Record, Systemctl};
use crate::state::{Identity, SavedPolicy, StateStore};

/// Uninstalls.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Uninstall {
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

pub(in crate::cli) async fn uninstall(globals: &Globals, asked: &Uninstall) -> Outcome {
    must_be_root("uninstall")?;
    let (layout, record) = asked.place.installed(globals)?;
    if record.is_none() && !asked.force {
        return Err(InstallError::NotInstalled { home: layout.paths.home }.into());
    }
    may_uninstall(&layout, &asked.uninstall_token).await?;
    let documents = layout.paths.fleet_server();
    let documents = if documents.exists() { ", the documents of its Fleet Server too" } else { "" };
    let home = layout.paths.home.display();
    let question =
        format!("The agent in {home} will be removed with all that it keeps{documents}. Continue?");
    if !asked.place.non_interactive && !asked.force && !agreed(&question)? {
        return Err(failure("nothing was removed"));
    }
    // It would start the agent again. As a rule, it is not there.
    let _ = Systemctl.stop(&layout.changing_unit());
    if layout.unit.exists() {
        let stopped = Systemctl.disable(&layout.service);
        if !asked.force {
            stopped?;
        }
    }
    match crate::workload::remove_services(&layout.paths).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => say(&format!("Services of components are still there: {}.", left.join(", "))),
        Err(error) => say(&format!("Services of components may still be there: {}.", chain(&error))),
    }
    let has_server_of_root = has_server_of_root(&layout, record.as_ref());
    let told = if asked.skip_fleet_audit { Ok(()) } else { tell_server(&layout).await };
    if let Err(error) = told {
        say(&format!("The server was not told: {error}. It will show the agent as offline."));
    }
    let paths = &layout.paths;
    let was_there = record.is_some() || layout.unit.exists();
    let all = [&layout.unit, &layout.command, &paths.data, &paths.logs, &paths.config, &paths.home];
    // A link that leads nowhere is there, too.
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    // Somebody else may have a program of that name.
    let is_own_command = std::fs::read_link(&layout.command).is_ok_and(|target| target == paths.program());
    let is_ours = |path: &Path| path != layout.command || is_own_command;
    let found: Vec<_> = all.into_iter().filter(|path| is_there(path) && is_ours(path)).collect();
    let account = record.filter(|record| install::owns(record, install::owner(&paths.home)));
    for path in &found {
        install::remove_all(path)?;
    }
    if let Some(folder) = paths.home.parent().filter(|folder| folder.ends_with(install::FOLDER)) {
        // It goes with the last agent in it.
        let _ = std::fs::remove_dir(folder);
    }
    let reloaded = Systemctl.reload();
    if !asked.force {
        reloaded?;
    }
    if let Some(record) = account
        && let Err(error) = Account::remove(&record)
    {
        say(&format!("User {} or group {} is still there: {error}", record.user, record.group));
    }
    if was_there {
        say(&format!("The agent is uninstalled from {}.", paths.home.display()));
    } else {
        say(&format!("There was no agent in {}.", paths.home.display()));
        for path in found {
            say(&format!("What was left of one is removed: {}", path.display()));
        }
    }
    if has_server_of_root {
        say(&format!("The documents of its Fleet Server are still in {}.", documents::OF_ROOT));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the agent runs a Fleet Server that keeps its documents where one of root's does.
pub(super) fn has_server_of_root(layout: &Layout, record: Option<&Record>) -> bool {
    record.is_some_and(|record| !record.is_unprivileged())
        && !layout.paths.fleet_server().exists()
        && Path::new(documents::OF_ROOT).exists()
        && StateStore::at_rest(&layout.paths.state())
            .and_then(|store| store.peek::<Identity>(Identity::NAME).ok().flatten())
            .is_some_and(|identity| identity.fleet_server.is_some())
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
    let Some(store) = StateStore::at_rest(&layout.paths.state()) else {
        let text = "the agent does not run, and its state is sealed with a credential of its service: start it, so that it can say whether it may be removed";
        return Err(failure(text));
    };
    let saved = store.peek::<SavedPolicy>(SavedPolicy::NAME)?;
    let protection = saved.as_ref().and_then(|saved| saved.policy.get("agent")?.get("protection"));
    let Some(protection) = protection.filter(|protection| protection["enabled"] == true) else {
        return Ok(());
    };
    if is_token(token, protection["uninstall_token_hash"].as_str().unwrap_or_default()) {
        return Ok(());
    }
    Err(failure("this agent is protected: give the uninstall token of its policy (--uninstall-token)"))
}

async fn tell_server(layout: &Layout) -> Result<(), Failure> {
    if !layout.paths.state().exists() {
        return Ok(());
    }
    let store = StateStore::at_rest(&layout.paths.state())
        .ok_or_else(|| failure("the agent's state is sealed with a credential of its service"))?;
    let Some(identity) = store.peek::<Identity>(Identity::NAME)? else { return Ok(()) };
    let saved = store.peek::<SavedPolicy>(SavedPolicy::NAME)?;
    let fleet = saved.as_ref().and_then(|saved| saved.policy.get("fleet")?.as_object());
    let wanted = fleet.and_then(|fleet| identity.connection_by(fleet).ok());
    let settings = wanted.unwrap_or_else(|| identity.connection.clone());
    let client = tokio::task::spawn_blocking(move || FleetClient::new(&settings)).await??;
    audit(&client, &identity.id, &identity.access_api_key, "uninstall").await?;
    Ok(())
}
