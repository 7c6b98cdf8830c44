//! Upgrades, as the agent sees them: begun, told of, carried over the restart, proven or taken back.

use std::path::PathBuf;

use fleet_service::error::chain;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::{Agent, Ended};
use super::job::JobDone;
use super::proof::Proof;
use super::schedule::{metadata, version_of};
use crate::clock;
use crate::fleet::{Action, ConnectionSettings, UpgradeDetails};
use crate::upgrade::{self, Keys, Marker, Source, Step, Trust, UpgradeError};
use crate::version;

/// Waits before a download is tried again.
const RETRIES: [i64; 6] = [60, 300, 600, 900, 1800, 3600];

/// A new version is proving itself.
#[derive(Debug)]
pub(super) struct Watching {
    marker: Marker,
    /// When it was started: the time of day may be set while it is watched.
    began: Instant,
    proof: Proof,
}

impl Agent {
    /// Begins an upgrade that the server asks for.
    pub(super) fn upgrade(&mut self, action: Action) {
        // Neither says anything of an upgrade that there is.
        if let Err(reason) = self.upgrade_makes_sense(&version_of(&action)) {
            return self.finish(&action, Err(reason));
        }
        match self.can_upgrade(&action) {
            Ok(()) => self.begin_upgrade(action),
            Err(reason) => self.upgrade_failed(&action, "UPG_REQUESTED", reason),
        }
    }

    /// Begins an upgrade that somebody at the machine asks for.
    ///
    /// # Errors
    /// Why there is none; nothing of it is kept.
    pub(super) fn upgrade_by_hand(&mut self, action: Action) -> Result<(), String> {
        self.upgrade_makes_sense(&version_of(&action))?;
        self.can_upgrade(&action)?;
        self.begin_upgrade(action);
        Ok(())
    }

    fn upgrade_makes_sense(&self, number: &str) -> Result<(), String> {
        if semver::Version::parse(number).is_err() {
            return Err(format!("{number:?} is not a version of the form 9.6.1"));
        }
        if self.upgrading.is_some() || self.watching.is_some() {
            return Err("another upgrade is under way".to_owned());
        }
        Ok(())
    }

    fn can_upgrade(&self, action: &Action) -> Result<(), String> {
        if !upgrade::is_possible(&self.context.paths) {
            let reason =
                "this agent was not installed by fleet-agent install: upgrade it as it was installed";
            return Err(reason.to_owned());
        }
        let number = version_of(action);
        if action.data["rollback"] == true
            && number != version::current()
            && upgrade::kept_version(&self.context.paths, &number, self.now()).is_none()
        {
            return Err(format!(
                "version {number} is not here (any more): see fleet-agent upgrade list-rollbacks"
            ));
        }
        self.trust(action).map(drop)
    }

    fn begin_upgrade(&mut self, action: Action) {
        let number = version_of(&action);
        if number == version::current() {
            self.progress.upgrade = None;
            return self.finish_upgrade(&action, Ok(()));
        }
        if action.data["rollback"] == true {
            return match upgrade::kept_version(&self.context.paths, &number, self.now()) {
                Some(directory) => self.switch(&action, directory),
                None => self.upgrade_failed(
                    &action,
                    "UPG_REQUESTED",
                    format!("version {number} is not here any more"),
                ),
            };
        }
        self.tell_upgrade(&action, "UPG_DOWNLOADING", Map::new());
        self.fetch(action, number);
    }

    fn fetch(&mut self, action: Action, number: String) {
        let trust = match self.trust(&action) {
            Ok(trust) => trust,
            Err(reason) => return self.upgrade_failed(&action, "UPG_REQUESTED", reason),
        };
        let source = self.source(&action);
        let (paths, jobs) = (self.context.paths.clone(), self.jobs.clone());
        let token = CancellationToken::new();
        self.upgrading = Some(token.clone());
        tokio::spawn(async move {
            let tell = |step| {
                // What nobody hears now is told again soon.
                let _ = jobs.try_send(JobDone::Upgrade(Box::new(action.clone()), step));
            };
            let fetched =
                token.run_until_cancelled(upgrade::fetch(&source, &number, &paths, &trust, tell)).await;
            let step = match fetched {
                None => Step::Failed { at: "UPG_DOWNLOADING", error: UpgradeError::Cancelled },
                Some(Err(error)) => Step::Failed { at: "UPG_DOWNLOADING", error },
                Some(Ok(package)) => {
                    tell(Step::Extracting);
                    let unpacked =
                        tokio::task::spawn_blocking(move || upgrade::unpack(&paths, &package, &number)).await;
                    let unpacked = unpacked.map_err(|error| UpgradeError::Package(error.to_string()));
                    match unpacked.and_then(|unpacked| unpacked) {
                        Ok(directory) => Step::Ready(directory),
                        Err(error) => Step::Failed { at: "UPG_EXTRACTING", error },
                    }
                }
            };
            let _ = jobs.send(JobDone::Upgrade(Box::new(action), step)).await;
        });
    }

