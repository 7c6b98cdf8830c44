//! What a policy says about the agent itself.

use std::time::Duration;

use serde_json::{Map, Value};

/// What a policy says about the agent itself. What it does not say, or says wrongly, is as it goes without saying.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentSettings {
    /// `agent.logging.level`
    pub log_level: Option<String>,
    /// `agent.monitoring.enabled` and `.logs`
    pub monitor_logs: bool,
    /// `agent.monitoring.enabled` and `.metrics`
    pub monitor_metrics: bool,
    /// `agent.monitoring.metrics_period`
    pub metrics_period: Option<Duration>,
    /// `agent.monitoring.use_output`
    pub monitoring_output: String,
    /// `agent.monitoring.namespace`
    pub monitoring_namespace: String,
    /// `agent.monitoring.http`
    pub http: Option<HttpMonitoring>,
    /// `agent.protection`
    pub protection: Protection,
    /// `agent.monitoring.diagnostics`
    pub diagnostics: Limits,
    /// `agent.download`
    pub download: Map<String, Value>,
    /// `agent.features`
    pub features: Map<String, Value>,
    /// `agent.limits`
    pub limits: Map<String, Value>,
}

/// Where the agent is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpMonitoring {
    /// The address; a name, too.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Who may remove the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Whether it takes the token.
    pub enabled: bool,
    /// Base64 of the token's SHA-256.
    pub uninstall_token_hash: String,
    /// The public key that actions must be signed with; empty: none.
    pub signing_key: String,
}

/// How often diagnostics are made, and how their upload is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time in which so many may be made.
    pub interval: Duration,
    /// So many.
    pub burst: u32,
    /// How often a step of an upload is tried again.
    pub upload_retries: u32,
    /// The first wait between those.
    pub upload_first: Duration,
    /// The longest.
    pub upload_longest: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            interval: Duration::from_secs(60),
            burst: 1,
            upload_retries: 10,
            upload_first: Duration::from_secs(1),
            upload_longest: Duration::from_secs(60),
        }
    }
}

impl AgentSettings {
    /// Reads the section `agent`, and tells what is wrong with it.
    pub(super) fn of(policy: &Map<String, Value>, wrong: &mut Vec<String>) -> AgentSettings {
        let empty = Map::new();
        let agent = match policy.get("agent") {
            Some(Value::Object(agent)) => agent,
            None | Some(Value::Null) => &empty,
            Some(_) => {
                wrong.push("agent: this is not a map".to_owned());
                &empty
            }
        };
        let mut read = Read { agent, wrong };
        let monitored = read.truth("monitoring.enabled", true);
        let given = |read: &Read<'_>, path: &str| read.find(path).is_some();
        let monitoring = given(&read, "monitoring");
        AgentSettings {
            log_level: read.text("logging.level").filter(|level| !level.is_empty()),
            monitor_logs: monitored && read.truth("monitoring.logs", monitoring),
            monitor_metrics: monitored && read.truth("monitoring.metrics", monitoring),
            metrics_period: read.duration("monitoring.metrics_period"),
            monitoring_output: read.text("monitoring.use_output").unwrap_or_else(|| "default".to_owned()),
            monitoring_namespace: read.text("monitoring.namespace").unwrap_or_else(|| "default".to_owned()),
            http: read.truth("monitoring.http.enabled", false).then(|| HttpMonitoring {
                host: read.text("monitoring.http.host").unwrap_or_else(|| "localhost".to_owned()),
                port: read
                    .whole("monitoring.http.port")
                    .and_then(|port| u16::try_from(port).ok())
                    .unwrap_or(6791),
            }),
            protection: Protection {
                enabled: read.truth("protection.enabled", false),
                uninstall_token_hash: read.text("protection.uninstall_token_hash").unwrap_or_default(),
                signing_key: read.text("protection.signing_key").unwrap_or_default(),
            },
            diagnostics: read.limits(),
            download: read.map("download"),
            features: read.map("features"),
            limits: read.map("limits"),
        }
    }
}

/// Whether a policy wants the machine to be called by its full name (`agent.features.fqdn.enabled`).
#[must_use]
pub fn wants_full_name(policy: &Map<String, Value>) -> bool {
    let agent = policy.get("agent").and_then(Value::as_object);
    agent.and_then(|agent| find(agent, "features.fqdn.enabled")) == Some(&Value::Bool(true))
}

struct Read<'a> {
    agent: &'a Map<String, Value>,
    wrong: &'a mut Vec<String>,
}

impl Read<'_> {
    /// A dot in a key nests.
    fn find(&self, path: &str) -> Option<&Value> {
        find(self.agent, path).filter(|value| !value.is_null())
    }

    fn take<T>(&mut self, path: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.find(path)?;
        let read = read(value);
        if read.is_none() {
            self.wrong.push(format!("agent.{path}: this is not {kind}"));
        }
        read
    }

    fn map(&self, path: &str) -> Map<String, Value> {
        self.find(path).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn text(&mut self, path: &str) -> Option<String> {
        self.take(path, "a text", |value| value.as_str().map(str::to_owned))
    }

    fn truth(&mut self, path: &str, otherwise: bool) -> bool {
        self.take(path, "true or false", Value::as_bool).unwrap_or(otherwise)
    }

    fn whole(&mut self, path: &str) -> Option<u64> {
        self.take(path, "a whole number", |value| {
            value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        })
    }

    fn duration(&mut self, path: &str) -> Option<Duration> {
        self.take(path, "a duration such as 1m30s", |value| match value {
            Value::Number(seconds) => seconds.as_u64().map(Duration::from_secs),
            Value::String(text) => crate::duration::parse(text),
            _ => None,
        })
    }

    fn limits(&mut self) -> Limits {
        let usual = Limits::default();
        let base = "monitoring.diagnostics";
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Limits {
            interval: self.duration(&format!("{base}.limit.interval")).unwrap_or(usual.interval),
            burst: self.whole(&format!("{base}.limit.burst")).map_or(usual.burst, count).max(1),
            upload_retries: self
                .whole(&format!("{base}.uploader.max_retries"))
                .map_or(usual.upload_retries, count),
            upload_first: self.duration(&format!("{base}.uploader.init_dur")).unwrap_or(usual.upload_first),
            upload_longest: self
                .duration(&format!("{base}.uploader.max_dur"))
                .unwrap_or(usual.upload_longest),
        }
    }
}

fn find<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(found) = map.get(path) {
        return Some(found);
    }
    path.match_indices('.').find_map(|(at, _)| find(map.get(&path[..at])?.as_object()?, &path[at + 1..]))
}
