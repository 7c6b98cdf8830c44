//! Flags of a Fleet Server that the agent brings up and enrols with.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{EnrollFlags, absolute, duration, pairs};
use crate::enrolment::Bootstrap;
use crate::fleet::{ConnectionSettings, SettingsError};
use crate::fleet_server::{Authority, CertificateError, FleetServer, LIFETIME};

/// Where agents connect to, without another word.
const PORT: u16 = 8220;
/// Where this agent connects to.
const INTERNAL_PORT: u16 = 8221;
/// All addresses of the machine.
const ALL: &str = "0.0.0.0";

/// Flags of a Fleet Server that the agent brings up and enrols with.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerFlags {
    /// Run a Fleet Server on this machine, which keeps its documents itself; any flag of this family says the same
    #[arg(long)]
    pub fleet_server_enable: bool,
    /// Elasticsearch of the Fleet Server: http[s]://host:port[/path]
    #[arg(long, value_name = "URL")]
    pub fleet_server_es: Option<String>,
    /// The authority of Elasticsearch
    #[arg(long, value_name = "FILE")]
    pub fleet_server_es_ca: Option<String>,
    /// SHA-256 of the authority's certificate in hexadecimal
    #[arg(long, value_name = "HASH")]
    pub fleet_server_es_ca_trusted_fingerprint: Option<String>,
    /// Do not verify Elasticsearch
    #[arg(long)]
    pub fleet_server_es_insecure: bool,
    /// The Fleet Server's certificate for Elasticsearch
    #[arg(long, value_name = "FILE")]
    pub fleet_server_es_cert: Option<String>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub fleet_server_es_cert_key: Option<String>,
    /// The Fleet Server's token for Elasticsearch
    #[arg(long, value_name = "TOKEN")]
    pub fleet_server_service_token: Option<String>,
    /// A file with that
    #[arg(long, value_name = "FILE")]
    pub fleet_server_service_token_path: Option<String>,
    /// The policy of this agent, which runs the Fleet Server [default: fleet-server-policy]
    #[arg(long, value_name = "ID")]
    pub fleet_server_policy: Option<String>,
    /// The address that agents connect to [default: 0.0.0.0; localhost with --fleet-server-insecure-http]
    #[arg(long, value_name = "HOST")]
    pub fleet_server_host: Option<String>,
    /// The port that agents connect to [default: 8220]
    #[arg(long, value_name = "PORT")]
    pub fleet_server_port: Option<u16>,
    /// The port on localhost that this agent connects to [default: 8221]
    #[arg(long, value_name = "PORT")]
    pub fleet_server_internal_port: Option<u16>,
    /// The Fleet Server's certificate; without one it gets one of an authority that is made for it
    #[arg(long, value_name = "FILE")]
    pub fleet_server_cert: Option<String>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub fleet_server_cert_key: Option<String>,
    /// A file with the key's passphrase
    #[arg(long, value_name = "FILE")]
    pub fleet_server_cert_key_passphrase: Option<String>,
    /// Whether agents show certificates of the authorities of --certificate-authorities
    #[arg(long, value_name = "WHETHER", value_parser = ["none", "optional", "required"])]
    pub fleet_server_client_auth: Option<String>,
    /// Serve without encryption: only for trying things out
    #[arg(long)]
    pub fleet_server_insecure_http: bool,
    /// Wait so long for the Fleet Server to take enrolments
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub fleet_server_timeout: Duration,
    /// Wait so long for it to be healthy after the enrolment
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub fleet_init_timeout: Duration,
}

/// Why the flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ServerFlagsError {
    /// A flag is not of its kind.
    #[error(transparent)]
    Flag(#[from] SettingsError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// What the flags say of a server, and how this agent reaches it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct OwnServer {
    /// What is brought up.
    pub(in crate::cli) bootstrap: Bootstrap,
    /// How this agent reaches it.
    pub(in crate::cli) connection: ConnectionSettings,
    /// Whom agents trust, in PEM form, if its certificate was made now.
    pub(in crate::cli) authority: Option<String>,
}

