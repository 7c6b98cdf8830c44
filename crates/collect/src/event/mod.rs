//! Events: JSON documents, most of whose fields are the same for all events of a stream.
//!
//! A [`Base`] holds what is the same, already written as JSON. An [`Event`] holds what differs. Only a top-level
//! field that a processor touches is copied from the base, so that the rest costs one `memcpy` per event.

mod base;
mod growth;
mod path;

pub use base::Base;
pub use growth::Overgrown;
pub(crate) use growth::weight;
pub use path::FieldPath;
pub(crate) use path::MOST_PARTS;

use std::borrow::Cow;
use std::sync::Arc;

use growth::Growth;
use serde_json::{Map, Value};

/// One event on its way from an input to an output.
#[derive(Clone, Debug)]
pub struct Event {
    base: Arc<Base>,
    /// Top-level fields that differ from the base; `None`: removed.
    own: Vec<(Cow<'static, str>, Option<Value>)>,
    growth: Growth,
}

impl Event {
    /// An event with the fields of the base alone.
    #[must_use]
    pub fn new(base: Arc<Base>) -> Event {
        Event { base, own: Vec::with_capacity(4), growth: Growth::default() }
    }

    /// Counts bytes that a processor is about to add by copying what is in the event.
    ///
    /// # Errors
    /// They are too many: the processor must not add them.
    pub fn spend(&self, bytes: usize) -> Result<(), Overgrown> {
        self.growth.spend(bytes)
    }

    /// Counts the value at a path, which is about to be copied.
    ///
    /// # Errors
    /// It is too large.
    pub fn spend_copy(&self, path: &FieldPath) -> Result<(), Overgrown> {
        self.spend(self.get(path).map_or(0, weight))
    }

    /// Bytes that may still be added so.
    #[must_use]
    pub fn room(&self) -> usize {
        self.growth.left()
    }

    /// Takes down that a processor has found by itself that the event would have grown too much.
    pub fn refuse_growth(&self) {
        self.growth.exceed();
    }

    /// Whether something was not done to it since it would have grown too much.
    #[must_use]
    pub fn is_overgrown(&self) -> bool {
        self.growth.is_exceeded()
    }

    /// Makes it what it was; what has been counted stays counted.
    pub fn restore(&mut self, before: Event) {
        self.base = before.base;
        self.own = before.own;
    }

    /// Sets a top-level field. For inputs, which know the names of their fields.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        *self.slot(Cow::Borrowed(key)) = Some(value.into());
    }

    /// Merges a document into this one: maps into maps, everything else replaces.
    pub fn merge(&mut self, document: Map<String, Value>) {
        for (key, value) in document {
            let path = FieldPath::top(key);
            self.deep_merge(&path, value);
        }
    }

    /// Merges at a path: maps into maps, everything else replaces.
    pub fn deep_merge(&mut self, path: &FieldPath, value: Value) {
        match (self.get_mut(path), value) {
            (Some(Value::Object(there)), Value::Object(more)) => {
                for (key, value) in more {
                    crate::config::merge(there, key, value);
                }
            }
            (Some(there), value) => *there = value,
            (None, value) => self.put(path, value),
        }
    }

    /// The value at a path. A field whose name has dots in it is found too.
    #[must_use]
    pub fn get(&self, path: &FieldPath) -> Option<&Value> {
        match self.own.iter().find(|(key, _)| key == path.first()) {
            Some((_, value)) => path.below(value.as_ref()?),
            None => path.below(self.base.get(path.first())?),
        }
    }

    /// The text at a path.
    #[must_use]
    pub fn text(&self, path: &FieldPath) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// The value at a path, to change it. Copies the top-level field from the base.
    pub fn get_mut(&mut self, path: &FieldPath) -> Option<&mut Value> {
        self.get(path)?;
        let top = self.slot(Cow::Owned(path.first().to_owned())).as_mut()?;
        path.below_mut(top)
    }

