//! An output, with its secrets, as something to connect with.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_policy::documents::{AgentPolicy, DeployedPolicy, Output};
use fleet_policy::policies::Secrets as _;
use fleet_policy::render::{named_in, render};
use fleet_service::config::value::Secret;
use fleet_service::tls::Pem;
use fleet_service::tls::client::{ClientTls, Identity, Verification};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::EngineProblem;
use super::connection::Connection;
use crate::config::output::Elasticsearch;
use crate::fleet::Fleet;
use crate::upstream::Proxy;

/// The port of a host that names none.
const DEFAULT_PORT: u16 = 9200;

/// With what the configuration lets the server log in to its engine.
#[derive(Clone, Debug, Default)]
pub struct ServerLogin {
    hosts: Vec<String>,
    authorization: Option<Secret>,
    headers: BTreeMap<String, Secret>,
    authorities: Vec<Pem>,
}

impl From<&Elasticsearch> for ServerLogin {
    fn from(given: &Elasticsearch) -> ServerLogin {
        let bearer = given.service_token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        let basic = given.username.as_ref().zip(given.password.as_ref());
        let basic = basic.map(|(user, password)| basic_header(user, password.reveal()));
        let key = given.api_key.as_ref().map(|key| key_header(key.reveal()));
        let authorities = given.tls.as_ref().and_then(|tls| tls.common.authorities.clone());
        ServerLogin {
            hosts: given.hosts.iter().filter_map(|host| normal(host)).collect(),
            authorization: bearer.or(basic).or(key).map(Secret::new),
            headers: given.headers.clone(),
            authorities: authorities.unwrap_or_default(),
        }
    }
}

impl ServerLogin {
    /// Whether it was given for all of these hosts.
    fn is_for(&self, hosts: &[String]) -> bool {
        self.authorization.is_some() && hosts.iter().all(|host| self.hosts.contains(host))
    }
}

fn basic_header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Keys are written as `id:key` by agents, and encoded by everybody else.
fn key_header(key: &str) -> String {
    if key.contains(':') { format!("ApiKey {}", STANDARD.encode(key)) } else { format!("ApiKey {key}") }
}

/// The revisions of all that an output's connection is made of; `None`: it is no engine.
pub(super) fn revisions(fleet: &Fleet, output_id: &str) -> Option<Vec<u64>> {
    let output = fleet.settings.outputs.get(output_id).filter(|output| output.value.kind.is_engine())?;
    let proxy = output.value.proxy_id.as_deref().and_then(|id| fleet.settings.proxies.get(id));
    Some(
        [Some(output.revision), proxy.map(|proxy| proxy.revision)]
            .into_iter()
            .flatten()
            .map(|one| one.0)
            .collect(),
    )
}

/// All that it takes to connect to an output's engine, with its secrets in their places.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// The output.
    pub(super) output_id: String,
    /// As agents get it.
    rendered: Value,
    /// The token that agents do not get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// Without what it logs in with.
impl fmt::Debug for Whole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Whole").field("output_id", &self.output_id).finish_non_exhaustive()
    }
}

/// An output as it is now.
pub(super) async fn whole(fleet: &Fleet, output_id: &str) -> Result<Whole, EngineProblem> {
    let output = fleet.settings.outputs.get(output_id).filter(|output| output.value.kind.is_engine());
    let output = output.ok_or_else(|| EngineProblem::Gone(output_id.to_owned()))?;
    let (rendered, token) = resolved(fleet, &output.value).await?;
    Ok(Whole { output_id: output_id.to_owned(), rendered, token })
}

