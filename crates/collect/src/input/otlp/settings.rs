//! What a stream may say.

use std::time::Duration;

use fleet_service::tls::{ClientAuthentication, Pem, ServerTls};
use serde_json::Value;

use super::cors::Cors;
use super::signal::Signal;
use crate::config::{Config, Mistake};

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }
}

/// An address, and all that is the same for those who connect there.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) protocol: Protocol,
    /// `host:port`.
    pub(super) address: String,
    pub(super) tls: Option<ServerTls>,
    /// The largest request, unpacked, in bytes.
    pub(super) most: usize,
    pub(super) connections: usize,
    /// Connections without a request for so long are closed.
    pub(super) idle: Duration,
    pub(super) cors: Cors,
    /// Paths of the signals over HTTP.
    pub(super) paths: [String; Signal::ALL.len()],
    /// The settings as they are written: those of one address must be the same for all who share it.
    written: Value,
}

impl Endpoint {
    /// What tells one from another.
    pub(super) fn place(&self) -> (Protocol, String) {
        (self.protocol, self.address.clone())
    }

    /// Whether both can be served by one listener.
    pub(super) fn same(&self, other: &Endpoint) -> bool {
        self.protocol == other.protocol && self.written == other.written
    }
}

/// A stream's settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) signal: Signal,
    pub(super) endpoints: Vec<Endpoint>,
}

/// Larger requests than this are nobody's telemetry, whatever a policy says.
const LARGEST: u64 = 128 << 20;

/// Where a policy sets no limit this is it: each connection takes a descriptor, a task and buffers.
const CONNECTIONS: usize = 1024;

/// Where a policy sets none.
const IDLE: Duration = Duration::from_secs(600);

impl Settings {
    pub(super) fn read(config: &Config) -> Result<Settings, Mistake> {
        let signal = config.text("signal")?;
        let signal = signal.and_then(|text| Signal::ALL.into_iter().find(|signal| signal.name() == text));
        let wrong = || config.mistake("signal", "must be logs, metrics or traces");
        let signal = config.or(Signal::Logs, signal.ok_or_else(wrong))?;
        let mut endpoints = Vec::new();
        for (protocol, key, default) in [
            (Protocol::Grpc, "protocols.grpc", "localhost:4317"),
            (Protocol::Http, "protocols.http", "localhost:4318"),
        ] {
            // `grpc:` alone is enough: it has a default for everything.
            if config.mentions(key) {
                let section = config.section(key)?;
                endpoints.push(endpoint(config, &section, protocol, default)?);
                if let Some(name) = section.unknown().first() {
                    tracing::warn!(setting = name, "a setting is not known and not used");
                }
            }
        }
        match endpoints.as_slice() {
            [] => Err(config.mistake("protocols", "needs grpc or http: without them nothing is listened on")),
            [grpc, http] if grpc.address == http.address && !grpc.address.ends_with(":0") => {
                Err(config.mistake("protocols.http.endpoint", "must differ from protocols.grpc.endpoint"))
            }
            _ => Ok(Settings { signal, endpoints }),
        }
    }
}

fn endpoint(
    config: &Config,
    section: &Config,
    protocol: Protocol,
    default: &str,
) -> Result<Endpoint, Mistake> {
    let address = section.text("endpoint")?.unwrap_or_else(|| default.to_owned());
    let address = address.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        let problem = format!("{address:?} is not host:port, such as {default}");
        section.or((), Err(section.mistake("endpoint", problem)))?;
    }
    let (key, most) = match protocol {
        Protocol::Grpc => {
            let mib = section.number("max_recv_msg_size_mib", 4)?;
            ("max_recv_msg_size_mib", mib.saturating_mul(1 << 20))
        }
        Protocol::Http => ("max_request_body_size", section.size("max_request_body_size", 20 << 20)?),
    };
    // 0 means that nothing was said.
    let most = if most == 0 { 20 << 20 } else { most };
    let most = usize::try_from(most).ok().filter(|most| *most as u64 <= LARGEST);
    let most = section.or(0, most.ok_or_else(|| section.mistake(key, "must be 128 MiB or less")))?;
    let connections = match section.count("max_connections", config.count("max_connections", 0)?)? {
        0 => CONNECTIONS,
        number => number,
    };
    let idle = section.duration("idle_timeout", IDLE)?;
    let mut paths = Signal::ALL.map(|signal| signal.path().to_owned());
    for signal in Signal::ALL {
        let key = format!("{}_url_path", signal.name());
        if let Some(path) = section.text(&key)? {
            paths[signal as usize] = format!("/{}", path.trim_start_matches('/'));
        }
    }
    // What other receivers of the protocol know, and what has no meaning here.
    section.allow(&[
        "transport",
        "include_metadata",
        "keepalive",
        "read_buffer_size",
        "write_buffer_size",
        "max_concurrent_streams",
    ]);
    let tls = match section.or(None, tls(section))? {
        Some(tls) => Some(tls),
        None => config.or(None, crate::input::net::server_tls(config))?,
    };
    let tls = tls.map(|mut tls| {
        tls.alpn = match protocol {
            Protocol::Grpc => vec![b"h2".to_vec()],
            Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        tls
    });
    Ok(Endpoint {
        protocol,
        address,
        tls,
        most,
        connections,
        idle: if idle.is_zero() { IDLE } else { idle.max(Duration::from_secs(1)) },
        cors: Cors::read(&section.section("cors")?)?,
        paths,
        written: serde_json::json!([section.map(), config.value("ssl"), connections]),
    })
}

