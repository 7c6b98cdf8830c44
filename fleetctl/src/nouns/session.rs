//! One run against one fleet-server.

use std::io;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use crate::cli::Environment;
use crate::client::{TlsFiles, open_management};
use crate::context::Failure;
use crate::error::report;
use crate::management::{ApiError, Client, Credentials, FindError, Kind, find, find_id};
use crate::output::Console;
use crate::profile::{ProfileError, SelectError, Server, ServerFlags, select};
use crate::settings::Settings;

/// The server, the console, and what the run takes from the machine it is on.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) console: Arc<Console>,
    pub(crate) client: Client,
    pub(crate) environment: Environment,
}

impl Session {
    /// A session with the server that flags, variables and profiles name. Nothing is connected yet, unless there
    /// is a tunnel.
    pub(crate) async fn open(
        console: &Arc<Console>,
        settings: &Settings,
        environment: &Environment,
        flags: &ServerFlags,
    ) -> Result<Session, Failure> {
        let server = select(flags, environment)?;
        Session::with(console, settings, environment, &server).await
    }

    /// A session with this server.
    pub(crate) async fn with(
        console: &Arc<Console>,
        settings: &Settings,
        environment: &Environment,
        server: &Server,
    ) -> Result<Session, Failure> {
        let mut tls = TlsFiles { skip_verify: server.insecure_skip_verify, ..settings.tls.clone() };
        tls.ca = tls.ca.or_else(|| server.ca.clone());
        let opened = open_management(&server.url, &tls, settings, console).await;
        let (transport, endpoint) =
            opened.map_err(|error| Failure::new(format!("{}: {}", server.url, report(&error))))?;
        if is_readable_by_others(&server.url, &server.credentials) && settings.tunnel.is_none() {
            console.warn(format_args!(
                "{} is not encrypted: whoever is on the way can read the password. Use https://",
                server.url
            ));
        }
        let client =
            Client::new(transport, endpoint.base_url, endpoint.base_path, server.credentials.clone());
        Ok(Session { console: Arc::clone(console), client, environment: environment.clone() })
    }

    /// The id of the object that `word` names.
    pub(crate) async fn id(&self, kind: &Kind, word: &str) -> Result<String, Failure> {
        Ok(find_id(&self.client, kind, word).await?)
    }

    /// The ids of the objects that `words` name, in their order.
    pub(crate) async fn ids(&self, kind: &Kind, words: &[String]) -> Result<Vec<String>, Failure> {
        let finds = words.iter().map(|word| find_id(&self.client, kind, word));
        let found = futures_util::stream::iter(finds).buffered(self.client.concurrency());
        Ok(found.try_collect().await?)
    }

    /// The object that `word` names.
    pub(crate) async fn object(&self, kind: &Kind, word: &str) -> Result<serde_json::Value, Failure> {
        Ok(find(&self.client, kind, word).await?)
    }

    /// Asks the user. Without somebody who can answer, only `--yes` says so.
    pub(crate) async fn confirm(&self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.console.is_interactive() {
            return Err(Failure::new(format!("{question} Nobody can answer here: say so with --yes")));
        }
        self.console.ask(format_args!("{question} (yes/no) "));
        let answer = tokio::task::spawn_blocking(read_line).await.unwrap_or_default();
        match answer.trim().to_lowercase().as_str() {
            "yes" | "y" => Ok(()),
            _ => Err(Failure::new("Nothing was done.")),
        }
    }
}

/// One line of standard input; nothing when it has ended.
pub(crate) fn read_line() -> String {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(_) => line,
        Err(error) => {
            tracing::debug!(%error, "no answer can be read");
            String::new()
        }
    }
}

fn is_readable_by_others(url: &str, credentials: &Credentials) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = crate::client::split_port(authority).map(|(host, _)| host).unwrap_or_default();
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_here && *credentials != Credentials::Nobody
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::new(format!("{}{}", report(&error), error.hint()))
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Failure {
        match error {
            FindError::Api(error) => error.into(),
            other => Failure::new(report(&other)),
        }
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Failure {
        Failure::new(report(&error))
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Failure {
        Failure::new(report(&error))
    }
}

#[cfg(test)]
mod tests {
    use fleet_service::config::value::Secret;

    use super::*;

    #[test]
    fn passwords_over_open_connections_are_warned_of() {
        let key = Credentials::ApiKey(Secret::new("x"));
        for (url, expected) in [
            ("http://127.0.0.1:5601", false),
            ("http://localhost", false),
            ("http://[::1]:5601/base", false),
            ("http://10.0.0.1:5601", true),
            ("http://fleet.example.com", true),
            ("https://fleet.example.com", false),
        ] {
            assert_eq!(is_readable_by_others(url, &key), expected, "{url}");
            assert!(!is_readable_by_others(url, &Credentials::Nobody));
        }
    }
}
