//! `store`: where documents are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::{Expected, Secret};

use super::tls::{ClientTls, read_client};

/// Where documents are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// A database in this process.
    Embedded {
        /// Its file.
        path: PathBuf,
    },
    /// An etcd cluster, which several servers can share.
    Etcd(Box<Etcd>),
}

/// How the etcd cluster is reached.
#[derive(Clone, Debug)]
pub struct Etcd {
    /// URLs of members, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// What every key begins with. One slash at each end.
    pub key_prefix: String,
    /// The user to log in as, and the password: both or none.
    pub credentials: Option<(String, Secret)>,
    /// The time within which each call answers or fails.
    pub request_timeout: Duration,
    /// Whom to trust, and who we are. `None`: the system's authorities, no certificate of ours.
    pub tls: Option<ClientTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Embedded,
    Etcd,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Embedded => "embedded",
            Kind::Etcd => "etcd",
        })
    }
}

/// Reads it. A configuration that names Elasticsearch must say which store it wants instead.
pub(super) fn read(root: &Section<'_>, data_dir: &Path, names_elasticsearch: bool) -> Store {
    let store = root.section("store");
    let kinds = [("embedded", Kind::Embedded), ("etcd", Kind::Etcd)];
    let is_chosen = store.has("type");
    let kind = store.get("type", Kind::Embedded, read::one_of(&kinds));
    if names_elasticsearch && !is_chosen {
        root.mistake(
            "output.elasticsearch",
            "output.elasticsearch is given, but this server cannot keep its documents in Elasticsearch yet, and \
             does not start with an empty store of its own unasked: set store.type to embedded or etcd",
        );
    }
    let path = store.get("path", data_dir.join("store.db"), read::path);
    let etcd = read_etcd(&store, kind);
    for (key, of) in [("path", Kind::Embedded), ("etcd", Kind::Etcd)] {
        if store.has(key) && kind != of {
            store.warning(key, format!("store.{key} has no effect: store.type is {kind}, not {of}"));
        }
    }
    match kind {
        Kind::Embedded => Store::Embedded { path },
        Kind::Etcd => Store::Etcd(Box::new(etcd)),
    }
}

fn read_etcd(store: &Section<'_>, kind: Kind) -> Etcd {
    let etcd = store.section("etcd");
    let default = vec!["http://127.0.0.1:2379".to_owned()];
    let endpoints = etcd.list("endpoints", default, endpoint);
    if endpoints.is_empty() && kind == Kind::Etcd {
        etcd.mistake("endpoints", "store.etcd.endpoints must name at least one URL");
    }
    let username = etcd.optional("username", read::text);
    let password = etcd.secret_or_file("password", "password_file", TextFile::Line);
    let credentials = match (username, password) {
        (Some(username), Some(password)) => Some((username, password)),
        (Some(_), None) => {
            let text = "store.etcd.username needs store.etcd.password or store.etcd.password_file";
            // A file that is named but cannot be used is told by itself.
            if !etcd.has("password_file") {
                etcd.mistake("username", text);
            }
            None
        }
        (None, Some(_)) => {
            let key = if etcd.has("password") { "password" } else { "password_file" };
            etcd.mistake(key, format!("store.etcd.{key} needs store.etcd.username"));
            None
        }
        (None, None) => None,
    };
    let request_timeout = super::duration(&etcd, "request_timeout", Duration::from_secs(1));
    if request_timeout.is_zero() {
        let text = "store.etcd.request_timeout must be longer than 0: it is the time that a request may take";
        etcd.mistake("request_timeout", text);
    }
    let tls = read_client(&etcd.section("ssl"));
    let is_plain = endpoints.iter().all(|url| url.starts_with("http://"));
    if is_plain && kind == Kind::Etcd {
        if tls.is_some() {
            etcd.warning(
                "ssl",
                "store.etcd.ssl has no effect: no URL of store.etcd.endpoints begins with https://",
            );
        }
        if credentials.is_some() {
            let text = "store.etcd.password is sent in clear: use https:// in store.etcd.endpoints";
            etcd.warning("username", text);
        }
    }
    Etcd {
        endpoints,
        key_prefix: etcd.get("key_prefix", "/_coreos.com/fleet/".to_owned(), key_prefix),
        credentials,
        request_timeout,
        tls,
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
