//! `fleet-agent enroll`

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use fleet_service::error::chain;

use super::flags::{EnrollFlags, Globals};
use super::install::tell_taken;
use super::{Outcome, bootstrap, failure, say};
use crate::control::{Ask, ControlError, ask};
use crate::enrolment::{self, Wanted};
use crate::fleet::CallError;
use crate::install::{Record, become_owner};

/// Enrols.
#[derive(Clone, Debug, Args)]
pub(super) struct Enroll {
    #[command(flatten)]
    pub(super) flags: EnrollFlags,
    /// Accepted for scripts that give the URL so
    #[arg(value_name = "URL", hide = true)]
    pub(super) position: Vec<String>,
}

pub(super) async fn enroll(globals: &Globals, enroll: &Enroll) -> Outcome {
    let mut flags = enroll.flags.clone();
    // Older scripts write `enroll URL TOKEN`.
    let mut position = enroll.position.iter().cloned();
    if flags.url.is_empty() {
        flags.url.extend(position.next());
    }
    flags.enrollment_token = flags.enrollment_token.or_else(|| position.next());
    let paths = globals.paths();
    let credentials: Option<std::path::PathBuf> = std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into);
    let is_unprivileged = Record::read(&paths.home).is_some_and(|record| record.is_unprivileged());
    if let Some((mut wanted, server)) = bootstrap::wanted(&paths, &flags)? {
        if is_unprivileged {
            tell_taken(&wanted.take_in_files()?);
        }
        become_owner(&paths)?;
        return bootstrap::enroll(&paths, credentials, (&wanted, &server), flags.delay_enroll).await;
    }
    let mut wanted = wanted(&flags)?;
    if is_unprivileged {
        tell_taken(&wanted.take_in_files()?);
    }
    // What follows is done among the files of the agent's user, who must not lead root elsewhere.
    become_owner(&paths)?;
    let identity = if flags.delay_enroll {
        enrolment::delay(&paths, credentials.as_deref(), &wanted)?;
        say("The agent enrols when it starts.");
        None
    } else {
        Some(enrolment::enroll(&paths, credentials, &wanted, &tell_attempts(wanted.within)).await?)
    };
    if let Some(identity) = &identity {
        say(&format!("Successfully enrolled the agent: {}", identity.id));
    }
    if !flags.skip_daemon_reload {
        let socket = paths.socket();
        match tokio::time::timeout(flags.daemon_timeout, ask(&socket, &Ask::Restart)).await {
            Ok(Ok(_)) => say("The running agent takes over."),
            Ok(Err(ControlError::NotRunning { .. })) => {
                say("The agent is not running: start it with fleet-agent run, or install it.");
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(failure("the running agent does not answer (--daemon-timeout)")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says why attempts fail, since somebody waits for it: a reason that stays the same is said once.
pub(super) fn tell_attempts(within: Duration) -> impl Fn(&CallError) + Send + Sync {
    let told = Mutex::new(String::new());
    move |error| {
        let reason = chain(error);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != reason {
            say(&format!(
                "The enrolment failed, and is tried again until {} s have passed: {reason}",
                within.as_secs()
            ));
            *told = reason;
        }
    }
}

/// Whether an address is one of this machine alone.
fn is_loopback(url: &str) -> bool {
    let url = url.parse::<reqwest::Url>();
    url.ok().and_then(|url| url.host_str().map(str::to_owned)).is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// What the flags ask for.
pub(super) fn wanted(flags: &EnrollFlags) -> Result<Wanted, super::Failure> {
    let connection = flags.connection()?;
    if connection.hosts.is_empty() {
        return Err(failure("no server is named: give --url=https://fleet.example.com:8220"));
    }
    let is_plain = |host: &&String| host.starts_with("http://") && !is_loopback(host);
    if let Some(host) = connection.hosts.iter().find(is_plain)
        && !flags.insecure
    {
        return Err(failure(format!(
            "{host} is not encrypted, and the agent's key would be sent as it is: use https://, or give --insecure"
        )));
    }
    let token = flags.enrollment_token.clone().filter(|token| !token.trim().is_empty());
    let token = token
        .ok_or_else(|| failure("no key is given: take one from the policy and give --enrollment-token"))?;
    if flags.replace_token.is_some() && flags.id.is_none() {
        return Err(failure("--replace-token is about an id: give --id, too"));
    }
    Ok(Wanted {
        connection,
        token: token.trim().to_owned(),
        id: flags.id.clone().unwrap_or_default(),
        replace_token: flags.replace_token.clone().unwrap_or_default(),
        tags: flags.tag.clone(),
        force: flags.force,
        within: flags.enroll_timeout,
        bootstrap: None,
    })
}
