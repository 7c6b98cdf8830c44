//! What agents of a policy get of the settings.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{DEFAULT_OUTPUT_NAME, Known, PUBLIC_DOWNLOADS, Snapshot, output};
use crate::documents::{AgentPolicy, DownloadSource, FleetServerHost, Output, Proxy, Tls};
use fleet_store::Versioned;

/// What a policy needs and nobody has set, or has set and removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingSetting {
    /// There is no output at all that could be used.
    #[error("there is no default output: make one with is_default")]
    DefaultOutput,
    /// The output that is named is not there: the default one is used.
    #[error("output {0} is not there: the default output is used instead")]
    Output(String),
    /// The YAML of an output cannot be read: nothing of it is used.
    #[error("config_yaml of output {output} is left out: {reason}")]
    ConfigYaml {
        /// The output.
        output: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy that is named is not there: none is used.
    #[error("proxy {proxy} of {of} is not there: none is used")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// What names it.
        of: String,
    },
    /// The host that is named is not there: the default one is used.
    #[error("Fleet Server host {0} is not there: the default one is used instead")]
    Host(String),
    /// The download source that is named is not there: the default one is used.
    #[error("download source {0} is not there: the default one is used instead")]
    DownloadSource(String),
}

/// What agents of a policy get of the settings. Secrets stand in it as `secrets.<path>.id`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsParts {
    /// `outputs`, by the names that agents know them by.
    pub outputs: Map<String, Value>,
    /// The name of the output for data.
    pub data_output: String,
    /// The name of the output for what agents tell of themselves.
    pub monitoring_output: String,
    /// The names of the outputs that integrations use, by their ids. One that is gone has the default's name.
    pub output_names: BTreeMap<String, String>,
    /// `fleet`; nothing: agents stay with the servers that they know.
    pub fleet: Option<Value>,
    /// `agent.download`.
    pub download: Value,
    /// What it is made of, and the revision of each: `output:default` → 12.
    pub made_of: BTreeMap<String, u64>,
    /// What is not as it was meant.
    pub findings: Vec<MissingSetting>,
}

impl Snapshot {
    /// The output that policies use which name none.
    #[must_use]
    pub fn default_output(&self) -> Option<&Versioned<Output>> {
        chosen(&self.outputs, self.defaults.output.as_deref(), |found| found.is_default)
    }

    /// The output for what agents tell of themselves, where policies name none.
    #[must_use]
    pub fn default_monitoring_output(&self) -> Option<&Versioned<Output>> {
        chosen(&self.outputs, self.defaults.monitoring_output.as_deref(), |found| found.is_default_monitoring)
    }

    /// The host that policies use which name none.
    #[must_use]
    pub fn default_host(&self) -> Option<&Versioned<FleetServerHost>> {
        chosen(&self.hosts, self.defaults.fleet_server_host.as_deref(), |found| found.is_default)
    }

    /// The download source that policies use which name none.
    #[must_use]
    pub fn default_download_source(&self) -> Option<&Versioned<DownloadSource>> {
        chosen(&self.download_sources, self.defaults.download_source.as_deref(), |found| found.is_default)
    }

    /// What agents of `policy` get. `outputs_used_by_integrations` are ids of outputs that its integrations name.
    ///
    /// What is named and not there is replaced by the default, and told as a finding.
    ///
    /// # Errors
    /// There is no default output where one is needed.
    pub fn parts_for(
        &self,
        policy: &AgentPolicy,
        outputs_used_by_integrations: &[String],
    ) -> Result<SettingsParts, MissingSetting> {
        let mut making = Making { snapshot: self, parts: SettingsParts::default() };
        making.parts.data_output = making.output(policy.data_output_id.as_deref(), self.default_output())?;
        let monitoring = self.default_monitoring_output().or_else(|| self.default_output());
        making.parts.monitoring_output = making.output(policy.monitoring_output_id.as_deref(), monitoring)?;
        for id in outputs_used_by_integrations {
            let name = making.output(Some(id), self.default_output())?;
            making.parts.output_names.insert(id.clone(), name);
        }
        making.fleet(policy.fleet_server_host_id.as_deref());
        making.download(policy.download_source_id.as_deref());
        Ok(making.parts)
    }
}

/// The object that is the default. Where none is chosen, or it is gone, it is what was last written as one.
fn chosen<'a, T>(known: &'a Known<T>, id: Option<&str>, is: impl Fn(&T) -> bool) -> Option<&'a Versioned<T>> {
    let last = || known.values().filter(|found| is(&found.value)).max_by_key(|found| found.revision);
    id.and_then(|id| known.get(id)).or_else(last).map(|found| &**found)
}

struct Making<'a> {
    snapshot: &'a Snapshot,
    parts: SettingsParts,
}

impl<'a> Making<'a> {
    /// Adds the output that is named, or `instead`. Answers how agents know it.
    fn output(
        &mut self,
        id: Option<&str>,
        instead: Option<&'a Versioned<Output>>,
    ) -> Result<String, MissingSetting> {
        let named = id.and_then(|id| self.snapshot.outputs.get(id)).map(|found| &**found);
        if let (Some(id), None) = (id, named) {
            self.find(MissingSetting::Output(id.to_owned()));
        }
        let output = named.or(instead).ok_or(MissingSetting::DefaultOutput)?;
        let is_default = self.snapshot.default_output().is_some_and(|default| default.id == output.id);
        let name = if is_default { DEFAULT_OUTPUT_NAME } else { output.id.as_str() };
        if !self.parts.outputs.contains_key(name) {
            let proxy = self.proxy(output.value.proxy_id.as_deref(), &format!("output {}", output.id));
            let (rendered, error) = output::rendered(&output.value, proxy);
            if let Some(error) = error {
                let reason = error.to_string();
                self.find(MissingSetting::ConfigYaml { output: output.id.clone(), reason });
            }
            self.parts.outputs.insert(name.to_owned(), rendered);
            self.made_of("output", name, output.revision.0);
        }
        Ok(name.to_owned())
    }

