//! The large parts of what a collector says, as they are stored.

use fleet_protocol::opamp::AgentToServer;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Description, effective_config, health};
use crate::documents::AgentDetails;

/// A larger part is not kept: all of them lie in one document, which may have 1 MiB.
const LARGEST: usize = 240 * 1024;

/// A part: how it is stored, or why it is not.
type Part = Result<Box<RawValue>, String>;

/// The large parts of a message, as far as they are in it.
#[derive(Debug, Default)]
pub struct Parts {
    /// What it says that it is.
    pub description: Option<Description>,
    health: Option<Part>,
    effective_config: Option<Part>,
}

impl Parts {
    /// Those of a message.
    #[must_use]
    pub fn of(message: &AgentToServer) -> Parts {
        let effective = message.effective_config.as_ref().map(|told| {
            effective_config(told).map_err(|error| error.to_string()).and_then(|value| stored(&value))
        });
        Parts {
            description: message.agent_description.as_ref().map(Description::of),
            health: message.health.as_ref().map(|told| stored(&health::value(told))),
            effective_config: effective,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.description.is_none() && self.health.is_none() && self.effective_config.is_none()
    }

    /// Writes them into what is stored. Whether that changes it.
    pub fn put_into(self, details: &mut AgentDetails) -> bool {
        let mut changed = false;
        let AgentDetails { rejected, .. } = details;
        let mut put = |field: &str, place: &mut Option<Box<RawValue>>, part: Option<Part>| match part {
            None => {}
            Some(Ok(text)) => {
                changed |= rejected.remove(field).is_some();
                if place.as_ref().is_none_or(|known| known.get() != text.get()) {
                    *place = Some(text);
                    changed = true;
                }
            }
            Some(Err(reason)) => {
                changed |= place.take().is_some();
                changed |= rejected.insert(field.to_owned(), reason.clone()) != Some(reason);
            }
        };
        if let Some(Description { identifying, other }) = &self.description {
            put("identifying_attributes", &mut details.identifying_attributes, Some(stored(identifying)));
            put("non_identifying_attributes", &mut details.non_identifying_attributes, Some(stored(other)));
        }
        put("health", &mut details.health, self.health);
        put("effective_config", &mut details.effective_config, self.effective_config);
        changed
    }
}

fn stored(value: &impl Serialize) -> Part {
    let text = to_raw_value(value).map_err(|error| error.to_string())?;
    if text.get().len() > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_protocol::opamp::{
        AgentConfigFile, AgentConfigMap, AgentDescription, ComponentHealth, EffectiveConfig, KeyValue,
    };

    use super::*;

    fn with_config(body: &str) -> AgentToServer {
        let file = AgentConfigFile { body: body.into(), content_type: String::new() };
        let config_map = BTreeMap::from([(String::new(), file)]);
        AgentToServer {
            effective_config: Some(EffectiveConfig { config_map: Some(AgentConfigMap { config_map }) }),
            ..AgentToServer::default()
        }
    }

    #[test]
    fn what_is_not_said_stays() {
        let mut details = AgentDetails::default();
        let description = AgentDescription {
            identifying_attributes: vec![KeyValue::text("service.name", "otelcol")],
            ..AgentDescription::default()
        };
        let first = AgentToServer { agent_description: Some(description), ..with_config("a: 1") };
        assert!(Parts::of(&first).put_into(&mut details));
        assert!(!Parts::of(&first).put_into(&mut details));
        let health = ComponentHealth { healthy: true, ..ComponentHealth::default() };
        let second = AgentToServer { health: Some(health), ..AgentToServer::default() };
        assert!(Parts::of(&second).put_into(&mut details));
        assert_eq!(details.effective_config.as_ref().unwrap().get(), r#"{"a":1}"#);
        assert_eq!(details.health.as_ref().unwrap().get(), r#"{"healthy":true}"#);
        assert_eq!(Description::stored(&details).tags().concat(), "otelcol");
        assert!(Parts::of(&AgentToServer::default()).is_empty());
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let mut details = AgentDetails::default();
        assert!(Parts::of(&with_config("a: 1")).put_into(&mut details));
        assert!(Parts::of(&with_config("[INPUT]\n  x")).put_into(&mut details));
        assert!(details.effective_config.is_none());
        assert!(details.rejected["effective_config"].contains("not YAML"), "{:?}", details.rejected);
        assert!(Parts::of(&with_config(&format!("a: {}", "x".repeat(LARGEST)))).put_into(&mut details));
        assert!(details.rejected["effective_config"].contains("larger"), "{:?}", details.rejected);
        assert!(Parts::of(&with_config("a: 2")).put_into(&mut details));
        assert!(details.rejected.is_empty());
    }
}
