//! `output`: the engine that this server may administer, and with what it logs in there.
//!
//! The store over Elasticsearch is not there yet. What is used is hosts, login, headers and authorities, for
//! outputs at the same hosts; the rest is read so that a file of the original is checked as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::{Expected, Secret};

use super::tls::{ClientTls, read_client};

/// How the engine is reached.
#[derive(Clone, Debug)]
pub struct Elasticsearch {
    /// `http://host:port/path` or `https://…`, from whatever form was given.
    pub hosts: Vec<String>,
    /// The token to log in with.
    pub service_token: Option<Secret>,
    /// A user to log in with instead.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// An API key to log in with instead: `id:key`, or that encoded. With one, no keys can be made for agents.
    pub api_key: Option<Secret>,
    /// Headers of every request. Some hold secrets.
    pub headers: BTreeMap<String, Secret>,
    /// The proxy.
    pub proxy_url: Option<String>,
    /// Use no proxy, not even one that the environment names.
    pub proxy_disable: bool,
    /// Headers for the proxy.
    pub proxy_headers: BTreeMap<String, Secret>,
    /// How long an answer's headers may take.
    pub timeout: Duration,
    /// Connections to one host.
    pub max_conn_per_host: u32,
    /// The largest request, in bytes.
    pub max_content_length: u64,
    /// Whom to trust, and who we are.
    pub tls: Option<ClientTls>,
}

/// The port of a host that names none, whatever its scheme.
const DEFAULT_PORT: u16 = 9200;

/// Reads it; `None` if there is no `output.elasticsearch`.
pub(super) fn read(root: &Section<'_>) -> Option<Elasticsearch> {
    let output = root.section("output");
    for name in output.names().into_iter().filter(|name| name != "elasticsearch") {
        output.accepted(&name);
        let text = format!("output.{name} is not possible: output may have the key elasticsearch alone");
        output.mistake(&name, text);
    }
    let is_given = output.has("elasticsearch");
    let section = output.section("elasticsearch");
    section.ignored("bootstrap", "it is for a server that runs under an agent");
    if section.optional("max_retries", read::integer(0..=i32::MAX)).is_some() {
        let text = "output.elasticsearch.max_retries has no effect: the number is fixed";
        section.warning("max_retries", text);
    }
    let protocol = section.get("protocol", "http".to_owned(), scheme);
    let path = section.get("path", String::new(), read::text);
    let host = |scalar: &Scalar| host_url(scalar, &protocol, &path);
    let default = vec![format!("{protocol}://localhost:{DEFAULT_PORT}{}", normal_path(&path))];
    let elasticsearch = Elasticsearch {
        hosts: section.list("hosts", default, host),
        service_token: section.secret_or_file("service_token", "service_token_path", TextFile::Line),
        username: section.optional("username", read::text),
        password: section.optional("password", read::secret),
        api_key: section.optional("api_key", read::secret),
        headers: headers(&section, "headers"),
        proxy_url: section.optional("proxy_url", proxy_url),
        proxy_disable: section.get("proxy_disable", false, read::boolean),
        proxy_headers: headers(&section, "proxy_headers"),
        timeout: super::duration(&section, "timeout", Duration::from_secs(90)),
        max_conn_per_host: section.get("max_conn_per_host", 128, read::integer(0..=u32::MAX)),
        max_content_length: section.get("max_content_length", 100 << 20, read::integer(0..=i64::MAX as u64)),
        tls: read_client(&section.section("ssl")),
    };
    is_given.then_some(elasticsearch)
}

/// Headers by name. A value is never shown, as it may be a secret.
fn headers(section: &Section<'_>, key: &str) -> BTreeMap<String, Secret> {
    let headers = section.map(key, read::secret);
    for (name, value) in &headers {
        let is_good =
            name.parse::<http::HeaderName>().is_ok() && http::HeaderValue::from_str(value.reveal()).is_ok();
        if !is_good {
            let text =
                format!("{}: the name or the value of {name:?} is none of HTTP", section.full_key(key));
            section.mistake(key, text);
        }
    }
    headers
}

fn scheme(scalar: &Scalar) -> Result<String, Expected> {
    read::one_of(&[("http", "http"), ("https", "https")])(scalar).map(str::to_owned)
}

fn normal_path(path: &str) -> String {
    let inner = path.trim_matches('/');
    if inner.is_empty() { String::new() } else { format!("/{inner}") }
}

/// `host`, `host:port` or a URL, with what is missing put in.
fn host_url(scalar: &Scalar, protocol: &str, path: &str) -> Result<String, Expected> {
    let expected = || Expected::new("a host, host:port or a URL");
    let text = scalar.text().trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("{protocol}://{text}") };
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(expected)?;
    let authority = uri.authority().ok_or_else(expected)?;
    if authority.as_str().contains('@') {
        return Err(Expected::new("a URL without a user"));
    }
    let host = authority.host();
    // A bare IPv6 address cannot be told from a host and its port.
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(expected());
    }
    // `host:` and `host:99999` have no port that the parser sees.
    let has_port_text = authority.as_str().len() > host.len();
    let port = match (authority.port_u16(), has_port_text) {
        (Some(port), _) => port,
        (None, false) => DEFAULT_PORT,
        (None, true) => return Err(expected()),
    };
    let path = match uri.path().trim_matches('/') {
        "" => normal_path(path),
        own => format!("/{own}"),
    };
    Ok(format!("{scheme}://{host}:{port}{path}"))
}

/// A URL, or a host with a port, which means HTTP.
fn proxy_url(scalar: &Scalar) -> Result<String, Expected> {
    let text = scalar.text().trim();
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match url.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(Expected::new("a URL such as http://proxy.example:3128")),
    }
}
