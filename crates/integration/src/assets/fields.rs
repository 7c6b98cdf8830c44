//! Field definitions: `fields/*.yml`.

use serde_json::{Map, Value};

use crate::archive::Archive;
use crate::yaml;

/// The deepest groups in groups: more than any schema has.
const DEEPEST: usize = 32;

/// A field as a package defines it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Field {
    /// Below its group; may have dots.
    pub name: String,
    /// As `keyword`; `None`: it does not say.
    pub kind: Option<String>,
    /// The fields of a group.
    pub fields: Vec<Field>,
    /// What else it says.
    pub rest: Map<String, Value>,
}

impl Field {
    /// What it says under a key, as text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.rest.get(key)?.as_str()
    }
}

/// The fields in the files of a folder, in order of the files; what is wrong with a file goes into `notes`.
#[must_use]
pub fn read(archive: &Archive, folder: &str, notes: &mut Vec<String>) -> Vec<Field> {
    let mut all = Vec::new();
    for (path, bytes) in archive.below(folder) {
        if !(path.ends_with(".yml") || path.ends_with(".yaml")) {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        match yaml::parse_json(&text) {
            Ok(Value::Array(items)) => all.extend(list(items, 0)),
            Ok(Value::Null) => {}
            Ok(_) => notes.push(format!("{path}: not a list of fields")),
            Err(error) => notes.push(format!("{path}: {error}")),
        }
    }
    all
}

fn list(items: Vec<Value>, depth: usize) -> Vec<Field> {
    if depth > DEEPEST {
        return Vec::new();
    }
    let mut fields = Vec::with_capacity(items.len());
    for item in items {
        let Value::Object(mut rest) = item else { continue };
        let inner = match rest.remove("fields") {
            Some(Value::Array(inner)) => list(inner, depth + 1),
            _ => Vec::new(),
        };
        let Some(Value::String(name)) = rest.remove("name").filter(|name| name.as_str() != Some("")) else {
            // Older packages have groups without a name around their fields.
            fields.extend(inner);
            continue;
        };
        let kind = rest.remove("type").and_then(|kind| kind.as_str().map(str::to_owned));
        fields.push(Field { name, kind, fields: inner, rest });
    }
    fields
}
