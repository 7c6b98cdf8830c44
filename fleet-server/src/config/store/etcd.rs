//! `store.etcd`: how the etcd cluster is reached.

use std::path::PathBuf;
use std::time::Duration;

use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::{Expected, Secret};
use fleet_service::tls::Pem;
use fleet_store::etcd::Options;

use crate::config::tls::{ClientTls, Verification, Version, read_client};

/// How the etcd cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// URLs of members, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// What every key begins with. One slash at each end.
    pub key_prefix: String,
    /// The user to log in as, and the password.
    pub credentials: Option<(String, Secret)>,
    /// The time within which each call answers or fails.
    pub request_timeout: Duration,
    /// PEM file with the authorities to trust; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// PEM files with our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Etcd {
    /// The same, as the store takes it.
    #[must_use]
    pub fn options(&self) -> Options {
        let (username, password) = self.credentials.clone().unzip();
        let (cert_file, key_file) = self.identity.clone().unzip();
        Options {
            endpoints: self.endpoints.clone(),
            key_prefix: self.key_prefix.clone(),
            request_timeout: self.request_timeout,
            username,
            password: password.map(|password| password.reveal().to_owned()),
            ca_file: self.authorities.clone(),
            cert_file,
            key_file,
        }
    }
}

/// Reads it. What goes together is looked at only if etcd `is_chosen`.
pub(super) fn read(section: &Section<'_>, is_chosen: bool) -> Etcd {
    let default = vec!["http://127.0.0.1:2379".to_owned()];
    let endpoints = section.list("endpoints", default, endpoint);
    if endpoints.is_empty() && is_chosen {
        section.mistake("endpoints", "store.etcd.endpoints must name at least one URL");
    }
    let request_timeout = crate::config::duration(section, "request_timeout", Duration::from_secs(1));
    if request_timeout.is_zero() {
        let text = "store.etcd.request_timeout must be longer than 0: it is the time that a request may take";
        section.mistake("request_timeout", text);
    }
    let ssl = section.section("ssl");
    let tls = read_client(&ssl);
    let etcd = Etcd {
        endpoints,
        key_prefix: section.get("key_prefix", "/_coreos.com/fleet/".to_owned(), key_prefix),
        credentials: credentials(section),
        request_timeout,
        authorities: authorities(&ssl, tls.as_ref()),
        identity: identity(&ssl, tls.as_ref()),
    };
    if is_chosen {
        if let Some(tls) = &tls {
            refuse_what_is_not_done(&ssl, tls);
        }
        warn_of_plain_text(section, &etcd, tls.is_some());
    }
    etcd
}

fn credentials(section: &Section<'_>) -> Option<(String, Secret)> {
    let username = section.optional("username", read::text);
    let password = section.secret_or_file("password", "password_file", TextFile::Line);
    match (username, password) {
        (Some(username), Some(password)) => Some((username, password)),
        (Some(_), None) => {
            // A file that is named but cannot be used is told by itself.
            if !section.has("password_file") {
                let text = "store.etcd.username needs store.etcd.password or store.etcd.password_file";
                section.mistake("username", text);
            }
            None
        }
        (None, Some(_)) => {
            let key = if section.has("password") { "password" } else { "password_file" };
            section.mistake(key, format!("store.etcd.{key} needs store.etcd.username"));
            None
        }
        (None, None) => None,
    }
}

fn warn_of_plain_text(section: &Section<'_>, etcd: &Etcd, has_tls: bool) {
    if etcd.endpoints.iter().any(|url| url.starts_with("https://")) {
        return;
    }
    if has_tls {
        let text = "store.etcd.ssl has no effect: no URL of store.etcd.endpoints begins with https://";
        section.warning("ssl", text);
    }
    if etcd.credentials.is_some() {
        let text = "store.etcd.password is sent in clear: use https:// in store.etcd.endpoints";
        section.warning("username", text);
    }
}

fn authorities(ssl: &Section<'_>, tls: Option<&ClientTls>) -> Option<PathBuf> {
    match tls?.common.authorities.as_deref()? {
        [Pem::File(path)] => Some(path.clone()),
        _ => {
            let key = "certificate_authorities";
            ssl.mistake(key, format!("{} must be one file, with all authorities in it", ssl.full_key(key)));
            None
        }
    }
}

fn identity(ssl: &Section<'_>, tls: Option<&ClientTls>) -> Option<(PathBuf, PathBuf)> {
    let identity = tls?.identity.as_ref()?;
    match (&identity.certificate, &identity.key) {
        (Pem::File(certificate), Pem::File(key)) => Some((certificate.clone(), key.clone())),
        (Pem::File(_), Pem::Inline(_)) => only_a_file(ssl, "key"),
        _ => only_a_file(ssl, "certificate"),
    }
}

fn only_a_file<T>(ssl: &Section<'_>, key: &str) -> Option<T> {
    ssl.mistake(key, format!("{} must be a file", ssl.full_key(key)));
    None
}

/// What the connection to etcd does not do must not look as if it did.
fn refuse_what_is_not_done(ssl: &Section<'_>, tls: &ClientTls) {
    let common = &tls.common;
    let passphrase = tls.identity.as_ref().is_some_and(|identity| identity.passphrase.is_some());
    let checks_name = matches!(common.verification, Verification::Full | Verification::Strict);
    let is_any_version = (common.oldest, common.newest) == (Version::Tls12, Version::Tls13);
    let refused = [
        ("verification_mode", !checks_name),
        ("supported_protocols", !is_any_version),
        ("cipher_suites", !common.cipher_suites.is_empty()),
        ("curve_types", !common.curves.is_empty()),
        ("ca_sha256", !common.ca_sha256.is_empty()),
        ("ca_trusted_fingerprint", tls.trusted_fingerprint.is_some()),
        ("key_passphrase", passphrase && ssl.has("key_passphrase")),
        ("key_passphrase_path", passphrase && !ssl.has("key_passphrase")),
        ("certificate_reload.enabled", common.reload.is_none()),
    ];
    for (key, is_refused) in refused {
        if is_refused {
            let text = format!("{} cannot be set to this for etcd: remove it", ssl.full_key(key));
            ssl.mistake(key, text);
        }
    }
}

fn endpoint(scalar: &Scalar) -> Result<String, Expected> {
    let expected = || Expected::new("a URL such as https://etcd.example:2379");
    let url = scalar.text().trim().trim_end_matches('/');
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or_else(expected)?;
    if rest.contains('@') {
        return Err(Expected::new("a URL without a user (that goes into username and password)"));
    }
    let port = rest.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_bad_port = port.is_some_and(|port| port.parse::<u16>().is_err());
    if rest.is_empty() || rest.starts_with(':') || rest.contains(['/', '?', '#', ' ', ',']) || is_bad_port {
        return Err(expected());
    }
    Ok(url.to_owned())
}

fn key_prefix(scalar: &Scalar) -> Result<String, Expected> {
    let inner = scalar.text().trim_matches('/');
    if inner.contains('\0') {
        return Err(Expected::new("a path without NUL bytes"));
    }
    Ok(if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") })
}
