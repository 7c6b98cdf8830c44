//! The secrets of an object: what people send goes to the secret store, what is kept is where it lies there.

use std::collections::{BTreeMap, BTreeSet};

use fleet_access::audit::{CHANGED, HIDDEN};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::object::Object;
use crate::fleet::Fleet;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::fields::bad;

/// Keys of certificates, wherever they stand. The trail knows by itself what else is a secret.
const KEYS: [&str; 3] = ["certificate_key", "es_key", "agent_key"];

/// What was done in the secret store for one change.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Secrets that are new: of no use if the change is not made.
    created: Vec<String>,
    /// Secrets that the object had and has not any more: of no use once the change is out.
    dropped: Vec<String>,
}

/// Keeps the secrets of `after`. References must be those that `before` has: nobody gets at the secret of
/// something else by naming it.
pub(super) async fn keep<T: Serialize + DeserializeOwned>(
    fleet: &Fleet,
    before: Option<&T>,
    after: &mut T,
) -> Result<Kept, ApiError> {
    let had = before.map(references).unwrap_or_default();
    let mut value = json!(after);
    let Some(secrets) = value.get("secrets").cloned() else {
        return Ok(Kept { created: Vec::new(), dropped: had.into_values().collect() });
    };
    let mut given = BTreeMap::new();
    leaves(&secrets, &mut Vec::new(), &mut given);
    let known: BTreeSet<&String> = had.values().collect();
    for (path, leaf) in &given {
        if let Some(id) = leaf.get("id").and_then(Value::as_str)
            && !known.contains(&id.to_owned())
        {
            let text = "there is no such secret here: give its text instead of an id";
            return Err(bad(&format!("secrets.{}", path.join(".")), text));
        }
    }
    let mut kept = Kept::default();
    for (path, leaf) in &given {
        let reference = match leaf {
            Value::String(text) if text.is_empty() => Value::Null,
            Value::String(text) => match fleet.secrets.create(text).await {
                Ok(id) => {
                    kept.created.push(id.clone());
                    json!({"id": id})
                }
                Err(error) => {
                    forget(fleet, &kept.created).await;
                    return Err(error.into());
                }
            },
            leaf => json!({"id": leaf["id"]}),
        };
        put(&mut value["secrets"], path, reference);
    }
    *after = serde_json::from_value(value).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let has: BTreeSet<String> = references(after).into_values().collect();
    kept.dropped = had.into_values().filter(|id| !has.contains(id)).collect();
    Ok(kept)
}

impl Kept {
    /// The change was not made.
    pub(super) async fn undo(self, fleet: &Fleet) {
        forget(fleet, &self.created).await;
    }

    /// The change is made, and agents have it or are about to.
    pub(super) async fn done(self, fleet: &Fleet) {
        forget(fleet, &self.dropped).await;
    }
}

/// Everything that an object has in the secret store is of no use any more.
pub(super) async fn forget_all<T: Serialize>(fleet: &Fleet, object: &T) {
    let ids: Vec<String> = references(object).into_values().collect();
    forget(fleet, &ids).await;
}

async fn forget(fleet: &Fleet, ids: &[String]) {
    for id in ids {
        if let Err(error) = fleet.secrets.remove(id).await {
            warn!(secret = id, error = &error as &dyn std::error::Error, "a secret that nobody needs stays");
        }
    }
}

/// The ids of an object's secrets, by where they stand in it.
fn references<T: Serialize>(object: &T) -> BTreeMap<Vec<String>, String> {
    let value = json!(object);
    let mut found = BTreeMap::new();
    if let Some(secrets) = value.get("secrets") {
        leaves(secrets, &mut Vec::new(), &mut found);
    }
    let ids = found.into_iter().filter_map(|(path, leaf)| Some((path, leaf.get("id")?.as_str()?.to_owned())));
    ids.collect()
}

fn leaves(value: &Value, path: &mut Vec<String>, into: &mut BTreeMap<Vec<String>, Value>) {
    match value {
        Value::Object(members) if !members.contains_key("id") => {
            for (key, member) in members {
                path.push(key.clone());
                leaves(member, path, into);
                path.pop();
            }
        }
        Value::Null => {}
        leaf => {
            into.insert(path.clone(), leaf.clone());
        }
    }
}

fn put(into: &mut Value, path: &[String], leaf: Value) {
    let mut place = into;
    for key in path {
        place = &mut place[key.as_str()];
    }
    *place = leaf;
}

/// Tells the audit trail of a change. A key of a certificate may be anything, so that the trail could not know it
/// for a secret by its look.
pub(super) fn tell<T: Object>(caller: &Caller, id: &str, before: Option<&T>, after: Option<&T>) {
    let (mut was, mut is) = (before.map(|before| json!(before)), after.map(|after| json!(after)));
    if let Some(is) = &mut is {
        hide(is, was.as_ref(), "");
    }
    if let Some(was) = &mut was {
        hide(was, None, "");
    }
    caller.changed(T::KIND, id, was, is);
}

fn hide(value: &mut Value, before: Option<&Value>, within: &str) {
    let Value::Object(members) = value else { return };
    for (key, member) in members.iter_mut() {
        let before = before.and_then(|before| before.get(key));
        let is_key = KEYS.contains(&key.as_str()) || (key == "key" && within == "ssl");
        match member {
            // Only ids are in it.
            _ if key == "secrets" => {}
            Value::String(text) if is_key && !text.is_empty() => {
                let is_changed = before.is_some_and(|before| *before != **text);
                *text = if is_changed { CHANGED } else { HIDDEN }.to_owned();
            }
            member => hide(member, before, key),
        }
    }
}

/// As JSON, to be edited.
pub(super) fn fields<T: Serialize>(object: &T) -> Map<String, Value> {
    match json!(object) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_and_what_is_another_one_is_told() {
        let before =
            json!({"key": "message key", "ssl": {"key": "k", "certificate": "c"}, "certificate_key": "a"});
        let mut after = json!({"key": "message key", "ssl": {"key": "l", "certificate": "c", "es_key": ""},
            "certificate_key": "a", "secrets": {"ssl": {"key": {"id": "s"}}}});
        hide(&mut after, Some(&before), "");
        let expected = json!({"key": "message key", "ssl": {"key": CHANGED, "certificate": "c", "es_key": ""},
            "certificate_key": HIDDEN, "secrets": {"ssl": {"key": {"id": "s"}}}});
        assert_eq!(after, expected);
    }
}
