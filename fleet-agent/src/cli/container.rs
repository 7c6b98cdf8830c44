//! `fleet-agent container`: enrols as the environment says, and runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fleet_component::supervisor::Platform;
use fleet_service::error::chain;

use super::flags::{EnrollFlags, Globals, ServerFlags};
use super::{Failure, Outcome, bootstrap, enroll, failure, run, runtime};
use crate::config::texts;
use crate::enrolment;
use crate::paths::Paths;
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
    let environment = Environment(texts(std::env::vars_os()));
    let globals = with_paths(globals, &environment);
    enrol(&globals.paths(), &environment).map_err(|error| in_words_of_images(error.as_ref()))?;
    run::run(&globals, Platform::here().in_container())
}

fn enrol(paths: &Paths, environment: &Environment) -> Result<(), Failure> {
    let Some(flags) = enrolment_flags(environment)? else { return Ok(()) };
    // A container that starts again is the same agent, unless it is told to be another.
    if !flags.force && is_enrolled(paths)? {
        return Ok(());
    }
    match bootstrap::wanted(paths, &flags)? {
        Some((wanted, _)) => bootstrap::prepare(paths, None, &wanted),
        None => {
            let wanted = enroll::wanted(&flags)?;
            runtime()?.block_on(enrolment::enroll(
                paths,
                None,
                &wanted,
                &enroll::tell_attempts(wanted.within),
            ))?;
            Ok(())
        }
    }
}

/// Whoever starts an image knows no flags, but variables.
const WORDS: [(&str, &str); 29] = [
    ("--certificate-authorities", "FLEET_CA"),
    ("--elastic-agent-cert", "ELASTIC_AGENT_CERT"),
    ("--elastic-agent-cert-key", "ELASTIC_AGENT_CERT_KEY"),
    ("--enrollment-token", "FLEET_ENROLLMENT_TOKEN"),
    ("--fleet-init-timeout", "FLEET_SERVER_INIT_TIMEOUT"),
    ("--fleet-server-cert", "FLEET_SERVER_CERT"),
    ("--fleet-server-cert-key", "FLEET_SERVER_CERT_KEY"),
    ("--fleet-server-cert-key-passphrase", "FLEET_SERVER_CERT_KEY_PASSPHRASE"),
    ("--fleet-server-client-auth", "FLEET_SERVER_CLIENT_AUTH"),
    ("--fleet-server-es", "FLEET_SERVER_ELASTICSEARCH_HOST"),
    ("--fleet-server-es-ca", "FLEET_SERVER_ELASTICSEARCH_CA"),
    ("--fleet-server-es-ca-trusted-fingerprint", "FLEET_SERVER_ELASTICSEARCH_CA_TRUSTED_FINGERPRINT"),
    ("--fleet-server-es-cert", "FLEET_SERVER_ES_CERT"),
    ("--fleet-server-es-cert-key", "FLEET_SERVER_ES_CERT_KEY"),
    ("--fleet-server-es-insecure", "FLEET_SERVER_ELASTICSEARCH_INSECURE=true"),
    ("--fleet-server-host", "FLEET_SERVER_HOST"),
    ("--fleet-server-insecure-http", "FLEET_SERVER_INSECURE_HTTP"),
    ("--fleet-server-internal-port", "FLEET_SERVER_INTERNAL_PORT"),
    ("--fleet-server-policy", "FLEET_SERVER_POLICY_ID"),
    ("--fleet-server-port", "FLEET_SERVER_PORT"),
    ("--fleet-server-service-token", "FLEET_SERVER_SERVICE_TOKEN"),
    ("--fleet-server-service-token-path", "FLEET_SERVER_SERVICE_TOKEN_PATH"),
    ("--fleet-server-timeout", "FLEET_SERVER_TIMEOUT"),
    ("--force", "FLEET_FORCE=true"),
    ("--id", "ELASTIC_AGENT_ID"),
    ("--insecure", "FLEET_INSECURE=true"),
    ("--path.data", "STATE_PATH"),
    ("--replace-token", "FLEET_REPLACE_TOKEN"),
    ("--url", "FLEET_URL"),
];