impl EnrollFlags {
    /// The Fleet Server that the flags ask for; `None`: none.
    ///
    /// # Errors
    /// A flag is not of its kind, or no certificate can be made.
    pub(in crate::cli) fn own_server(&self) -> Result<Option<OwnServer>, ServerFlagsError> {
        let flags = &self.server;
        if !flags.is_given() {
            return Ok(None);
        }
        let (cert, key) = (flags.fleet_server_cert.as_deref(), flags.fleet_server_cert_key.as_deref());
        if cert.is_some() != key.is_some() {
            let missing = if cert.is_some() { "--fleet-server-cert-key" } else { "--fleet-server-cert" };
            return Err(wrong(missing, "a certificate and its key belong together: give both").into());
        }
        let is_plain = flags.fleet_server_insecure_http;
        let mut authority =
            if is_plain || cert.is_some() { None } else { Some(Authority::make(self.names())?) };
        let internal_port = flags.fleet_server_internal_port.unwrap_or(INTERNAL_PORT);
        let host = flags.fleet_server_host.as_deref().filter(|host| !host.is_empty());
        let mut server = Map::new();
        server.insert("host".to_owned(), host.unwrap_or(if is_plain { "localhost" } else { ALL }).into());
        server.insert("port".to_owned(), flags.fleet_server_port.unwrap_or(PORT).into());
        server.insert("internal_port".to_owned(), internal_port.into());
        if !is_plain {
            server.insert("ssl".to_owned(), self.server_tls());
        }
        let trusted = authority.as_ref().map(|(_, certificate)| certificate.clone());
        let mut server = FleetServer {
            policy_id: flags.fleet_server_policy.clone().unwrap_or_default(),
            server,
            engine: self.engine()?,
            init_seconds: flags.fleet_init_timeout.as_secs(),
            authority: authority.take().map(|(authority, _)| authority),
        };
        server.renew(crate::clock::now_seconds(), LIFETIME)?;
        let bootstrap = Bootstrap { server, within: flags.fleet_server_timeout };
        let authority = trusted;
        let mut connection = EnrollFlags { url: Vec::new(), ..self.clone() }.connection()?;
        let scheme = if is_plain { "http" } else { "https" };
        connection.hosts = vec![format!("{scheme}://localhost:{internal_port}")];
        connection.proxy_disable = true;
        connection.proxy_url.clear();
        if connection.ssl.verification_mode.is_empty() {
            // A certificate of one's own need not name this machine as it speaks to itself.
            connection.ssl.verification_mode = "certificate".to_owned();
        }
        if let Some(authority) = &authority {
            connection.ssl.certificate_authorities = vec![authority.clone()];
        }
        Ok(Some(OwnServer { bootstrap, connection, authority }))
    }

    /// By which names agents may know the server.
    fn names(&self) -> Vec<String> {
        let urls = self.url.iter().filter_map(|url| {
            let whole = if url.contains("://") { url.clone() } else { format!("https://{url}") };
            let host = whole.parse::<reqwest::Url>().ok()?.host_str()?.to_owned();
            Some(host.trim_matches(['[', ']']).to_owned())
        });
        let given = self.server.fleet_server_host.clone().filter(|host| host != ALL && host != "::");
        given.into_iter().chain(urls).filter(|name| !name.is_empty() && name.is_ascii()).collect()
    }

    fn server_tls(&self) -> Value {
        let flags = &self.server;
        let path = |given: &Option<String>| given.as_deref().map(absolute).unwrap_or_default();
        let mut ssl = json!({
            "enabled": true,
            "certificate": path(&flags.fleet_server_cert),
            "key": path(&flags.fleet_server_cert_key),
        });
        if flags.fleet_server_cert_key_passphrase.is_some() {
            ssl["key_passphrase_path"] = path(&flags.fleet_server_cert_key_passphrase).into();
        }
        let asked = flags.fleet_server_client_auth.as_deref().unwrap_or("none");
        ssl["client_authentication"] = asked.into();
        if asked != "none" {
            ssl["certificate_authorities"] =
                self.certificate_authorities.iter().map(|path| absolute(path)).collect();
        }
        ssl
    }

    /// How the server's engine is reached; empty: it has none.
    fn engine(&self) -> Result<Map<String, Value>, SettingsError> {
        const FIELD: &str = "--fleet-server-es";
        let flags = &self.server;
        let Some(given) = flags.fleet_server_es.as_deref().filter(|given| !given.is_empty()) else {
            return Ok(Map::new());
        };
        let url = given.parse::<reqwest::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.filter(reqwest::Url::has_host).ok_or_else(|| {
            wrong(FIELD, "this is not the URL of an Elasticsearch, as https://es.example.com:9200 is")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(FIELD, "a URL must hold no password: give --fleet-server-service-token"));
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut engine = Map::new();
        engine.insert("protocol".to_owned(), url.scheme().into());
        engine.insert("hosts".to_owned(), json!([format!("{host}{port}")]));
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                engine.insert(name.to_owned(), value.into());
            }
        };
        put("path", Some(url.path().trim_end_matches('/').to_owned()));
        put("service_token", flags.fleet_server_service_token.clone());
        put("service_token_path", flags.fleet_server_service_token_path.as_deref().map(absolute));
        put("proxy_url", self.proxy_url.clone());
        if self.proxy_disabled {
            engine.insert("proxy_disable".to_owned(), true.into());
        }
        for (name, flag, given) in
            [("proxy_headers", "--proxy-header", &self.proxy_header), ("headers", "--header", &self.header)]
        {
            if !given.is_empty() {
                engine.insert(name.to_owned(), json!(pairs(flag, given)?));
            }
        }
        let ssl = flags.engine_tls();
        if !ssl.is_empty() {
            engine.insert("ssl".to_owned(), Value::Object(ssl));
        }
        Ok(engine)
    }
}

