//! `fleet-agent container`: enrols as the environment says, and runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::flags::{EnrollFlags, Globals};
use super::{Failure, Outcome, enroll, failure, run, runtime};
use crate::enrolment::{self, EnrolmentError};
use crate::state::Identity;

/// Runs in a container.
#[derive(Clone, Debug, Args)]
pub(super) struct Container {
    /// Accepted for images that were started so; what it was for is no more
    #[arg(short = 'l', long, hide = true)]
    legacy: bool,
}

/// The environment, the first that is set and not empty.
struct Environment(BTreeMap<String, String>);

impl Environment {
    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.0.get(*name).filter(|value| !value.is_empty())).cloned()
    }

    fn truth(&self, name: &str) -> bool {
        self.text(&[name]).is_some_and(|text| {
            matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "t" | "yes" | "y")
        })
    }

    fn duration(&self, name: &str, otherwise: Duration) -> Result<Duration, Failure> {
        match self.text(&[name]) {
            None => Ok(otherwise),
            Some(text) => {
                super::flags::duration(&text).map_err(|problem| failure(format!("{name}: {problem}")))
            }
        }
    }
}

pub(super) fn container(globals: &Globals, _container: &Container) -> Outcome {
    let environment = Environment(std::env::vars().collect());
    let globals = with_paths(globals, &environment);
    if let Some(flags) = enrolment_flags(&environment)? {
        let paths = globals.paths();
        let wanted = enroll::wanted(&flags)?;
        runtime()?.block_on(async {
            let store = enrolment::open_state(&paths, None)?;
            let (identity, message) =
                store.load::<Identity>(Identity::NAME).map_err(EnrolmentError::State)?.split();
            if let Some(message) = message {
                super::say(&message);
            }
            match identity {
                // A container that starts again is the same agent, unless it is told to be another.
                Some(_) if !flags.force => Ok(()),
                _ => enrolment::enroll(&paths, None, &wanted).await.map(drop),
            }
        })?;
    }
    run::run(&globals, &run::Run { develop: false })
}

/// Directories by the names that images use. A container logs to its standard error.
fn with_paths(globals: &Globals, environment: &Environment) -> Globals {
    let path = |given: &Option<PathBuf>, name: &str| {
        given.clone().or_else(|| environment.text(&[name]).map(Into::into))
    };
    Globals {
        path_data: path(&globals.path_data, "STATE_PATH"),
        path_config: path(&globals.path_config, "CONFIG_PATH"),
        path_logs: path(&globals.path_logs, "LOGS_PATH"),
        stderr: true,
        ..globals.clone()
    }
}

/// What the environment says of an enrolment; `None`: there is to be none.
fn enrolment_flags(environment: &Environment) -> Result<Option<EnrollFlags>, Failure> {
    if environment.truth("FLEET_SERVER_ENABLE") {
        return Err(failure(
            "FLEET_SERVER_ENABLE: this agent does not bring up a Fleet Server yet: run fleet-server beside it and set FLEET_URL",
        ));
    }
    let token = environment.text(&["FLEET_ENROLLMENT_TOKEN"]);
    if !environment.truth("FLEET_ENROLL") && token.is_none() {
        return Ok(None);
    }
    let url = environment.text(&["FLEET_URL"]);
    let list = |text: Option<String>| -> Vec<String> {
        let text = text.unwrap_or_default();
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    Ok(Some(EnrollFlags {
        url: list(url),
        enrollment_token: token,
        id: environment.text(&["ELASTIC_AGENT_ID"]),
        replace_token: environment.text(&["FLEET_REPLACE_TOKEN"]),
        certificate_authorities: list(environment.text(&["FLEET_CA", "KIBANA_CA", "ELASTICSEARCH_CA"])),
        insecure: environment.truth("FLEET_INSECURE"),
        elastic_agent_cert: environment.text(&["ELASTIC_AGENT_CERT"]),
        elastic_agent_cert_key: environment.text(&["ELASTIC_AGENT_CERT_KEY"]),
        tag: list(environment.text(&["ELASTIC_AGENT_TAGS"])),
        force: environment.truth("FLEET_FORCE"),
        enroll_timeout: environment.duration("FLEET_ENROLL_TIMEOUT", Duration::from_secs(600))?,
        daemon_timeout: environment.duration("FLEET_DAEMON_TIMEOUT", Duration::from_secs(30))?,
        ..EnrollFlags::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_environment_says_how_to_enrol() {
        assert!(enrolment_flags(&environment(&[])).unwrap().is_none());
        let flags = enrolment_flags(&environment(&[
            ("FLEET_ENROLL", "1"),
            ("FLEET_URL", "https://a:8220"),
            ("FLEET_ENROLLMENT_TOKEN", "t"),
            ("ELASTIC_AGENT_TAGS", "x, y"),
            ("FLEET_ENROLL_TIMEOUT", "1m"),
            ("FLEET_INSECURE", "true"),
        ]));
        let flags = flags.unwrap().unwrap();
        assert_eq!(flags.tag, ["x", "y"]);
        assert_eq!(flags.enroll_timeout, Duration::from_secs(60));
        assert!(flags.insecure && enroll::wanted(&flags).is_ok());
        let wrong = enrolment_flags(&environment(&[("FLEET_ENROLL", "1"), ("FLEET_ENROLL_TIMEOUT", "soon")]));
        assert!(wrong.unwrap_err().to_string().starts_with("FLEET_ENROLL_TIMEOUT"));
    }

    #[test]
    fn directories_come_from_the_environment_unless_they_are_given() {
        let given = Globals { path_logs: Some("/l".into()), ..Globals::default() };
        let globals = with_paths(&given, &environment(&[("STATE_PATH", "/s"), ("LOGS_PATH", "/x")]));
        assert_eq!(globals.path_data, Some("/s".into()));
        assert_eq!(globals.path_logs, Some("/l".into()));
        assert!(globals.stderr);
    }
}