fn in_words_of_images(error: &(dyn std::error::Error + 'static)) -> Failure {
    failure(without_flags(&chain(error)))
}

/// A text with the names of variables in the place of flags: of whole ones, for some begin as others do.
fn without_flags(text: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("--") {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter| !is_part(letter)).unwrap_or(from.len());
        let flag = from[..end].trim_end_matches('.');
        let name = WORDS.iter().find(|(known, _)| *known == flag).map_or(flag, |(_, name)| name);
        told.push_str(before);
        told.push_str(name);
        rest = &from[flag.len()..];
    }
    told.push_str(rest);
    told
}

fn is_enrolled(paths: &Paths) -> Result<bool, Failure> {
    let store = enrolment::open_state(paths, None)?;
    let (identity, message) = store.load::<Identity>(Identity::NAME)?.split();
    if let Some(message) = message {
        super::say(&message);
    }
    Ok(identity.is_some())
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
    let server = server_flags(environment)?;
    let token = environment.text(&["FLEET_ENROLLMENT_TOKEN"]);
    // A token asks for it too, unless somebody says that it is not to be.
    let wanted = match environment.text(&["FLEET_ENROLL"]) {
        Some(_) => environment.truth("FLEET_ENROLL"),
        None => token.is_some(),
    };
    if !wanted && !server.fleet_server_enable {
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
        server,
        ..EnrollFlags::default()
    }))
}

