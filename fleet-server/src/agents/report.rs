//! What an agent says of itself, as it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::documents::{Agent, AgentDetails, UnhealthyReason};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The large part of what an agent says. What is not of its form is left out, and said so.
#[derive(Debug, Default)]
pub(super) struct Large<'a> {
    pub(super) local_metadata: Option<&'a RawValue>,
    pub(super) components: Option<&'a RawValue>,
    pub(super) rejected: BTreeMap<String, String>,
}

impl<'a> Large<'a> {
    /// Checks the forms: metadata is an object, components are an array.
    pub(super) fn new(local_metadata: Option<&'a RawValue>, components: Option<&'a RawValue>) -> Large<'a> {
        let mut large = Large::default();
        large.local_metadata = large.checked("local_metadata", "an object", '{', local_metadata);
        large.components = large.checked("components", "an array", '[', components);
        large
    }

    fn checked(
        &mut self,
        field: &str,
        form: &str,
        first: char,
        value: Option<&'a RawValue>,
    ) -> Option<&'a RawValue> {
        let value = value.filter(|value| value.get() != "null")?;
        if value.get().starts_with(first) {
            return Some(value);
        }
        self.rejected.insert(field.to_owned(), format!("it is not {form}"));
        None
    }

    /// Tells whether it is what was stored last.
    pub(super) fn digest(&self) -> Box<str> {
        let mut text = String::new();
        for part in [self.local_metadata, self.components] {
            text.push_str(part.map_or("", RawValue::get));
            text.push('\n');
        }
        let hash = digest(&SHA256, text.as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }

    /// What is stored, with what a person gave at enrolment.
    pub(super) fn details(&self, user_provided_metadata: Option<Box<RawValue>>) -> AgentDetails {
        AgentDetails {
            local_metadata: self.local_metadata.map(ToOwned::to_owned),
            user_provided_metadata,
            components: self.components.map(ToOwned::to_owned),
            rejected: self.rejected.clone(),
            ..AgentDetails::default()
        }
    }

    /// What of the agent is not healthy, by its components.
    pub(super) fn unhealthy_reason(&self) -> Vec<UnhealthyReason> {
        let Some(components) = self.components else { return Vec::new() };
        let Ok(components) = serde_json::from_str::<Vec<Component<'_>>>(components.get()) else {
            return Vec::new();
        };
        let mut reasons = Vec::new();
        for component in &components {
            let before = reasons.len();
            let units = component.units.iter().flatten().filter(|unit| is_unhealthy(&unit.status));
            reasons.extend(units.map(|unit| match &*unit.kind {
                "input" => UnhealthyReason::Input,
                "output" => UnhealthyReason::Output,
                _ => UnhealthyReason::Other,
            }));
            if reasons.len() == before && is_unhealthy(&component.status) {
                reasons.push(UnhealthyReason::Other);
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }

    /// Writes what lists show of the metadata into the agent. Whether that changes it.
    pub(super) fn describe(&self, agent: &mut Agent) -> bool {
        let Some(metadata) = self.local_metadata else { return false };
        let Ok(local) = serde_json::from_str::<LocalMetadata>(metadata.get()) else { return false };
        let before = (agent.agent.clone(), agent.host.clone());
        if !local.elastic.agent.version.is_empty() {
            agent.agent.version = local.elastic.agent.version;
        }
        agent.agent.upgradeable = local.elastic.agent.upgradeable;
        agent.host.hostname = local.host.hostname;
        agent.host.architecture = local.host.architecture;
        agent.host.platform = local.os.platform;
        before != (agent.agent.clone(), agent.host.clone())
    }
}

fn is_unhealthy(status: &str) -> bool {
    matches!(status, "FAILED" | "DEGRADED")
}

#[derive(Deserialize)]
struct Component<'a> {
    #[serde(borrow, default)]
    status: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    units: Option<Vec<Unit<'a>>>,
}

#[derive(Deserialize)]
struct Unit<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    status: std::borrow::Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LocalMetadata {
    elastic: ElasticMetadata,
    host: HostMetadata,
    os: OsMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ElasticMetadata {
    agent: AgentMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AgentMetadata {
    version: Arc<str>,
    upgradeable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HostMetadata {
    hostname: Box<str>,
    architecture: Arc<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OsMetadata {
    platform: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_has_another_form_is_set_aside() {
        let (metadata, components) = (raw("[1]"), raw("{}"));
        let large = Large::new(Some(&metadata), Some(&components));
        assert!(large.local_metadata.is_none() && large.components.is_none());
        assert_eq!(large.rejected.len(), 2);
        let null = raw("null");
        assert!(Large::new(Some(&null), None).rejected.is_empty());
    }

    #[test]
    fn components_tell_what_is_not_healthy() {
        let components = raw(
            r#"[{"status":"DEGRADED","units":[{"type":"output","status":"FAILED"},{"type":"input","status":"HEALTHY"}]},
                {"status":"FAILED","units":null},{"status":"HEALTHY"}]"#,
        );
        let reasons = Large::new(None, Some(&components)).unhealthy_reason();
        assert_eq!(reasons, [UnhealthyReason::Output, UnhealthyReason::Other]);
    }

    #[test]
    fn metadata_describes_the_agent() {
        let metadata = raw(r#"{"elastic":{"agent":{"version":"9.6.0","upgradeable":true}},
                "host":{"hostname":"web-1","architecture":"x86_64"},"os":{"platform":"debian"}}"#);
        let mut agent = Agent::default();
        let large = Large::new(Some(&metadata), None);
        assert!(large.describe(&mut agent));
        assert_eq!((&*agent.agent.version, &*agent.host.hostname), ("9.6.0", "web-1"));
        assert!(!large.describe(&mut agent));
    }
}
