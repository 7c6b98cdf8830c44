//! How a server is reached.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_service::config::Secret;
use fleet_service::tls::{ClientTls, Identity, Passphrase, Pem, Verification};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a server is reached. Kept with the agent's identity; a policy may change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionSettings {
    /// Base URLs of servers that are as good as each other.
    pub hosts: Vec<String>,
    /// TLS.
    pub ssl: Ssl,
    /// A proxy on the way; empty: the one of the environment, if any.
    pub proxy_url: String,
    /// No proxy at all, not even that of the environment.
    pub proxy_disable: bool,
    /// What the proxy is told.
    pub proxy_headers: BTreeMap<String, String>,
    /// What each request carries besides.
    pub headers: BTreeMap<String, String>,
}

/// TLS, by the names that policies use. A certificate, key or authority is a file or the PEM text itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ssl {
    /// Whom to trust; none: the system's authorities.
    pub certificate_authorities: Vec<String>,
    /// SHA-256 of an authority's certificate in hexadecimal: trusted when the server sends it.
    pub ca_trusted_fingerprint: String,
    /// SHA-256 of authorities' public keys in base64: one must be in the chain.
    pub ca_sha256: Vec<String>,
    /// The agent's own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// What the key is encrypted with.
    pub key_passphrase: String,
    /// A file with that.
    pub key_passphrase_path: String,
    /// `full`, `strict`, `certificate` or `none`; empty: `full`.
    pub verification_mode: String,
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct SettingsError {
    /// The field, as policies name it.
    pub field: String,
    /// What is wrong and the fix.
    pub problem: String,
}

pub(super) fn wrong(field: &str, problem: impl Into<String>) -> SettingsError {
    SettingsError { field: field.to_owned(), problem: problem.into() }
}

impl Ssl {
    /// As the TLS library wants it.
    ///
    /// # Errors
    /// A fingerprint or a mode that is none.
    pub fn client(&self) -> Result<ClientTls, SettingsError> {
        let verification = match self.verification_mode.as_str() {
            "" | "full" | "strict" => Verification::Full,
            "certificate" => Verification::Certificate,
            "none" => Verification::None,
            other => {
                let problem = format!("{other:?} is unknown: use full, strict, certificate or none");
                return Err(wrong("ssl.verification_mode", problem));
            }
        };
        let fingerprints = match self.ca_trusted_fingerprint.as_str() {
            "" => Vec::new(),
            text => vec![fingerprint(text)?],
        };
        let pins = self.ca_sha256.iter().map(|text| pin(text)).collect::<Result<_, _>>()?;
        let passphrase = if !self.key_passphrase.is_empty() {
            Some(Passphrase::Inline(Secret::new(&self.key_passphrase)))
        } else if !self.key_passphrase_path.is_empty() {
            Some(Passphrase::File(self.key_passphrase_path.clone().into()))
        } else {
            None
        };
        let identity = match (self.certificate.as_str(), self.key.as_str()) {
            ("", "") => None,
            ("", _) => {
                return Err(wrong("ssl.certificate", "a key is given without its certificate: give both"));
            }
            (_, "") => return Err(wrong("ssl.key", "a certificate is given without its key: give both")),
            (certificate, key) => Some(Identity {
                certificate: Pem::from_setting(certificate),
                key: Pem::from_setting(key),
                key_passphrase: passphrase,
            }),
        };
        Ok(ClientTls {
            authorities: self.certificate_authorities.iter().map(|text| Pem::from_setting(text)).collect(),
            fingerprints,
            pins,
            identity,
            verification,
        })
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32], SettingsError> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':' && *byte != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair =
            std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    hash.ok_or_else(|| wrong("ssl.ca_trusted_fingerprint", "this is not SHA-256 in hexadecimal (64 digits)"))
}

fn pin(text: &str) -> Result<[u8; 32], SettingsError> {
    let hash = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    hash.ok_or_else(|| wrong("ssl.ca_sha256", "this is not SHA-256 in base64 (44 characters)"))
}

impl ConnectionSettings {
    /// These settings with what a policy's section `fleet` says laid over them.
    ///
    /// # Errors
    /// A value is not of its kind.
    pub fn with_policy(&self, fleet: &Map<String, Value>) -> Result<ConnectionSettings, SettingsError> {
        let mut settings = self.clone();
        if let Some(hosts) = texts(fleet, "fleet.hosts", "hosts")?.filter(|hosts| !hosts.is_empty()) {
            settings.hosts = hosts.iter().map(|host| normal_host(host)).collect::<Result<_, _>>()?;
        }
        if let Some(proxy) = text(fleet, "fleet.proxy_url", "proxy_url")? {
            settings.proxy_url = proxy;
        }
        if let Some(Value::Bool(disable)) = fleet.get("proxy_disable") {
            settings.proxy_disable = *disable;
        }
        if let Some(headers) = fleet.get("proxy_headers").filter(|headers| !headers.is_null()) {
            settings.proxy_headers = map_of_texts("fleet.proxy_headers", headers)?;
        }
        match fleet.get("ssl") {
            None | Some(Value::Null) => {}
            Some(Value::Object(ssl)) => settings.ssl.lay_over(ssl)?,
            Some(_) => return Err(wrong("fleet.ssl", "this is not a map")),
        }
        Ok(settings)
    }
}