/// What the environment says of a Fleet Server; without `FLEET_SERVER_ENABLE`, nothing.
fn server_flags(environment: &Environment) -> Result<ServerFlags, Failure> {
    if !environment.truth("FLEET_SERVER_ENABLE") {
        return Ok(ServerFlags::default());
    }
    let text = |name: &str| environment.text(&[name]);
    let port = |name: &str| match text(name) {
        None => Ok(None),
        Some(port) => port
            .parse()
            .map(Some)
            .map_err(|_| failure(format!("{name}: {port:?} is not a port: give a number from 1 to 65535"))),
    };
    let client_auth = text("FLEET_SERVER_CLIENT_AUTH");
    if let Some(other) = client_auth.as_deref().filter(|one| !["none", "optional", "required"].contains(one))
    {
        return Err(failure(format!(
            "FLEET_SERVER_CLIENT_AUTH: {other:?} is unknown: use none, optional or required"
        )));
    }
    Ok(ServerFlags {
        fleet_server_enable: true,
        fleet_server_es: environment.text(&["FLEET_SERVER_ELASTICSEARCH_HOST", "ELASTICSEARCH_HOST"]),
        fleet_server_es_ca: environment.text(&["FLEET_SERVER_ELASTICSEARCH_CA", "ELASTICSEARCH_CA"]),
        fleet_server_es_ca_trusted_fingerprint: text("FLEET_SERVER_ELASTICSEARCH_CA_TRUSTED_FINGERPRINT"),
        fleet_server_es_insecure: environment.truth("FLEET_SERVER_ELASTICSEARCH_INSECURE"),
        fleet_server_es_cert: text("FLEET_SERVER_ES_CERT"),
        fleet_server_es_cert_key: text("FLEET_SERVER_ES_CERT_KEY"),
        fleet_server_service_token: text("FLEET_SERVER_SERVICE_TOKEN"),
        fleet_server_service_token_path: text("FLEET_SERVER_SERVICE_TOKEN_PATH"),
        fleet_server_policy: environment.text(&["FLEET_SERVER_POLICY_ID", "FLEET_SERVER_POLICY"]),
        fleet_server_host: text("FLEET_SERVER_HOST"),
        fleet_server_port: port("FLEET_SERVER_PORT")?,
        fleet_server_internal_port: port("FLEET_SERVER_INTERNAL_PORT")?,
        fleet_server_cert: text("FLEET_SERVER_CERT"),
        fleet_server_cert_key: text("FLEET_SERVER_CERT_KEY"),
        fleet_server_cert_key_passphrase: text("FLEET_SERVER_CERT_KEY_PASSPHRASE"),
        fleet_server_client_auth: client_auth,
        fleet_server_insecure_http: environment.truth("FLEET_SERVER_INSECURE_HTTP"),
        fleet_server_timeout: environment.duration("FLEET_SERVER_TIMEOUT", Duration::from_secs(120))?,
        fleet_init_timeout: environment.duration("FLEET_SERVER_INIT_TIMEOUT", Duration::from_secs(30))?,
    })
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
    fn a_fleet_server_is_brought_up_when_the_environment_says_so() {
        let enabled = ("FLEET_SERVER_ENABLE", "true");
        let flags = enrolment_flags(&environment(&[
            enabled,
            ("FLEET_SERVER_ELASTICSEARCH_HOST", "http://es:9200"),
            ("FLEET_SERVER_POLICY_ID", "p"),
            ("FLEET_SERVER_PORT", "9000"),
        ]));
        let server = flags.unwrap().unwrap().own_server().unwrap().unwrap().bootstrap.server;
        assert_eq!((server.policy_id.as_str(), &server.server["port"]), ("p", &9000.into()));
        assert_eq!(server.engine["hosts"], serde_json::json!(["es:9200"]));
        let none = enrolment_flags(&environment(&[("FLEET_SERVER_PORT", "9000"), ("FLEET_ENROLL", "1")]));
        assert!(none.unwrap().unwrap().own_server().unwrap().is_none());
        for (name, wrong) in [("FLEET_SERVER_PORT", "x"), ("FLEET_SERVER_CLIENT_AUTH", "maybe")] {
            let error = enrolment_flags(&environment(&[enabled, (name, wrong)])).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn flags_have_names_as_variables_and_whole_ones_alone_are_replaced() {
        use clap::CommandFactory;
        let command = super::super::Arguments::command();
        let install = command.find_subcommand("install").unwrap();
        for (flag, _) in WORDS {
            let known = |arg: &clap::Arg| arg.get_long().is_some_and(|long| format!("--{long}") == flag);
            assert!(install.get_arguments().chain(command.get_arguments()).any(known), "{flag}");
        }
        assert_eq!(
            without_flags("--fleet-server-es-ca, --fleet-server-es. --unknown --"),
            "FLEET_SERVER_ELASTICSEARCH_CA, FLEET_SERVER_ELASTICSEARCH_HOST. --unknown --"
        );
    }

    #[test]
    fn what_is_missing_is_told_in_the_words_of_images() {
        let home = tempfile::tempdir().unwrap();
        let given = crate::paths::Given { home: Some(home.path().to_owned()), ..Default::default() };
        let told = |pairs: &[(&str, &str)]| {
            let error = enrol(&Paths::of(&given), &environment(pairs)).unwrap_err();
            in_words_of_images(error.as_ref()).to_string()
        };
        let url = ("FLEET_URL", "https://127.0.0.1:1");
        for (given, name) in [
            (&[("FLEET_ENROLL", "1")][..], "FLEET_URL"),
            (&[("FLEET_ENROLL", "1"), url], "FLEET_ENROLLMENT_TOKEN"),
            (&[("FLEET_ENROLLMENT_TOKEN", "t"), ("FLEET_URL", "http://x")], "FLEET_INSECURE"),
            (&[("FLEET_ENROLLMENT_TOKEN", "t"), url, ("FLEET_REPLACE_TOKEN", "r")], "ELASTIC_AGENT_ID"),
            (&[("FLEET_SERVER_ENABLE", "1"), ("FLEET_SERVER_CERT", "/c")], "FLEET_SERVER_CERT_KEY"),
            (
                &[("FLEET_SERVER_ENABLE", "1"), ("FLEET_SERVER_ELASTICSEARCH_HOST", "x:1")],
                "FLEET_SERVER_ELASTICSEARCH_HOST",
            ),
        ] {
            let text = told(given);
            assert!(text.contains(name) && !text.contains("--"), "{text}");
        }
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