impl ServerFlags {
    /// Whether any of them is given that asks for a server.
    fn is_given(&self) -> bool {
        let is_text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        self.fleet_server_enable
            || self.fleet_server_insecure_http
            || self.fleet_server_port.is_some()
            || self.fleet_server_internal_port.is_some()
            || [
                &self.fleet_server_es,
                &self.fleet_server_policy,
                &self.fleet_server_host,
                &self.fleet_server_cert,
                &self.fleet_server_service_token,
                &self.fleet_server_service_token_path,
            ]
            .into_iter()
            .any(is_text)
    }

    fn engine_tls(&self) -> Map<String, Value> {
        let mut ssl = Map::new();
        if let Some(authority) = &self.fleet_server_es_ca {
            ssl.insert("certificate_authorities".to_owned(), json!([absolute(authority)]));
        }
        if let Some(fingerprint) = &self.fleet_server_es_ca_trusted_fingerprint {
            ssl.insert("ca_trusted_fingerprint".to_owned(), fingerprint.as_str().into());
        }
        if self.fleet_server_es_insecure {
            ssl.insert("verification_mode".to_owned(), "none".into());
        }
        for (name, given) in
            [("certificate", &self.fleet_server_es_cert), ("key", &self.fleet_server_es_cert_key)]
        {
            if let Some(given) = given {
                ssl.insert(name.to_owned(), absolute(given).into());
            }
        }
        ssl
    }
}

fn wrong(field: &str, problem: &str) -> SettingsError {
    SettingsError { field: field.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(server: ServerFlags) -> Result<Option<OwnServer>, ServerFlagsError> {
        EnrollFlags { server, ..EnrollFlags::default() }.own_server()
    }

    #[test]
    fn the_commands_that_people_know_say_what_they_did() {
        assert!(of(ServerFlags::default()).unwrap().is_none());
        let own = of(ServerFlags {
            fleet_server_es: Some("https://es:9200/a/".to_owned()),
            fleet_server_service_token: Some("t".to_owned()),
            fleet_server_policy: Some("p".to_owned()),
            fleet_server_es_insecure: true,
            ..ServerFlags::default()
        });
        let own = own.unwrap().unwrap();
        let FleetServer { policy_id, server, engine, .. } = own.bootstrap.server;
        assert_eq!(policy_id, "p");
        assert_eq!(
            (&server["host"], &server["port"], &server["internal_port"]),
            (&json!("0.0.0.0"), &json!(8220), &json!(8221))
        );
        assert_eq!(server["ssl"]["client_authentication"], "none");
        let engine = Value::Object(engine);
        assert_eq!(
            engine,
            json!({"protocol": "https", "hosts": ["es:9200"], "path": "/a", "service_token": "t", "ssl": {"verification_mode": "none"}})
        );
        assert_eq!(own.connection.hosts, ["https://localhost:8221"]);
        assert_eq!(own.connection.ssl.certificate_authorities, [own.authority.unwrap()]);
        assert_eq!(own.connection.ssl.verification_mode, "certificate");
    }

    #[test]
    fn a_server_without_encryption_or_with_its_own_certificate_gets_none() {
        let plain = of(ServerFlags { fleet_server_insecure_http: true, ..ServerFlags::default() });
        let plain = plain.unwrap().unwrap();
        assert_eq!(plain.connection.hosts, ["http://localhost:8221"]);
        assert_eq!(plain.bootstrap.server.server["host"], "localhost");
        assert!(!plain.bootstrap.server.server.contains_key("ssl") && plain.authority.is_none());
        let given = of(ServerFlags {
            fleet_server_cert: Some("/c".to_owned()),
            fleet_server_cert_key: Some("/k".to_owned()),
            fleet_server_port: Some(1),
            ..ServerFlags::default()
        });
        let given = given.unwrap().unwrap();
        assert_eq!(given.bootstrap.server.server["ssl"]["certificate"], "/c");
        assert!(given.authority.is_none());
    }

    #[test]
    fn mistakes_name_their_flag() {
        let half = ServerFlags { fleet_server_cert: Some("/c".to_owned()), ..ServerFlags::default() };
        assert!(of(half).unwrap_err().to_string().starts_with("--fleet-server-cert-key"));
        for url in ["es:9200", "https://u:p@es"] {
            let flags = ServerFlags { fleet_server_es: Some(url.to_owned()), ..ServerFlags::default() };
            assert!(of(flags).unwrap_err().to_string().starts_with("--fleet-server-es"), "{url}");
        }
    }
}
