//! An enrolment with a Fleet Server that this agent brings up first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use fleet_component::supervisor::Platform;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::flags::{EnrollFlags, OwnServer};
use super::{Failure, Outcome, failure, say};
use crate::control::{Ask, ControlError, ask};
use crate::enrolment::{self, Bootstrap, Wanted};
use crate::fleet_server::{self, KIND};
use crate::health::Status;
use crate::paths::Paths;
use crate::workload::{self, State};

/// How often the running agent is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// The file that tells other agents whom to trust.
const AUTHORITY: &str = "fleet-server-ca.pem";

/// What the flags ask for. Whom other agents trust is written down for people, if that was made now.
pub(super) fn wanted(paths: &Paths, flags: &EnrollFlags) -> Result<Option<(Wanted, Bootstrap)>, Failure> {
    let Some(OwnServer { bootstrap, connection, authority }) = flags.own_server()? else { return Ok(None) };
    if let Some(authority) = authority {
        let file = paths.config.join(AUTHORITY);
        let written = std::fs::create_dir_all(&paths.config).and_then(|()| std::fs::write(&file, authority));
        written.map_err(|error| failure(format!("{} cannot be written: {error}", file.display())))?;
        say(&format!("Other agents enroll with --certificate-authorities {}", file.display()));
    }
    let wanted = Wanted {
        connection,
        token: flags.enrollment_token.as_deref().unwrap_or_default().trim().to_owned(),
        id: flags.id.clone().unwrap_or_default(),
        replace_token: flags.replace_token.clone().unwrap_or_default(),
        tags: flags.tag.clone(),
        force: flags.force,
        within: flags.enroll_timeout,
        bootstrap: Some(bootstrap.clone()),
    };
    Ok(Some((wanted, bootstrap)))
}

/// Whether there is a program for the server.
pub(super) fn has_component(paths: &Paths) -> bool {
    workload::components(paths, &workload::Who::default()).is_some_and(|components| components.takes(KIND))
}

/// Writes the enrolment down for the agent that starts.
pub(super) fn prepare(paths: &Paths, credentials: Option<&Path>, wanted: &Wanted) -> Result<(), Failure> {
    let store = enrolment::open_state(paths, credentials)?;
    Ok(enrolment::prepare(&store, wanted)?)
}

/// Enrols: the running agent does it, for the server is its child; where none runs, it is done here.
pub(super) async fn enroll(
    paths: &Paths,
    credentials: Option<PathBuf>,
    (wanted, bootstrap): (&Wanted, &Bootstrap),
    is_delayed: bool,
) -> Outcome {
    let socket = paths.socket();
    match ask(&socket, &Ask::Status).await {
        _ if is_delayed => {
            prepare(paths, credentials.as_deref(), wanted)?;
            say("The agent brings up its Fleet Server, and enrolls with it, when it starts.");
        }
        Err(ControlError::NotRunning { .. }) => here(paths, credentials, (wanted, bootstrap)).await?,
        Err(error) => return Err(error.into()),
        Ok(_) => {
            prepare(paths, credentials.as_deref(), wanted)?;
            ask(&socket, &Ask::Restart).await?;
            follow(&socket, wanted, bootstrap).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn here(
    paths: &Paths,
    credentials: Option<PathBuf>,
    (wanted, bootstrap): (&Wanted, &Bootstrap),
) -> Result<(), Failure> {
    let store = enrolment::open_state(paths, credentials.as_deref())?;
    enrolment::refuse_twice(&store, wanted)?;
    let told = watch::Sender::new(String::new());
    let mut heard = told.subscribe();
    let tell = async {
        while heard.changed().await.is_ok() {
            say(&heard.borrow_and_update());
        }
        std::future::pending().await
    };
    let platform = Platform::here();
    let server = (&bootstrap.server, bootstrap.within);
    let identity = tokio::select! {
        enrolled = fleet_server::enroll((paths, &platform), &store, wanted, server, &told) => enrolled?,
        never = tell => never,
    };
    say(&format!("Successfully enrolled the agent: {}", identity.id));
    say("The agent is not running: start it with fleet-agent run, or install it.");
    Ok(())
}

/// Tells how far the running agent is, until it has enrolled and its server serves it.
pub(super) async fn follow(socket: &Path, wanted: &Wanted, bootstrap: &Bootstrap) -> Result<(), Failure> {
    let init = bootstrap.server.init_within();
    let deadline = Instant::now() + bootstrap.within + wanted.within + init;
    let mut ready_by = Instant::now() + bootstrap.within;
    let (mut said, mut id) = (String::new(), String::new());
    loop {
        // It starts anew meanwhile.
        let status = ask(socket, &Ask::Status).await.ok();
        let status = status.and_then(|status| serde_json::from_value::<Status>(status).ok());
        if let Some(status) = status {
            if status.message != said {
                said = status.message;
                say(&said);
            }
            if !status.id.is_empty() && id.is_empty() {
                id = status.id;
                ready_by = Instant::now() + init;
                say(&format!("Successfully enrolled the agent: {id}"));
            }
            if !id.is_empty() && status.fleet_state == State::Healthy {
                return Ok(());
            }
        }
        let now = Instant::now();
        if now >= deadline || (now >= ready_by && !id.is_empty()) {
            let text = if id.is_empty() {
                format!(
                    "the Fleet Server is not ready in time (--fleet-server-timeout): {said}. The agent goes on trying: see fleet-agent status"
                )
            } else {
                format!("failed to initialize the Fleet Server in time (--fleet-init-timeout): {said}")
            };
            return Err(failure(text));
        }
        sleep(LOOK).await;
    }
}
