//! What is the same in all events of a stream.

use serde_json::{Map, Value};

use super::{separate, write_json};

/// Fields that are the same in all events of a stream, with each top-level one already written as JSON.
#[derive(Debug, Default)]
pub struct Base {
    fields: Vec<Field>,
    /// All of them: `{"a":1,"b":2`, without the closing brace.
    opened: Vec<u8>,
}

#[derive(Debug)]
struct Field {
    key: String,
    value: Value,
    /// `"key":value`
    json: Vec<u8>,
}

impl Base {
    /// Writes each field once.
    #[must_use]
    pub fn new(document: Map<String, Value>) -> Base {
        let mut opened = vec![b'{'];
        let mut fields = Vec::with_capacity(document.len());
        for (key, value) in document {
            let mut json = Vec::new();
            write_json(&mut json, &key);
            json.push(b':');
            write_json(&mut json, &value);
            json.shrink_to_fit();
            separate(&mut opened);
            opened.extend_from_slice(&json);
            fields.push(Field { key, value, json });
        }
        opened.shrink_to_fit();
        Base { fields, opened }
    }

    /// A top-level field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// All top-level fields.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|field| (field.key.as_str(), &field.value))
    }

    /// All top-level fields with their JSON, `"key":value`.
    pub(super) fn written(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (field.key.as_str(), field.json.as_slice()))
    }

    /// Appends the document without its closing brace, so that fields can follow after [`separate`].
    pub(crate) fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opened);
    }
}