impl Ssl {
    fn lay_over(&mut self, ssl: &Map<String, Value>) -> Result<(), SettingsError> {
        if let Some(authorities) = texts(ssl, "fleet.ssl.certificate_authorities", "certificate_authorities")?
        {
            self.certificate_authorities = authorities;
        }
        if let Some(pins) = texts(ssl, "fleet.ssl.ca_sha256", "ca_sha256")? {
            self.ca_sha256 = pins;
        }
        for (name, place) in [
            ("ca_trusted_fingerprint", &mut self.ca_trusted_fingerprint),
            ("certificate", &mut self.certificate),
            ("key", &mut self.key),
            ("key_passphrase", &mut self.key_passphrase),
            ("key_passphrase_path", &mut self.key_passphrase_path),
            ("verification_mode", &mut self.verification_mode),
        ] {
            if let Some(given) = text(ssl, &format!("fleet.ssl.{name}"), name)? {
                *place = given;
            }
        }
        Ok(())
    }
}

fn text(map: &Map<String, Value>, field: &str, name: &str) -> Result<Option<String>, SettingsError> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(field, "this is not a text")),
    }
}

fn texts(map: &Map<String, Value>, field: &str, name: &str) -> Result<Option<Vec<String>>, SettingsError> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(items)) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned));
            let items: Option<Vec<String>> = items.collect();
            items.map(Some).ok_or_else(|| wrong(field, "this is not a list of texts"))
        }
        Some(_) => Err(wrong(field, "this is not a list of texts")),
    }
}

fn map_of_texts(field: &str, value: &Value) -> Result<BTreeMap<String, String>, SettingsError> {
    serde_json::from_value(value.clone()).map_err(|_| wrong(field, "this is not a map of texts"))
}

/// A server's base URL: `https` unless another scheme is given, without a slash at the end.
///
/// # Errors
/// It is no URL of a server.
pub(crate) fn normal_host(text: &str) -> Result<String, SettingsError> {
    let text = text.trim().trim_end_matches('/');
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    match whole.parse::<reqwest::Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(whole),
        _ => Err(wrong(
            "fleet.hosts",
            format!("{text:?} is not the URL of a server, as https://fleet.example.com:8220 is"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("a map") };
        map
    }

    #[test]
    fn a_policy_changes_only_what_it_names() {
        let before = ConnectionSettings {
            hosts: vec!["https://a:8220".to_owned()],
            ssl: Ssl { certificate_authorities: vec!["/ca".to_owned()], ..Ssl::default() },
            ..ConnectionSettings::default()
        };
        let after =
            before.with_policy(&fleet(json!({"hosts": ["b:8220/", "http://c"], "proxy_url": "http://p"})));
        let after = after.unwrap();
        assert_eq!(after.hosts, ["https://b:8220", "http://c"]);
        assert_eq!(after.ssl, before.ssl);
        assert_eq!(after.proxy_url, "http://p");
        assert_eq!(before.with_policy(&Map::new()).unwrap(), before);
    }

    #[test]
    fn mistakes_name_their_field() {
        let settings = ConnectionSettings::default();
        for (value, field) in [
            (json!({"hosts": [1]}), "fleet.hosts"),
            (json!({"hosts": ["ftp://x"]}), "fleet.hosts"),
            (json!({"ssl": 1}), "fleet.ssl"),
            (json!({"ssl": {"key": 1}}), "fleet.ssl.key"),
        ] {
            assert_eq!(settings.with_policy(&fleet(value)).unwrap_err().field, field);
        }
        let ssl = Ssl { ca_trusted_fingerprint: "é".repeat(32), ..Ssl::default() };
        assert_eq!(ssl.client().unwrap_err().field, "ssl.ca_trusted_fingerprint");
        let ssl = Ssl { key: "k".to_owned(), ..Ssl::default() };
        assert_eq!(ssl.client().unwrap_err().field, "ssl.certificate");
    }

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(fingerprint(&plain), fingerprint(&colons));
        assert_eq!(fingerprint(&plain).unwrap(), [0xab; 32]);
    }
}
