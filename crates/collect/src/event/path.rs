//! Names of fields with dots in them.

use serde_json::{Map, Value};

/// How deep dots in a name lead; what is behind them stays one name. Engines take 20 levels, and each costs memory of the
/// thread that walks through it: names may come from lines that anybody sends.
pub(crate) const MOST_PARTS: usize = 64;

/// A field's name, `log.file.path`, split once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldPath {
    parts: Vec<String>,
}

impl FieldPath {
    /// Splits at dots.
    #[must_use]
    pub fn new(name: &str) -> FieldPath {
        FieldPath { parts: name.splitn(MOST_PARTS, '.').map(str::to_owned).collect() }
    }

    /// A top-level field, whose name is taken as it is.
    #[must_use]
    pub fn top(name: String) -> FieldPath {
        FieldPath { parts: vec![name] }
    }

    /// The top-level field.
    #[must_use]
    pub fn first(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }

    /// Whether it names a top-level field.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.parts.len() <= 1
    }

    /// A field inside this one.
    #[must_use]
    pub fn join(&self, key: &str) -> FieldPath {
        let mut parts = self.parts.clone();
        parts.extend(key.splitn(MOST_PARTS, '.').map(str::to_owned));
        FieldPath { parts }
    }

    /// Looks the rest of the path up inside the top-level field's value.
    pub(super) fn below<'a>(&self, top: &'a Value) -> Option<&'a Value> {
        let mut value = top;
        for (index, part) in self.parts.iter().enumerate().skip(1) {
            let map = value.as_object()?;
            value = match map.get(part) {
                Some(inner) => inner,
                // A decoded document may have dots in its keys.
                None => return map.get(&self.parts[index..].join(".")),
            };
        }
        Some(value)
    }

    /// Looks the whole path up in a document.
    pub(crate) fn in_map<'a>(&self, document: &'a Map<String, Value>) -> Option<&'a Value> {
        self.below(document.get(self.first())?)
    }

    pub(super) fn below_mut<'a>(&self, top: &'a mut Value) -> Option<&'a mut Value> {
        let mut value = top;
        for (index, part) in self.parts.iter().enumerate().skip(1) {
            let map = value.as_object_mut()?;
            if !map.contains_key(part) {
                return map.get_mut(&self.parts[index..].join("."));
            }
            value = map.get_mut(part)?;
        }
        Some(value)
    }

    /// Sets the rest of the path inside the top-level field's value.
    pub(super) fn put_below(&self, top: &mut Value, new: Value) {
        let mut value = top;
        for part in self.parts.iter().skip(1) {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            let Value::Object(map) = value else { return };
            value = map.entry(part.clone()).or_insert(Value::Null);
        }
        *value = new;
    }

    pub(super) fn remove_below(&self, top: &mut Value) -> Option<Value> {
        let (last, rest) = self.parts.split_last()?;
        let mut value = top;
        for (index, part) in rest.iter().enumerate().skip(1) {
            let map = value.as_object_mut()?;
            if !map.contains_key(part) {
                return map.remove(&self.parts[index..].join("."));
            }
            value = map.get_mut(part)?;
        }
        value.as_object_mut()?.remove(last)
    }

    /// Takes the field out of a document.
    pub(crate) fn remove_from(&self, document: &mut Value) -> Option<Value> {
        let mut parts = vec![String::new()];
        parts.extend(self.parts.iter().cloned());
        FieldPath { parts }.remove_below(document)
    }

    /// The value of the top-level field of a document that has nothing but this.
    pub(crate) fn wrap(&self, value: Value) -> Value {
        self.parts
            .iter()
            .skip(1)
            .rev()
            .fold(value, |value, part| Value::Object(Map::from_iter([(part.clone(), value)])))
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.parts.join("."))
    }
}
