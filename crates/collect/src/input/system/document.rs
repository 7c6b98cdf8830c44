//! Building documents field by field, each by its whole name.

use serde_json::{Map, Value};

use super::delta;

/// What one event has beside the fields that all events of its metricset have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Document(Map<String, Value>);

impl Document {
    /// Sets a field, `system.load.1`.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let mut map = &mut self.0;
        let mut rest = name;
        while let Some((part, below)) = rest.split_once('.') {
            if !map.contains_key(part) {
                map.insert(part.to_owned(), Value::Object(Map::new()));
            }
            let Some(Value::Object(inner)) = map.get_mut(part) else { return };
            map = inner;
            rest = below;
        }
        map.insert(rest.to_owned(), value.into());
    }

    /// Sets a field if its value is known.
    pub(super) fn maybe(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// Sets a share or a rate, rounded; what is no number is left out.
    pub(super) fn share(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.set(name, delta::round(value));
        }
    }

    /// The fields.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    #[cfg(test)]
    pub(super) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_paths() {
        let mut document = Document::default();
        document.set("system.load.1", 0.5);
        document.set("system.load.norm.1", 0.25);
        document.maybe("system.load.5", None::<f64>);
        document.share("system.load.15", f64::NAN);
        document.share("host.cpu.usage", 0.123_456);
        let expected =
            json!({"system": {"load": {"1": 0.5, "norm": {"1": 0.25}}}, "host": {"cpu": {"usage": 0.1235}}});
        assert_eq!(document.value(), expected);
    }
}
