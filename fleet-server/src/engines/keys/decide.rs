//! What is to be done for an agent's keys: a function of what is kept and what is needed.

use fleet_policy::keyed::KeyedOutput;
use fleet_policy::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use super::document::{AgentKeys, OutputKey, RetiredKey};

/// What the roles of older revisions end with.
const STALE: &str = "-rdstale";
/// More than so many roles are not carried along: an agent that never runs what it gets would gather them.
const MOST_ROLES: usize = 64;

/// What an output needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: its key is good.
    Nothing,
    /// A key.
    Key,
    /// Other rights.
    Rights,
}

/// What an output needs; `cluster`: the one that stands there, as far as that is known.
pub(super) fn need(kept: Option<&OutputKey>, output: &KeyedOutput, cluster: Option<&str>) -> Need {
    match kept {
        None => Need::Key,
        Some(key) if key.output_id != output.output_id => Need::Key,
        Some(key) if cluster.is_some_and(|cluster| cluster != key.cluster) => Need::Key,
        Some(key) if key.permissions_hash != output.permissions_hash => Need::Rights,
        Some(_) => Need::Nothing,
    }
}

/// Retires the keys of outputs that are not needed. Whether there were any.
pub(super) fn retire_unneeded(keys: &mut AgentKeys, outputs: &[KeyedOutput], now: Timestamp) -> bool {
    let is_needed = |name: &str| outputs.iter().any(|output| output.name == *name);
    let over: Vec<String> = keys.outputs.keys().filter(|name| !is_needed(name)).cloned().collect();
    for name in &over {
        retire(keys, name, now);
    }
    !over.is_empty()
}

/// Retires the key of an output, if it has one.
pub(super) fn retire(keys: &mut AgentKeys, name: &str, now: Timestamp) {
    if let Some(OutputKey { api_key_id, output_id, cluster, .. }) = keys.outputs.remove(name) {
        let retired = RetiredKey { id: api_key_id, output: output_id, cluster, retired_at: now };
        keys.to_retire_api_key_ids.push(retired);
        keys.pending = true;
    }
}

/// Permissions as an engine takes them. No role at all would mean all rights of whoever makes the key.
pub(super) fn roles(permissions: &Map<String, Value>) -> Map<String, Value> {
    if permissions.is_empty() {
        return Map::from_iter([("nothing".to_owned(), json!({"cluster": [], "indices": []}))]);
    }
    permissions.clone()
}

/// The rights of a new revision beside those that the key has. The newest of these come first: if there are too
/// many, the oldest are left out.
pub(super) fn with_old(permissions: &Map<String, Value>, old: &Map<String, Value>) -> Map<String, Value> {
    let mut all = roles(permissions);
    let (stale, newest): (Vec<_>, Vec<_>) = old.iter().partition(|(name, _)| name.ends_with(STALE));
    for (name, role) in newest.into_iter().chain(stale) {
        if all.len() >= MOST_ROLES {
            break;
        }
        if all.values().any(|known| known == role) {
            continue;
        }
        let mut free = (0..).map(|number| format!("{}-{number}{STALE}", base(name)));
        if let Some(name) = free.find(|name| !all.contains_key(name)) {
            all.insert(name, role.clone());
        }
    }
    all
}

/// What a role was called when it was new.
fn base(name: &str) -> &str {
    let stale = name.strip_suffix(STALE).and_then(|name| name.rsplit_once('-'));
    stale.map_or(name, |(base, _)| base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("an object: {value}") };
        object
    }

    #[test]
    fn nobody_gets_all_rights_by_having_none() {
        let none = roles(&Map::new());
        assert_eq!(none.len(), 1);
        assert_eq!(none["nothing"], json!({"cluster": [], "indices": []}));
    }

    #[test]
    fn old_rights_stay_until_they_are_taken_away() {
        let (old, new) = (object(json!({"x": {"indices": [1]}})), object(json!({"x": {"indices": [2]}})));
        let both = with_old(&new, &old);
        assert_eq!(
            Value::from(both.clone()),
            json!({"x": {"indices": [2]}, "x-0-rdstale": {"indices": [1]}})
        );
        assert_eq!(with_old(&new, &both), both, "once more changes nothing");
        assert_eq!(with_old(&new, &new), new, "what it has it keeps once");
    }

    #[test]
    fn roles_are_bounded() {
        let mut roles = Map::new();
        for revision in 0..200 {
            roles = with_old(&object(json!({"x": {"revision": revision}})), &roles);
        }
        assert_eq!(roles.len(), MOST_ROLES);
        assert_eq!(roles["x"], json!({"revision": 199}));
        assert_eq!(roles["x-0-rdstale"], json!({"revision": 198}), "the newest of the old ones is there");
    }
}