/// The way to an output's engine.
pub(super) async fn connection(
    whole: &Whole,
    server: Option<&ServerLogin>,
) -> Result<Connection, EngineProblem> {
    let Whole { output_id, rendered, token } = whole;
    let settings = |reason: String| EngineProblem::Settings { output: output_id.clone(), reason };
    let texts = rendered["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let hosts: Vec<String> = texts.filter_map(normal).collect();
    if hosts.is_empty() {
        return Err(settings("hosts: there must be one, as https://engine.example:9200".to_owned()));
    }
    let server = server.filter(|server| server.is_for(&hosts));
    let own = token.as_ref().map(|token| format!("Bearer {token}")).or_else(|| own_login(rendered));
    let authorization = server
        .and_then(|server| server.authorization.as_ref())
        .map(|header| header.reveal().to_owned())
        .or(own)
        .map(|header| header_value(&header))
        .transpose()
        .map_err(|()| settings("its login holds characters that no header may".to_owned()))?;
    let mut headers = HeaderMap::new();
    let of_output = rendered["headers"].as_object().into_iter().flatten();
    let of_output = of_output.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let of_server = server.into_iter().flat_map(|server| &server.headers);
    let of_server = of_server.map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    for (name, value) in of_output.chain(of_server) {
        let name = name.parse::<HeaderName>();
        let value = header_value(&value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
    let proxy = match rendered["proxy_url"].as_str().filter(|_| rendered["proxy_disable"] != true) {
        Some(url) => {
            Some(Proxy::parse(url).ok_or_else(|| settings(format!("proxy_url {url:?} is not http://…")))?)
        }
        None => None,
    };
    let tls = if hosts.iter().any(|host| host.starts_with("https://")) {
        let tls = tls(&rendered["ssl"], server).map_err(settings)?;
        let loading = tokio::task::spawn_blocking(move || tls.load());
        let loaded = loading.await.map_err(|_| settings("the server ends".to_owned()))?;
        Some(loaded.map_err(|error| settings(format!("ssl: {error}")))?)
    } else {
        None
    };
    Ok(Connection { hosts, authorization, headers, tls, proxy })
}

/// The output as agents get it, with its secrets in their places, and the token that agents do not get.
async fn resolved(fleet: &Fleet, output: &Output) -> Result<(Value, Option<String>), EngineProblem> {
    let asking = AgentPolicy { data_output_id: Some(output.id.clone()), ..AgentPolicy::default() };
    let parts = fleet.settings.snapshot().parts_for(&asking, &[]);
    let mut parts = parts.map_err(|_| EngineProblem::Gone(output.id.clone()))?;
    let rendered = parts.outputs.remove(&parts.data_output).unwrap_or_default();
    let data = Map::from_iter([("outputs".to_owned(), json!({"it": rendered}))]);
    let token =
        output.secrets.as_ref().and_then(|secrets| secrets.service_token.as_ref()?.id().map(str::to_owned));
    let mut ids = named_in(&data);
    ids.extend(token.clone());
    let secrets = fleet.secrets.open(&ids).await.map_err(|_| EngineProblem::Store)?;
    let policy = DeployedPolicy { data, ..DeployedPolicy::default() };
    let mut whole: Value = serde_json::from_slice(&render(&policy, &secrets).data.text()).unwrap_or_default();
    let token = token.and_then(|id| secrets.get(&id).cloned()).or_else(|| output.service_token.clone());
    Ok((whole["policy"]["outputs"]["it"].take(), token.filter(|token| !token.is_empty())))
}

/// What the output itself logs in with.
fn own_login(rendered: &Value) -> Option<String> {
    let text = |key: &str| rendered[key].as_str().filter(|text| !text.is_empty());
    match (text("username"), text("password"), text("api_key")) {
        (Some(user), Some(password), _) => Some(basic_header(user, password)),
        (_, _, Some(key)) => Some(key_header(key)),
        _ => None,
    }
}

fn header_value(text: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

/// As agents would connect: what the output says, else whom the configuration trusts.
fn tls(ssl: &Value, server: Option<&ServerLogin>) -> Result<ClientTls, String> {
    let text = |key: &str| ssl[key].as_str().filter(|text| !text.is_empty());
    let given = ssl["certificate_authorities"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut authorities: Vec<Pem> = given.map(Pem::from_setting).collect();
    let fingerprints = text("ca_trusted_fingerprint").map(fingerprint).transpose()?;
    if authorities.is_empty() && fingerprints.is_none() {
        authorities.extend(server.into_iter().flat_map(|server| server.authorities.iter().cloned()));
    }
    let identity = text("certificate").zip(text("key")).map(|(certificate, key)| Identity {
        certificate: Pem::from_setting(certificate),
        key: Pem::from_setting(key),
        key_passphrase: None,
    });
    let verification = match text("verification_mode") {
        Some("none") => Verification::None,
        Some("certificate") => Verification::Certificate,
        _ => Verification::Full,
    };
    Ok(ClientTls {
        authorities,
        fingerprints: fingerprints.into_iter().collect(),
        pins: Vec::new(),
        identity,
        verification,
    })
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let text = text.replace(':', "");
    let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.collect();
    let bytes = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        "ssl.ca_trusted_fingerprint is not the SHA-256 of a certificate in hexadecimal".to_owned()
    })
}

/// `scheme://host:port/path`, so that the same place has one name.
fn normal(host: &str) -> Option<String> {
    let text = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
    let path = uri.path().trim_end_matches('/');
    Some(format!("{scheme}://{host}:{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_one_place() {
        for (given, expected) in [
            ("http://Engine", Some("http://engine:9200")),
            ("engine:9200", Some("http://engine:9200")),
            ("https://engine/path/", Some("https://engine:9200/path")),
            ("https://[::1]:443", Some("https://[::1]:443")),
            ("ftp://engine", None),
            ("", None),
        ] {
            assert_eq!(normal(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn fingerprints_with_and_without_colons() {
        assert_eq!(fingerprint(&"ab".repeat(32)), Ok([0xab; 32]));
        assert_eq!(fingerprint(&["AB"; 32].join(":")), Ok([0xab; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_login_goes_to_no_other_host() {
        let login = ServerLogin {
            hosts: vec!["https://a:9200".to_owned()],
            authorization: Some(Secret::new("Bearer x")),
            ..ServerLogin::default()
        };
        assert!(login.is_for(&["https://a:9200".to_owned()]));
        assert!(!login.is_for(&["https://a:9200".to_owned(), "https://b:9200".to_owned()]));
        assert!(!login.is_for(&["http://a:9200".to_owned()]), "nor in clear");
    }
}
