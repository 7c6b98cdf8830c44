//! `fleet-agent upgrade`, and what looks after a new version.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::flags::Globals;
use super::{Failure, Outcome, failure, say};
use crate::clock;
use crate::control::{Ask, ControlError, ask};
use crate::upgrade;

/// A download, and the start of the new version.
const UPGRADE_MAX: Duration = Duration::from_secs(1800);
/// How it goes is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// Upgrades.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Upgrade {
    /// The version
    version: Option<String>,
    /// Where packages lie, over what the policy says
    #[arg(short, long, value_name = "URI", default_value = "", hide_default_value = true)]
    source_uri: String,
    /// Take a package that nobody has signed
    #[arg(long)]
    skip_verify: bool,
    /// A key that may have signed it: an Ed25519 public key in base64
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Trust only keys of --key and the configuration file, not those that the program was built with
    #[arg(long, visible_alias = "skip-default-pgp")]
    skip_default_key: bool,
    /// Accepted for scripts, together with --skip-verify: packages of this agent are not signed with PGP
    #[arg(long, value_name = "KEY", hide = true)]
    pgp: Vec<String>,
    /// The same
    #[arg(long, value_name = "FILE", hide = true)]
    pgp_path: Vec<String>,
    /// The same
    #[arg(long, value_name = "URI", hide = true)]
    pgp_uri: Vec<String>,
    /// Go back to that version, which was replaced and is still here
    #[arg(long)]
    rollback: bool,
    #[command(subcommand)]
    what: Option<What>,
}

impl Upgrade {
    /// A key that would verify nothing must not look as if it did.
    fn refuse_pgp(&self) -> Result<(), Failure> {
        let given = [("--pgp", &self.pgp), ("--pgp-path", &self.pgp_path), ("--pgp-uri", &self.pgp_uri)];
        let Some((flag, _)) = given.into_iter().find(|(_, values)| !values.is_empty()) else { return Ok(()) };
        if self.skip_verify || self.rollback {
            return Ok(());
        }
        Err(failure(format!(
            "{flag}: packages of this agent are signed with Ed25519, a PGP key verifies none of them. Name the signer's key with --key or agent.upgrade.keys of the configuration file, or take a package without a signature with --skip-verify"
        )))
    }
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// List the versions that the agent can go back to
    ListRollbacks,
}

pub(super) async fn upgrade(globals: &Globals, asked: &Upgrade) -> Outcome {
    let paths = globals.paths();
    if let Some(What::ListRollbacks) = asked.what {
        let rollbacks = upgrade::rollbacks(&paths, clock::now_seconds());
        if rollbacks.is_empty() {
            say("There is no version to go back to.");
        }
        for one in rollbacks {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            say(&format!("{} until {}", text("version"), text("valid_until")));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let version = asked
        .version
        .clone()
        .ok_or_else(|| failure("give the version to go to: fleet-agent upgrade 9.6.1"))?;
    asked.refuse_pgp()?;
    let what = Ask::Upgrade {
        version: version.clone(),
        source_uri: asked.source_uri.clone(),
        skip_verify: asked.skip_verify,
        skip_default_key: asked.skip_default_key,
        keys: asked.key.clone(),
        rollback: asked.rollback,
    };
    let socket = paths.socket();
    ask(&socket, &what).await?;
    let began = Instant::now();
    let mut told = String::new();
    while began.elapsed() < UPGRADE_MAX {
        match ask(&socket, &Ask::Status).await {
            Ok(status) => {
                let details = &status["upgrade_details"];
                let state = details["state"].as_str().unwrap_or_default();
                if state != told && !state.is_empty() {
                    told = state.to_owned();
                    say(state);
                }
                if state == "UPG_FAILED" {
                    let why = details["metadata"]["error_msg"].as_str().unwrap_or("see the log");
                    return Err(failure(format!("the upgrade failed: {why}")));
                }
                if matches!(details, Value::Null) && status["version"] == *version {
                    say(&format!("The agent is version {version} now."));
                    return Ok(ExitCode::SUCCESS);
                }
            }
            // It starts again.
            Err(ControlError::NotRunning { .. } | ControlError::Broken(_) | ControlError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
    Err(failure("the upgrade goes on, but takes long: look at fleet-agent status"))
}

pub(super) fn watch(globals: &Globals) -> Outcome {
    if let Some(reason) = upgrade::guard(&globals.paths())? {
        say(&format!("The version before is started: {reason}"));
    }
    Ok(ExitCode::SUCCESS)
}
