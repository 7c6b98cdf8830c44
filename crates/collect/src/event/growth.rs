//! How much processors may add to an event.
//!
//! A policy that copies a field within its event, and the copy with the field once more, doubles it with each step; and
//! what a line says may be taken apart again and again. What an event may grow by is bounded for all steps together, so
//! that neither a mistake in a policy nor a line that somebody sends takes the machine's memory.

use std::cell::Cell;

use serde_json::Value;

/// Bytes that processors may copy within one event. The longest line has 10 MiB unless a policy says otherwise: it may be
/// copied a few times.
const MOST: usize = 64 << 20;

/// What stands for a value beside its text.
const OVERHEAD: usize = size_of::<Value>();

/// Copying more than an event may grow by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it would make the event larger by more than {} MiB: copy less, or cut the field with truncate_fields before", MOST >> 20)]
pub struct Overgrown;

impl From<Overgrown> for String {
    fn from(overgrown: Overgrown) -> String {
        overgrown.to_string()
    }
}

/// What an event has grown by so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    spent: Cell<usize>,
    exceeded: Cell<bool>,
}

impl Growth {
    /// Counts bytes that are about to be added.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Overgrown> {
        if bytes > self.left() {
            self.exceed();
            return Err(Overgrown);
        }
        self.spent.set(self.spent.get() + bytes);
        Ok(())
    }

    /// Something has not been done.
    pub(super) fn exceed(&self) {
        self.exceeded.set(true);
    }

    /// Bytes that may still be added.
    pub(super) fn left(&self) -> usize {
        MOST - self.spent.get()
    }

    /// Whether something has not been done since the event would have grown too much.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }
}

/// Bytes of a value in memory, about.
pub(crate) fn weight(value: &Value) -> usize {
    let content = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| OVERHEAD + key.len() + weight(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    OVERHEAD + content
}
