//! `move_fields`: fields from one object into another, or with another beginning of their names.

use std::collections::HashSet;

use serde_json::Value;

use super::Processor;
use super::attempt::{self, Attempt};
use super::fields::ALWAYS;
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct MoveFields {
    /// `None`: the event itself.
    from: Option<FieldPath>,
    /// None: all that are there.
    fields: Vec<String>,
    exclude: Vec<String>,
    /// Stands before the names.
    to: String,
    ignore_missing: bool,
}

impl Attempt for MoveFields {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let names = if self.fields.is_empty() { self.all(event)? } else { self.fields.clone() };
        let mut moves = Vec::with_capacity(names.len());
        for name in names.into_iter().filter(|name| !self.exclude.contains(name)) {
            let from = self.path(&name);
            match event.get(&from) {
                Some(value) => {
                    moves.push((from, FieldPath::new(&format!("{}{name}", self.to)), value.clone()));
                }
                None if self.ignore_missing => {}
                None => return Err(format!("field {from} is not in the event")),
            }
        }
        for (from, ..) in &moves {
            event.remove(from);
        }
        moves.into_iter().for_each(|(_, to, value)| event.put(&to, value));
        Ok(())
    }
}

impl MoveFields {
    fn path(&self, name: &str) -> FieldPath {
        self.from.as_ref().map_or_else(|| FieldPath::new(name), |from| from.join(name))
    }

    fn all(&self, event: &Event) -> Result<Vec<String>, String> {
        let Some(from) = &self.from else {
            let names = event.to_map().into_iter().map(|(name, _)| name);
            return Ok(names.filter(|name| !ALWAYS.contains(&name.as_str())).collect());
        };
        match event.get(from) {
            Some(Value::Object(map)) => Ok(map.keys().cloned().collect()),
            Some(_) => Err(format!("field {from} is no object")),
            None if self.ignore_missing => Ok(Vec::new()),
            None => Err(format!("field {from} is not in the event")),
        }
    }
}

/// Whoever names a field twice means it once.
fn once(names: Vec<String>) -> Vec<String> {
    let mut known = HashSet::new();
    names.into_iter().filter(|name| known.insert(name.clone())).collect()
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let to = config.text("to")?.filter(|to| !to.is_empty());
    let moves = MoveFields {
        from: config.text("from")?.filter(|from| !from.is_empty()).map(|from| FieldPath::new(&from)),
        fields: once(config.texts("fields")?),
        exclude: config.texts("exclude")?,
        to: to.ok_or_else(|| config.mistake("to", "is missing: give what stands before the names"))?,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::telling(config, moves)
}