    fn trust(&self, action: &Action) -> Result<Trust, String> {
        // Only somebody at the machine may say these; a server's action has an id.
        let is_local = action.id.is_empty();
        if is_local && action.data["skip_verify"] == true {
            return Ok(Trust::Unsigned);
        }
        let built_in = if is_local && action.data["skip_default_key"] == true {
            Keys::default()
        } else {
            Keys::built_in()
        };
        let mut keys = built_in.and(self.context.upgrade.keys.clone());
        if is_local {
            let given = action.data["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            keys = keys.and(Keys::parse(given)?);
        }
        Ok(Trust::Signed(keys))
    }

    /// Where the action says, else where the policy does.
    fn source(&self, action: &Action) -> Source {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let download = &self.plan.settings.download;
        let asked = ["source_uri", "sourceURI"].iter().find_map(|name| text(&action.data[*name]));
        let uri =
            asked.or_else(|| ["sourceURI", "source_uri"].iter().find_map(|name| text(download.get(*name)?)));
        let connection = ConnectionSettings::default().with_policy(download);
        Source { uri: uri.unwrap_or_default(), connection: connection.unwrap_or_default() }
    }

    /// An upgrade has come further.
    pub(super) fn upgrade_step(&mut self, action: &Action, step: Step) {
        // One that was cancelled meanwhile has nothing to say.
        if self.upgrading.is_none() {
            return;
        }
        match step {
            Step::Downloading { percent, rate } => {
                let told = json!({"download_percent": percent, "download_rate": rate});
                self.tell_upgrade(action, "UPG_DOWNLOADING", metadata(told));
            }
            Step::Extracting => self.tell_upgrade(action, "UPG_EXTRACTING", Map::new()),
            Step::Ready(directory) => self.switch(action, directory),
            Step::Failed { at, error } => {
                self.upgrading = None;
                let reason = chain(&error);
                let attempt = self.attempts.remove(&action.id).unwrap_or(0);
                let wait = usize::try_from(attempt).ok().and_then(|attempt| RETRIES.get(attempt));
                match wait {
                    Some(wait) if error.is_passing() && !action.id.is_empty() => {
                        tracing::warn!(reason, wait, "upgrade failed, trying again later");
                        let due = self.now() + wait;
                        self.queue(action.clone(), due, attempt + 1);
                        if let Some(details) = &mut self.progress.upgrade {
                            details.metadata.insert("retry_error_msg".to_owned(), reason.into());
                            details.metadata.insert("retry_until".to_owned(), clock::text_of(due).into());
                        }
                        self.save_progress();
                    }
                    _ => self.upgrade_failed(action, at, reason),
                }
            }
        }
    }

    fn switch(&mut self, action: &Action, directory: PathBuf) {
        self.upgrading = None;
        match self.try_switch(action, directory) {
            Ok(()) => self.ended = Some(Ended::Restart),
            Err(reason) => self.upgrade_failed(action, "UPG_REPLACING", reason),
        }
    }

    fn try_switch(&mut self, action: &Action, directory: PathBuf) -> Result<(), String> {
        let running = std::env::current_exe().and_then(|program| program.canonicalize());
        let running = running.map_err(|error| format!("the running program is not found: {error}"))?;
        let from = running.parent().ok_or("the running program has no directory")?.to_owned();
        let now = self.now();
        let grace = i64::try_from(self.context.upgrade.grace.as_secs()).unwrap_or(i64::MAX);
        let marker = Marker {
            from_version: version::current().to_owned(),
            from,
            to_version: version_of(action),
            to: directory,
            action_id: action.id.clone(),
            deadline: now.saturating_add(grace),
            starts: 0,
            given_up: String::new(),
        };
        self.tell_upgrade(action, "UPG_RESTARTING", Map::new());
        upgrade::switch_to(&self.context.paths, &marker, now).map_err(|error| chain(&error))
    }

    fn tell_upgrade(&mut self, action: &Action, state: &str, metadata: Map<String, Value>) {
        tracing::info!(version = version_of(action), state, "upgrade");
        self.progress.upgrade = Some(UpgradeDetails {
            target_version: version_of(action),
            state: state.to_owned(),
            action_id: action.id.clone(),
            metadata,
        });
        self.save_progress();
        self.publish();
    }

    fn upgrade_failed(&mut self, action: &Action, at: &str, reason: String) {
        let told = json!({"failed_state": at, "error_msg": reason});
        self.tell_upgrade(action, "UPG_FAILED", metadata(told));
        self.finish_upgrade(action, Err(reason));
    }

    fn finish_upgrade(&mut self, action: &Action, outcome: Result<(), String>) {
        if action.id.is_empty() {
            if let Err(reason) = outcome {
                tracing::error!(reason, "upgrade failed");
            }
            return self.save_progress();
        }
        self.finish(action, outcome);
    }

    /// Removes versions that were replaced long ago.
    pub(super) fn tidy_versions(&self) {
        // By the machine's clock alone, one that was set wrongly would cost them all.
        if let Some(now) = self.server_now() {
            upgrade::tidy(&self.context.paths, now);
        }
    }

    /// What the marker of an upgrade means to the version that starts.
    pub(super) fn resume_upgrade(&mut self) {
        let Some(marker) = Marker::read(&self.context.paths) else { return };
        let action = marked(&marker);
        let running = std::env::current_exe().unwrap_or_default();
        if marker.given_up.is_empty() && marker.is_new(&running) {
            self.tell_upgrade(&action, "UPG_WATCHING", Map::new());
            self.watching = Some(Watching { marker, began: Instant::now(), proof: Proof::default() });
            return;
        }
        let reason = if marker.given_up.is_empty() {
            "the upgrade was cut off before the new version was started".to_owned()
        } else {
            format!("rolled back to {}: {}", marker.from_version, marker.given_up)
        };
        self.upgrade_failed(&action, "UPG_WATCHING", reason);
        Marker::remove(&self.context.paths);
        if !marker.is_new(&running) {
            // What has failed is of no more use.
            let _ = std::fs::remove_dir_all(&marker.to);
        }
    }

    /// Looks whether a new version has proven itself, or has to be left.
    pub(super) fn watch_upgrade(&mut self) {
        let link = self.link.borrow().clone();
        let grace = self.context.upgrade.grace;
        let Some(watching) = &mut self.watching else { return };
        if watching.proof.is_there(&link) {
            let action = marked(&watching.marker);
            tracing::info!(version = version::current(), "the new version has proven itself");
            self.watching = None;
            Marker::remove(&self.context.paths);
            self.progress.upgrade = None;
            self.finish_upgrade(&action, Ok(()));
            return self.publish();
        }
        if link.connected {
            return;
        }
        if watching.began.elapsed() >= grace {
            let reason = format!("version {} did not check in in time", watching.marker.to_version);
            tracing::error!(reason, "the new version is left");
            let marker = watching.marker.clone();
            self.watching = None;
            let action = marked(&marker);
            self.tell_upgrade(&action, "UPG_ROLLBACK", Map::new());
            match upgrade::switch_back(&self.context.paths, marker, reason) {
                Ok(()) => self.ended = Some(Ended::Restart),
                Err(error) => self.upgrade_failed(&action, "UPG_ROLLBACK", chain(&error)),
            }
        }
    }
}

/// The action that an upgrade came from, as far as its marker knows it.
fn marked(marker: &Marker) -> Action {
    Action {
        id: marker.action_id.clone(),
        kind: "UPGRADE".to_owned(),
        data: json!({"version": marker.to_version}),
        input_type: String::new(),
        start_time: None,
        expiration: None,
        timeout: None,
        signed: None,
    }
}
