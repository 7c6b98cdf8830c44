//! Changes of machines' metadata: the body of `PATCH /machines`, modelled on JSON Patch (RFC 6902).

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// One operation as it stands in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetadataOperation {
    /// `add`, `remove` or `replace`.
    pub op: String,
    /// `/MACHINE/metadata/KEY`.
    pub path: String,
    /// The new value. It is written as `{"value":"x"}`, which is what the original's server wants; the
    /// plain `"x"` of its documentation is read too. Empty is as good as none.
    #[serde(alias = "Value", skip_serializing_if = "String::is_empty")]
    #[serde(serialize_with = "nested", deserialize_with = "nested_or_plain")]
    pub value: String,
}

/// One operation that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChange {
    /// The machine's id. There may be no such machine.
    pub machine_id: String,
    /// The key.
    pub key: String,
    /// The new value; `None` removes the key.
    pub value: Option<String>,
}

/// Why an operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Neither of the three.
    #[error("invalid op: expect add, remove, or replace")]
    Operation,
    /// Not `/MACHINE/metadata/KEY`, or a key of other characters than letters, digits, `_`, `.` and `-`.
    #[error("machine metadata path invalid")]
    Path,
    /// There is nothing to set.
    #[error("invalid value: add and replace require a value")]
    Value,
}

impl MetadataOperation {
    /// Checks the operation.
    ///
    /// # Errors
    /// The first thing that is wrong: operation, path, value.
    pub fn check(&self) -> Result<MetadataChange, MetadataError> {
        if !matches!(self.op.as_str(), "add" | "remove" | "replace") {
            return Err(MetadataError::Operation);
        }
        let (machine_id, key) = self.split_path().ok_or(MetadataError::Path)?;
        let value = match (self.op.as_str(), self.value.as_str()) {
            ("remove", _) => None,
            (_, "") => return Err(MetadataError::Value),
            (_, value) => Some(value.to_owned()),
        };
        Ok(MetadataChange { machine_id: machine_id.to_owned(), key: key.to_owned(), value })
    }

    fn split_path(&self) -> Option<(&str, &str)> {
        let (machine_id, rest) = self.path.strip_prefix('/')?.split_once('/')?;
        let key = rest.strip_prefix("metadata/")?;
        let is_key_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        (!machine_id.is_empty() && !key.is_empty() && key.chars().all(is_key_char))
            .then_some((machine_id, key))
    }
}

impl From<&MetadataChange> for MetadataOperation {
    fn from(change: &MetadataChange) -> MetadataOperation {
        let op = if change.value.is_some() { "replace" } else { "remove" };
        MetadataOperation {
            op: op.to_owned(),
            path: format!("/{}/metadata/{}", change.machine_id, change.key),
            value: change.value.clone().unwrap_or_default(),
        }
    }
}

fn nested<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Nested<'a> {
        value: &'a str,
    }
    Nested { value }.serialize(serializer)
}

fn nested_or_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(ValueVisitor)
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a string or {"value": string}"#)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut value = String::new();
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("value") {
                value = map.next_value::<Option<String>>()?.unwrap_or_default();
            } else {
                map.next_value::<de::IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}