    fn proxy(&mut self, id: Option<&str>, of: &str) -> Option<&'a Proxy> {
        let id = id?;
        match self.snapshot.proxies.get(id) {
            Some(found) => {
                self.made_of("proxy", id, found.revision.0);
                Some(&found.value)
            }
            None => {
                self.find(MissingSetting::Proxy { proxy: id.to_owned(), of: of.to_owned() });
                None
            }
        }
    }

    fn fleet(&mut self, id: Option<&str>) {
        let named = id.and_then(|id| self.snapshot.hosts.get(id)).map(|found| &**found);
        if let (Some(id), None) = (id, named) {
            self.find(MissingSetting::Host(id.to_owned()));
        }
        let Some(host) = named.or_else(|| self.snapshot.default_host()) else { return };
        self.made_of("fleet-server-host", &host.id, host.revision.0);
        let through = self.proxy(host.value.proxy_id.as_deref(), &format!("Fleet Server host {}", host.id));
        let mut fleet = Map::from_iter([("hosts".to_owned(), json!(host.value.host_urls))]);
        let mut ssl = through.map(proxy_tls).unwrap_or_default();
        if let Some(given) = &host.value.ssl {
            set(&mut ssl, "certificate_authorities", given.agent_certificate_authorities.as_ref());
            set(&mut ssl, "certificate", given.agent_certificate.as_ref());
            set(&mut ssl, "key", given.agent_key.as_ref());
        }
        let key = host.value.secrets.as_ref().and_then(|secrets| secrets.ssl.as_ref()?.agent_key.as_ref());
        if let Some(key) = key {
            fleet.insert("secrets".to_owned(), json!({"ssl": {"key": key}}));
        }
        if let Some(through) = through {
            proxy(through, &mut fleet);
        }
        if !ssl.is_empty() {
            fleet.insert("ssl".to_owned(), ssl.into());
        }
        self.parts.fleet = Some(fleet.into());
    }

    fn download(&mut self, id: Option<&str>) {
        let named = id.and_then(|id| self.snapshot.download_sources.get(id)).map(|found| &**found);
        if let (Some(id), None) = (id, named) {
            self.find(MissingSetting::DownloadSource(id.to_owned()));
        }
        let Some(source) = named.or_else(|| self.snapshot.default_download_source()) else {
            self.parts.download = json!({"sourceURI": PUBLIC_DOWNLOADS});
            return;
        };
        self.made_of("download-source", &source.id, source.revision.0);
        let through = self.proxy(source.value.proxy_id.as_deref(), &format!("download source {}", source.id));
        let mut download = Map::from_iter([("sourceURI".to_owned(), source.value.host.clone().into())]);
        let mut ssl = through.map(proxy_tls).unwrap_or_default();
        ssl.extend(tls(source.value.ssl.as_ref()));
        if !ssl.is_empty() {
            download.insert("ssl".to_owned(), ssl.into());
        }
        set(&mut download, "auth", source.value.auth.as_ref());
        set(&mut download, "secrets", source.value.secrets.as_ref());
        if let Some(through) = through {
            proxy(through, &mut download);
        }
        self.parts.download = download.into();
    }

    fn made_of(&mut self, kind: &str, name: &str, revision: u64) {
        self.parts.made_of.insert(format!("{kind}:{name}"), revision);
    }

    fn find(&mut self, finding: MissingSetting) {
        if !self.parts.findings.contains(&finding) {
            self.parts.findings.push(finding);
        }
    }
}

/// Sets what says something: nothing, an empty text and an empty list do not.
pub(super) fn set<T: Serialize>(into: &mut Map<String, Value>, key: &str, value: Option<&T>) {
    let value = json!(value);
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if !is_empty {
        into.insert(key.to_owned(), value);
    }
}

pub(super) fn tls(given: Option<&Tls>) -> Map<String, Value> {
    let mut ssl = Map::new();
    let Some(given) = given else { return ssl };
    let authorities: Option<Vec<&String>> = given
        .certificate_authorities
        .as_ref()
        .map(|authorities| authorities.iter().filter(|authority| !authority.is_empty()).collect());
    set(&mut ssl, "certificate_authorities", authorities.as_ref());
    set(&mut ssl, "certificate", given.certificate.as_ref());
    set(&mut ssl, "key", given.key.as_ref());
    set(&mut ssl, "verification_mode", given.verification_mode.as_ref());
    ssl
}

/// The address of a proxy and what is sent to it.
pub(super) fn proxy(given: &Proxy, into: &mut Map<String, Value>) {
    into.insert("proxy_url".to_owned(), given.url.clone().into());
    set(into, "proxy_headers", given.proxy_headers.as_ref());
}

/// TLS towards a proxy, for clients that have one setting for it and what is behind it.
fn proxy_tls(given: &Proxy) -> Map<String, Value> {
    let mut ssl = Map::new();
    let authorities: Vec<&String> =
        given.certificate_authorities.iter().filter(|authority| !authority.is_empty()).collect();
    set(&mut ssl, "certificate_authorities", Some(&authorities));
    set(&mut ssl, "certificate", given.certificate.as_ref());
    set(&mut ssl, "key", given.certificate_key.as_ref());
    ssl
}
