//! The layout of keys: `<prefix><collection>/<id>`, and `<prefix>lease/<lease id>` for the markers that tell
//! inside a transaction whether a lease is held.

use crate::contract::{Collection, LEASE_COLLECTION, LeaseId, Scope};

/// Makes keys below one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// A range of keys: one key, or all from the first up to, not including, the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
}

impl Keys {
    /// `prefix` ends with a slash.
    pub(super) fn new(prefix: String) -> Keys {
        Keys { prefix }
    }

    /// What all keys start with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a document.
    pub(super) fn document(&self, collection: &Collection, id: &str) -> Vec<u8> {
        format!("{}{}/{id}", self.prefix, collection.name).into_bytes()
    }

    /// The key that lives as long as a lease.
    pub(super) fn marker(&self, lease: LeaseId) -> Vec<u8> {
        format!("{}{LEASE_COLLECTION}/{:016x}", self.prefix, lease.0).into_bytes()
    }

    /// The keys of a scope.
    pub(super) fn range(&self, collection: &Collection, scope: &Scope) -> Range {
        let prefix = match scope {
            Scope::All => self.document(collection, ""),
            Scope::Prefix(prefix) => self.document(collection, prefix),
            Scope::Id(id) => return Range { start: self.document(collection, id), end: None },
        };
        Range { end: Some(prefix_end(&prefix)), start: prefix }
    }

    /// The id of the document with this key; `None` for a key that is not of this collection.
    pub(super) fn id(&self, collection: &Collection, key: &[u8]) -> Option<String> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?;
        let id = rest.strip_prefix(collection.name.as_bytes())?.strip_prefix(b"/")?;
        String::from_utf8(id.to_vec()).ok()
    }
}

/// The first key after all that start with `prefix`, which holds a byte below 0xff: every one of ours does,
/// as UTF-8 has no byte 0xff.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // etcd's word for "to the end of all keys".
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Collection = Collection { name: "unit", indexed: &[] };

    #[test]
    fn keys_and_ids_fit_each_other() {
        let keys = Keys::new("/fleet/".to_owned());
        for id in ["a", "a/b", "ü %\n", "a\u{10ffff}"] {
            let key = keys.document(&UNITS, id);
            assert_eq!(keys.id(&UNITS, &key).as_deref(), Some(id));
        }
        assert_eq!(keys.id(&UNITS, b"/fleet/units/a"), None);
    }

    #[test]
    fn a_range_ends_after_its_last_key() {
        let keys = Keys::new("/".to_owned());
        assert_eq!(keys.range(&UNITS, &Scope::All).end.unwrap(), b"/unit0");
        let range = keys.range(&UNITS, &Scope::Prefix("a\u{10ffff}".to_owned()));
        assert!(range.end.unwrap() > keys.document(&UNITS, "a\u{10ffff}\u{10ffff}"));
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
    }
}
