//! What the output can be told.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde_json::Value;

use super::tls::Tls;
use crate::config::{Config, Mistake, scalar};
use crate::outlet::Limits;

/// All of it, checked.
pub(super) struct Settings {
    pub(super) hosts: Vec<Url>,
    pub(super) headers: HeaderMap,
    pub(super) tls: Tls,
    pub(super) proxy: Option<Url>,
    pub(super) proxy_headers: HeaderMap,
    pub(super) no_proxy: bool,
    pub(super) compression: u32,
    pub(super) limits: Limits,
    pub(super) workers: usize,
    pub(super) timeout: Duration,
    pub(super) idle: Duration,
    pub(super) backoff: (Duration, Duration),
}

/// What a preset stands for, as published: `bulk_max_size`, `worker`, flush timeout, `compression_level`,
/// `idle_connection_timeout`.
struct Preset {
    events: usize,
    workers: usize,
    linger: Duration,
    compression: u64,
    idle: Duration,
}

/// Bytes of documents in a request, before compression. Engines refuse 100 MB; smaller ones are quicker to repeat.
const BULK_BYTES: u64 = 4 << 20;

/// Requests of more workers than this would only wait for the engine.
const MOST_WORKERS: usize = 64;

/// With the presets that fill requests for throughput, the first event waits this long for others at most: the
/// published 10 s would hide a quiet machine's events for no gain.
const LINGER: Duration = Duration::from_secs(1);

fn preset(config: &Config) -> Result<Preset, Mistake> {
    let seconds = Duration::from_secs;
    let preset = |events, workers, linger, idle| Preset { events, workers, linger, compression: 1, idle };
    let balanced = preset(1600, 1, LINGER, seconds(3));
    Ok(match config.text("preset")?.as_deref() {
        None | Some("balanced" | "custom" | "") => balanced,
        Some("throughput") => preset(1600, 4, LINGER, seconds(15)),
        Some("scale") => preset(1600, 1, seconds(20), seconds(1)),
        Some("latency") => preset(50, 1, Duration::from_millis(50), seconds(60)),
        Some(other) => {
            let problem = format!("{other:?} is unknown: use balanced, throughput, scale, latency or custom");
            config.or(balanced, Err(config.mistake("preset", problem)))?
        }
    })
}

impl Settings {
    pub(super) fn read(config: &Config) -> Result<Settings, Mistake> {
        config.allow(&[
            "max_retries",
            "index",
            "indices",
            "pipelines",
            "api_key_id",
            "allow_older_versions",
            "loadbalance",
            "queue",
            "bulk_max_bytes",
            "ca_sha256",
            "non_indexable_policy",
            "sync_integrations",
            "service_token",
            "kibana_url",
            "kibana_api_key",
            "otel",
            "write_to_logs_streams",
            "sync_uninstalled_integrations",
        ]);
        let preset = preset(config)?;
        let mut headers = HeaderMap::new();
        config.or((), add_headers(config, "headers", &mut headers))?;
        if let Some(authorization) = config.or(None, authorization(config))? {
            headers.insert(AUTHORIZATION, authorization);
        }
        let events = config.count("bulk_max_size", preset.events)?;
        let linger = config.duration("queue.mem.flush.timeout", preset.linger)?;
        let bytes = config.size("bulk_max_bytes", BULK_BYTES)?.clamp(1 << 10, 64 << 20);
        let compression = config.number("compression_level", preset.compression)?;
        let compression = u32::try_from(compression).ok().filter(|level| *level <= 9);
        let proxy = config.text("proxy_url")?.filter(|text| !text.is_empty());
        let mut proxy_headers = HeaderMap::new();
        config.or((), add_headers(config, "proxy_headers", &mut proxy_headers))?;
        let proxy = proxy
            .map(|text| url(&text, "http", None).map_err(|problem| config.mistake("proxy_url", problem)))
            .transpose();
        let wrong = || config.mistake("compression_level", "must be between 0 and 9");
        Ok(Settings {
            hosts: config.or(Vec::new(), hosts(config))?,
            headers,
            proxy: config.or(None, proxy)?,
            proxy_headers,
            no_proxy: config.boolean("proxy_disable", false)?,
            compression: config.or(0, compression.ok_or_else(wrong))?,
            // 0 means: as many as there are.
            limits: Limits {
                events: if events == 0 { 4096 } else { events.min(20_000) },
                bytes: usize::try_from(bytes).unwrap_or(4 << 20),
                linger,
            },
            workers: config.count("worker", config.count("workers", preset.workers)?)?.clamp(1, MOST_WORKERS),
            timeout: config.duration("timeout", Duration::from_secs(90))?.max(Duration::from_millis(100)),
            idle: config.duration("idle_connection_timeout", preset.idle)?,
            tls: Tls::read(config)?,
            backoff: (
                config.duration("backoff.init", Duration::from_secs(1))?.max(Duration::from_millis(10)),
                config.duration("backoff.max", Duration::from_secs(60))?,
            ),
        })
    }

    /// A client for all hosts. Reads certificates.
    pub(super) fn client(&self) -> Result<reqwest::Client, Mistake> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.client()?)
            .default_headers(self.headers.clone())
            .timeout(self.timeout)
            .connect_timeout(self.timeout.min(Duration::from_secs(30)))
            .pool_idle_timeout(self.idle)
            .pool_max_idle_per_host(self.workers)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only();
        builder = match &self.proxy {
            Some(url) if !self.no_proxy => {
                let proxy = reqwest::Proxy::all(url.clone())
                    .map_err(|error| Mistake::new("proxy_url", error.to_string()))?;
                builder.proxy(proxy.headers(self.proxy_headers.clone()))
            }
            _ => builder.no_proxy(),
        };
        builder.build().map_err(|error| Mistake::new("hosts", format!("no client can be made: {error}")))
    }
}

