//! `inputs.0.server.instrumentation`: traces of the server itself.

use std::path::PathBuf;

use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::{Expected, Secret};

/// Where traces of the server itself would go. Nothing sends them yet but the check reads the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrumentation {
    /// Whether it was asked for.
    pub enabled: bool,
    /// URLs of APM servers.
    pub hosts: Vec<String>,
    /// The environment's name.
    pub environment: String,
    /// `key=value,…`, which every trace carries.
    pub global_labels: String,
    /// The part of all requests that is traced, from 0 to 1, as it was written.
    pub transaction_sample_rate: String,
    /// The key to log in with.
    pub api_key: Option<Secret>,
    /// Or the token.
    pub secret_token: Option<Secret>,
    /// Whether any certificate is good enough.
    pub skip_verify: bool,
    /// The one certificate that is.
    pub server_certificate: Option<PathBuf>,
    /// The authority that must have signed it.
    pub server_ca: Option<PathBuf>,
}

pub(super) fn read(section: &Section<'_>) -> Instrumentation {
    let enabled = section.get("enabled", false, read::boolean);
    if enabled {
        let text = format!("{} has no effect: traces are not sent yet", section.full_key("enabled"));
        section.warning("enabled", text);
    }
    Instrumentation {
        enabled,
        hosts: section.list("hosts", Vec::new(), url),
        environment: section.get("environment", String::new(), read::text),
        global_labels: section.get("global_labels", String::new(), read::text),
        transaction_sample_rate: section.get("transaction_sample_rate", String::new(), rate),
        api_key: section.secret_or_file("api_key", "api_key_path", TextFile::Line),
        secret_token: section.secret_or_file("secret_token", "secret_token_path", TextFile::Line),
        skip_verify: section.get("tls.skip_verify", false, read::boolean),
        server_certificate: section.optional("tls.server_certificate", file),
        server_ca: section.optional("tls.server_ca", file),
    }
}

/// An absolute URL of HTTP.
pub(super) fn url(scalar: &Scalar) -> Result<String, Expected> {
    let text = scalar.text().trim();
    let parsed: Option<http::Uri> = text.parse().ok();
    let is_good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_good { Ok(text.to_owned()) } else { Err(Expected::new("a URL such as https://host:8200")) }
}

fn rate(scalar: &Scalar) -> Result<String, Expected> {
    read::number(0.0..=1.0)(scalar).map(|_| scalar.text().to_owned())
}

/// A file's path; its content is no place for inline PEM here.
fn file(scalar: &Scalar) -> Result<PathBuf, Expected> {
    if scalar.text().contains("-----") {
        return Err(Expected::new("the path of a file"));
    }
    read::path(scalar)
}
