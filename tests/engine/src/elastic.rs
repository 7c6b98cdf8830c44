//! An Elasticsearch with security, where there is one.

use std::ops::Deref;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleet_service::tls::{Pem, client};

use crate::client::Client;
use crate::error::EngineError;

/// An Elasticsearch that the environment names: `ELASTICSEARCH_URL`, with `ELASTICSEARCH_USERNAME` (else `elastic`),
/// `ELASTICSEARCH_PASSWORD` (else `changeme`) and, for `https`, `ELASTICSEARCH_CA` (a file; else the system's
/// authorities). Its user may do everything.
#[derive(Debug)]
pub struct Elastic {
    client: Client,
    user: String,
    password: String,
    authority: Option<PathBuf>,
}

impl Elastic {
    /// The one of the environment. `None` without one, with a line that says that the test is skipped: a test that
    /// needs one returns then.
    ///
    /// # Panics
    /// When the environment names one that cannot be used: a lane that silently tests nothing is none.
    #[expect(clippy::panic, clippy::print_stderr, reason = "it is the harness of tests")]
    pub fn from_env() -> Option<Self> {
        let url = variable("ELASTICSEARCH_URL");
        let Some(url) = url else {
            eprintln!("SKIPPED: it needs a real Elasticsearch, and ELASTICSEARCH_URL names none");
            return None;
        };
        match Self::at(url) {
            Ok(elastic) => Some(elastic),
            Err(error) => panic!("ELASTICSEARCH_URL and the like: {}", error.chain()),
        }
    }

    fn at(url: String) -> Result<Self, EngineError> {
        let user = variable("ELASTICSEARCH_USERNAME").unwrap_or_else(|| "elastic".to_owned());
        let password = variable("ELASTICSEARCH_PASSWORD").unwrap_or_else(|| "changeme".to_owned());
        let authority = variable("ELASTICSEARCH_CA").map(PathBuf::from);
        let tls = if url.starts_with("https://") {
            let trusted: Vec<Pem> = authority.iter().cloned().map(Pem::File).collect();
            let config =
                client::trusting(&trusted).map_err(|error| EngineError::Address(format!("{error:?}")))?;
            Some(config)
        } else {
            None
        };
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        Ok(Self { client: Client::new(url, Some(basic), tls), user, password, authority })
    }

    /// Who may do everything there.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// That user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The file of the authority that its certificate is to be trusted by.
    pub fn authority(&self) -> Option<&std::path::Path> {
        self.authority.as_deref()
    }
}

impl Deref for Elastic {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
