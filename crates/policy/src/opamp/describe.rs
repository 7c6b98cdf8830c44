//! What a collector says that it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_protocol::opamp::{AgentDescription, AnyValue, KeyValue, Variant};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::shorten;
use crate::documents::{Agent, AgentDetails};

/// The most tags of a collector, and the longest of them in bytes.
const MOST_TAGS: usize = 100;
const LONGEST_TAG: usize = 256;
/// The longest name of a machine, version or platform in bytes.
const LONGEST_NAME: usize = 256;

/// The attributes of a collector, by the semantic conventions of OpenTelemetry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// What tells it from others.
    pub identifying: Map<String, Value>,
    /// What else there is to know.
    pub other: Map<String, Value>,
}

impl Description {
    /// As a message tells it.
    #[must_use]
    pub fn of(told: &AgentDescription) -> Description {
        Description {
            identifying: map(&told.identifying_attributes),
            other: map(&told.non_identifying_attributes),
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn stored(details: &AgentDetails) -> Description {
        let map = |text: &Option<Box<RawValue>>| {
            let text = text.as_ref().map(|text| serde_json::from_str(text.get()));
            text.and_then(Result::ok).unwrap_or_default()
        };
        Description {
            identifying: map(&details.identifying_attributes),
            other: map(&details.non_identifying_attributes),
        }
    }

    /// Writes what lists show of it into the agent; `before` is what it said before. What people made of the
    /// tags stays. Whether that changes the agent.
    pub fn describe(&self, before: &Description, agent: &mut Agent) -> bool {
        let old = (agent.agent.clone(), agent.host.clone(), agent.tags.clone());
        if let Some(version) = self.text("service.version") {
            agent.agent.version = version.into();
        }
        if let Some(hostname) = self.text("host.name") {
            agent.host.hostname = hostname.into();
        }
        if let Some(platform) = self.text("os.type") {
            agent.host.platform = platform.into();
        }
        if let Some(architecture) = self.text("host.arch") {
            agent.host.architecture = architecture.into();
        }
        let (told, tags) = (before.tags(), self.tags());
        if told != tags {
            agent.tags.retain(|tag| !told.contains(tag));
            for tag in tags {
                if !agent.tags.contains(&tag) && agent.tags.len() < MOST_TAGS {
                    agent.tags.push(tag);
                }
            }
        }
        old != (agent.agent.clone(), agent.host.clone(), agent.tags.clone())
    }

    /// `service.name`, and what the attribute `tags` holds: a list, or a text with commas.
    #[must_use]
    pub fn tags(&self) -> Vec<Arc<str>> {
        let listed = match self.get("tags") {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split(',').collect(),
            _ => Vec::new(),
        };
        let mut tags: Vec<Arc<str>> = Vec::new();
        for tag in self.text("service.name").into_iter().chain(listed) {
            let tag = shorten(tag.trim(), LONGEST_TAG);
            if !tag.is_empty() && tags.len() < MOST_TAGS && !tags.iter().any(|known| **known == *tag) {
                tags.push(tag.into());
            }
        }
        tags
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.identifying.get(key).or_else(|| self.other.get(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str).map(|text| shorten(text, LONGEST_NAME))
    }
}

fn map(attributes: &[KeyValue]) -> Map<String, Value> {
    let pairs = attributes.iter();
    pairs.map(|pair| (pair.key.clone(), pair.value.as_ref().map_or(Value::Null, value))).collect()
}

fn value(told: &AnyValue) -> Value {
    match &told.value {
        None => Value::Null,
        Some(Variant::Text(text)) => text.as_str().into(),
        Some(Variant::Bool(truth)) => (*truth).into(),
        Some(Variant::Int(number)) => (*number).into(),
        Some(Variant::Double(number)) => (*number).into(),
        Some(Variant::Array(list)) => list.values.iter().map(value).collect(),
        Some(Variant::Map(list)) => Value::Object(map(&list.values)),
        Some(Variant::Bytes(bytes)) => STANDARD.encode(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use fleet_protocol::opamp::ArrayValue;

    use super::*;

    fn list(key: &str, texts: &[&str]) -> KeyValue {
        let of = |text: &&str| AnyValue { value: Some(Variant::Text((*text).to_owned())) };
        let value = Variant::Array(ArrayValue { values: texts.iter().map(of).collect() });
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }

    fn told(tags: &[&str]) -> Description {
        Description::of(&AgentDescription {
            identifying_attributes: vec![
                KeyValue::text("service.name", "otelcol"),
                KeyValue::text("service.version", "0.140.0"),
            ],
            non_identifying_attributes: vec![
                KeyValue::text("host.name", "web-1"),
                KeyValue::text("os.type", "linux"),
                KeyValue::text("host.arch", "amd64"),
                list("tags", tags),
            ],
        })
    }

    fn tags(agent: &Agent) -> Vec<&str> {
        agent.tags.iter().map(|tag| &**tag).collect()
    }

    #[test]
    fn attributes_describe_the_agent() {
        let mut agent = Agent::default();
        let description = told(&["eu", "otelcol"]);
        assert!(description.describe(&Description::default(), &mut agent));
        assert_eq!((&*agent.agent.version, &*agent.host.hostname), ("0.140.0", "web-1"));
        assert_eq!((&*agent.host.platform, &*agent.host.architecture), ("linux", "amd64"));
        assert_eq!(tags(&agent), ["otelcol", "eu"]);
        assert!(!description.describe(&description, &mut agent));
    }

    #[test]
    fn tags_of_people_stay() {
        let mut agent = Agent::default();
        told(&["eu"]).describe(&Description::default(), &mut agent);
        agent.tags = vec!["mine".into(), "eu".into()];
        assert!(!told(&["eu"]).describe(&told(&["eu"]), &mut agent));
        assert_eq!(tags(&agent), ["mine", "eu"]);
        told(&["us"]).describe(&told(&["eu"]), &mut agent);
        assert_eq!(tags(&agent), ["mine", "otelcol", "us"]);
    }

    #[test]
    fn tags_may_be_one_text_and_are_bounded() {
        let description = Description {
            other: Map::from_iter([("tags".to_owned(), Value::from("a, b,,a"))]),
            ..Description::default()
        };
        assert_eq!(description.tags().concat(), "ab");
        let many: Vec<String> = (0..500).map(|number| "ä".repeat(300) + &number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(told(&many).tags().iter().all(|tag| tag.len() <= LONGEST_TAG));
    }
}