/// `tls`, with the names that collectors have for it.
fn tls(section: &Config) -> Result<Option<ServerTls>, Mistake> {
    let tls = section.section("tls")?;
    if tls.map().is_empty() {
        return Ok(None);
    }
    let pem = |name: &str| -> Result<Option<Pem>, Mistake> {
        let given = |key: String| Ok(tls.text(&key)?.filter(|text| !text.is_empty()));
        let file = given(format!("{name}_file"))?;
        Ok(file.or(given(format!("{name}_pem"))?).map(|text| Pem::from_setting(&text)))
    };
    let needed = |name: &str| {
        pem(name)?.ok_or_else(|| tls.mistake(&format!("{name}_file"), "is missing: give a file in PEM form"))
    };
    let mut server = ServerTls::new(needed("cert")?, needed("key")?);
    if let Some(authority) = pem("client_ca")? {
        // Whoever names authorities wants them to be asked for.
        server.client_authorities = vec![authority];
        server.client_authentication = ClientAuthentication::Required;
    }
    let known = ["1.2", "1.3"];
    let bound = |key: &str, default: usize| match tls.text(key)? {
        None => Ok(default),
        Some(text) => known
            .iter()
            .position(|version| *version == text)
            .ok_or_else(|| tls.mistake(key, "must be 1.2 or 1.3, in quotes")),
    };
    let (least, most) = (bound("min_version", 0)?, bound("max_version", 1)?);
    if least > most {
        return Err(tls.mistake("max_version", "is older than min_version"));
    }
    server.versions = known[least..=most].iter().map(|version| format!("TLSv{version}")).collect();
    // Certificates are looked at again by themselves.
    tls.allow(&["reload_interval"]);
    if let Some(name) = tls.unknown().first() {
        return Err(Mistake::new(name.clone(), "is not known for servers: take it out"));
    }
    Ok(Some(server))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(settings: &Value) -> Result<Settings, Mistake> {
        Settings::read(&Config::new(settings.as_object().unwrap()))
    }

    #[test]
    fn what_the_form_writes_is_read() {
        let tls = json!({"cert_file": "/c.pem", "key_file": "/k.pem", "client_ca_file": "/a.pem", "min_version": "1.3"});
        let read = settings(&json!({
            "signal": "traces",
            "protocols.grpc": {"endpoint": "0.0.0.0:4317", "max_recv_msg_size_mib": 8, "tls": tls},
            "protocols.http": {"endpoint": "localhost:4318", "max_request_body_size": 1000,
                "cors": {"allowed_origins": ["https://*.example.com"]}},
        }))
        .unwrap();
        let [grpc, http] = read.endpoints.as_slice() else { panic!("{read:?}") };
        assert_eq!((read.signal, grpc.protocol, grpc.most), (Signal::Traces, Protocol::Grpc, 8 << 20));
        let tls = grpc.tls.as_ref().unwrap();
        assert_eq!(tls.client_authentication, ClientAuthentication::Required);
        assert_eq!((&tls.versions, &tls.alpn), (&vec!["TLSv1.3".to_owned()], &vec![b"h2".to_vec()]));
        assert_eq!((http.most, http.tls.is_none(), http.address.as_str()), (1000, true, "localhost:4318"));
    }

    #[test]
    fn what_goes_without_saying() {
        let read = settings(&json!({"signal": "logs", "protocols": {"grpc": null, "http": {}}})).unwrap();
        let addresses: Vec<&str> = read.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
        assert_eq!(addresses, ["localhost:4317", "localhost:4318"]);
        assert_eq!(read.endpoints[0].most, 4 << 20);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |value: Value| settings(&value).unwrap_err().to_string();
        assert!(error(json!({"protocols": {"grpc": null}})).starts_with("signal: must be"));
        assert!(error(json!({"signal": "logs"})).starts_with("protocols: needs"));
        let at = |endpoint: &str| json!({"signal": "logs", "protocols": {"grpc": {"endpoint": endpoint}}});
        assert!(error(at("nowhere")).starts_with("protocols.grpc.endpoint: \"nowhere\" is not host:port"));
        let tls = |tls: Value| json!({"signal": "logs", "protocols": {"http": {"tls": tls}}});
        assert!(
            error(tls(json!({"cert_file": "/c"}))).starts_with("protocols.http.tls.key_file: is missing")
        );
        let old = json!({"cert_file": "/c", "key_file": "/k", "min_version": "1.0"});
        assert!(error(tls(old)).starts_with("protocols.http.tls.min_version: must be"));
        let same = json!({"grpc": {"endpoint": "a:1"}, "http": {"endpoint": "a:1"}});
        assert!(error(json!({"signal": "logs", "protocols": same})).contains("must differ"));
    }
}