    /// Sets the value at a path; what stands in the way and is no map is replaced by one.
    pub fn put(&mut self, path: &FieldPath, value: Value) {
        let slot = self.slot(Cow::Owned(path.first().to_owned()));
        match slot {
            Some(top) => path.put_below(top, value),
            None => *slot = Some(path.wrap(value)),
        }
    }

    /// Takes the value at a path out.
    pub fn remove(&mut self, path: &FieldPath) -> Option<Value> {
        self.get(path)?;
        let slot = self.slot(Cow::Owned(path.first().to_owned()));
        if path.is_top() { slot.take() } else { path.remove_below(slot.as_mut()?) }
    }

    /// All top-level fields that there are.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let own = self.own.iter().filter_map(|(key, value)| Some((key.as_ref(), value.as_ref()?)));
        let base = self.base.fields().filter(|(key, _)| !self.own.iter().any(|(own, _)| own == key));
        base.chain(own)
    }

    /// The whole document.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        self.fields().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// Removes the fields that this does not keep; the test sees top-level names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let gone: Vec<String> =
            self.fields().map(|(key, _)| key).filter(|key| !keep(key)).map(str::to_owned).collect();
        for key in gone {
            *self.slot(Cow::Owned(key)) = None;
        }
    }

    /// Appends the document as JSON.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if self.own.iter().all(|(key, _)| self.base.get(key).is_none()) {
            self.base.open(out);
        } else {
            out.push(b'{');
            for (key, json) in self.base.written() {
                if !self.own.iter().any(|(own, _)| own == key) {
                    separate(out);
                    out.extend_from_slice(json);
                }
            }
        }
        for (key, value) in &self.own {
            if let Some(value) = value {
                separate(out);
                write_json(out, key);
                out.push(b':');
                write_json(out, value);
            }
        }
        out.push(b'}');
    }

    /// The place of a top-level field, filled from the base at first.
    fn slot(&mut self, key: Cow<'static, str>) -> &mut Option<Value> {
        let index = match self.own.iter().position(|(own, _)| *own == key) {
            Some(index) => index,
            None => {
                let value = self.base.get(&key).cloned();
                self.own.push((key, value));
                self.own.len() - 1
            }
        };
        &mut self.own[index].1
    }
}

/// A comma, unless the document has just been opened.
pub(crate) fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Appends a value as JSON. Into memory, which cannot fail; a value that is no JSON would be null.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(base: &Value) -> Event {
        Event::new(Arc::new(Base::new(base.as_object().unwrap().clone())))
    }

    fn encoded(event: &Event) -> Value {
        let mut out = Vec::new();
        event.encode(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn own_fields_stand_over_those_of_the_base() {
        let mut event = event(&json!({"host": {"name": "a"}, "tags": ["x"]}));
        event.set("message", "hello");
        event.put(&FieldPath::new("host.os.name"), json!("linux"));
        assert_eq!(event.remove(&FieldPath::new("tags")), Some(json!(["x"])));
        let expected = json!({"message": "hello", "host": {"name": "a", "os": {"name": "linux"}}});
        assert_eq!(encoded(&event), expected);
        assert_eq!(Value::Object(event.to_map()), expected);
        assert_eq!(event.get(&FieldPath::new("tags")), None);
    }

    #[test]
    fn an_untouched_event_is_its_base() {
        let event = event(&json!({"a": 1}));
        assert_eq!(encoded(&event), json!({"a": 1}));
        let empty = super::tests::event(&json!({}));
        assert_eq!(encoded(&empty), json!({}));
    }

    #[test]
    fn merging_keeps_what_is_not_named() {
        let mut event = event(&json!({"labels": {"a": 1, "b": 2}}));
        event.merge(json!({"labels": {"b": 3}, "x": {"y": 1}}).as_object().unwrap().clone());
        assert_eq!(encoded(&event), json!({"labels": {"a": 1, "b": 3}, "x": {"y": 1}}));
    }
}