fn hosts(config: &Config) -> Result<Vec<Url>, Mistake> {
    let is_text = |value: &Value| match value {
        Value::Array(list) => list.iter().all(Value::is_string),
        other => other.is_string(),
    };
    // A number would be read as an address: `http://5` is 0.0.0.5.
    if config.value("hosts").is_some_and(|value| !is_text(value)) {
        return Err(config.mistake("hosts", "must be a list of texts, such as [\"https://engine:9200\"]"));
    }
    let texts = config.texts("hosts")?;
    if texts.is_empty() {
        return Err(config.mistake("hosts", "is missing: name the engine, such as https://engine:9200"));
    }
    let protocol = config.text("protocol")?.unwrap_or_else(|| "http".to_owned());
    let path = config.text("path")?;
    let read = |text: &String| {
        let mut url = url(text, &protocol, Some(9200)).map_err(|problem| config.mistake("hosts", problem))?;
        if let Some(path) = path.as_deref().filter(|_| url.path() == "/") {
            url.set_path(path);
        }
        let pairs = config.section("parameters")?;
        for (key, value) in pairs.map() {
            url.query_pairs_mut().append_pair(key, &scalar(value).unwrap_or_default());
        }
        Ok(url)
    };
    texts.iter().map(read).collect()
}

/// A host as people write it: `host`, `host:9200`, `https://host/path`. Engines listen on 9200 unless it is said.
fn url(text: &str, protocol: &str, port: Option<u16>) -> Result<Url, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("{protocol}://{text}") };
    let wrong = || format!("{text:?} is no address: write it as https://host:9200");
    let mut url = Url::parse(&whole).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h")
        || url.host_str().is_none_or(str::is_empty)
    {
        return Err(wrong());
    }
    // A port that is the scheme's own disappears when it is read: look at what was written.
    let authority =
        whole.split("://").nth(1).unwrap_or_default().split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let said = host.rsplit(']').next().unwrap_or_default().contains(':');
    if let (false, Some(port)) = (said, port) {
        url.set_port(Some(port)).map_err(|()| wrong())?;
    }
    Ok(url)
}

fn add_headers(config: &Config, key: &str, headers: &mut HeaderMap) -> Result<(), Mistake> {
    let section = config.section(key)?;
    for (name, value) in section.map() {
        let text = scalar(value).unwrap_or_default();
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| config.mistake(key, format!("{name:?} is no name of a header")))?;
        let value = HeaderValue::from_str(&text).map_err(|_| {
            config.mistake(key, format!("the value of {name} has characters that no header may have"))
        })?;
        headers.insert(name, value);
    }
    Ok(())
}

/// `api_key` (`id:key`, or already encoded), or `username` and `password`.
fn authorization(config: &Config) -> Result<Option<HeaderValue>, Mistake> {
    let key = config.text("api_key")?.filter(|key| !key.is_empty());
    let user = config.text("username")?.filter(|user| !user.is_empty());
    let password = config.text("password")?.unwrap_or_default();
    let (field, text) = match (key, user) {
        (Some(key), _) if key.contains(':') => ("api_key", format!("ApiKey {}", STANDARD.encode(key))),
        (Some(key), _) => ("api_key", format!("ApiKey {key}")),
        (None, Some(user)) => {
            ("username", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| config.mistake(field, "has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Settings, Mistake> {
        Settings::read(&Config::new(value.as_object().unwrap()))
    }

    #[test]
    fn hosts_are_read_as_people_write_them() {
        let cases = [
            ("a", "http://a:9200/"),
            ("a:80", "http://a/"),
            ("https://a", "https://a:9200/"),
            ("https://a:443/es", "https://a/es"),
            ("http://[::1]", "http://[::1]:9200/"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&json!({"hosts": [text]})).unwrap().hosts[0].as_str(), expected);
        }
        assert!(read(&json!({})).is_err_and(|mistake| mistake.field == "hosts"));
        assert!(read(&json!({"hosts": ["ftp://x"]})).is_err());
        for number in [json!([5]), json!(5), json!(["a", true])] {
            let mistake = read(&json!({"hosts": number})).err().unwrap();
            assert_eq!(mistake.field, "hosts");
            assert!(mistake.problem.contains("list of texts"), "{mistake}");
        }
    }

    #[test]
    fn credentials_become_headers() {
        let header = |value: &Value| read(value).unwrap().headers[AUTHORIZATION].to_str().unwrap().to_owned();
        assert_eq!(header(&json!({"hosts": ["a"], "api_key": "id:key"})), "ApiKey aWQ6a2V5");
        assert_eq!(header(&json!({"hosts": ["a"], "api_key": "aWQ6a2V5"})), "ApiKey aWQ6a2V5");
        assert_eq!(header(&json!({"hosts": ["a"], "username": "u", "password": "p"})), "Basic dTpw");
    }

    #[test]
    fn presets_give_way_to_what_is_said() {
        let settings = read(&json!({"hosts": ["a"], "preset": "throughput", "worker": 2})).unwrap();
        assert_eq!((settings.workers, settings.limits.events, settings.compression), (2, 1600, 1));
        assert!(read(&json!({"hosts": ["a"], "preset": "fast"})).is_err());
    }
}
