//! `cache`: what one event says is added to others that have the same key. In memory alone, shared by all processors
//! that name the same cache.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Processor;
use super::attempt::{self, Attempt};
use super::shared::Shared;
use crate::config::{Config, Mistake, scalar};
use crate::event::{Event, FieldPath, weight};

/// A cache has no more entries, whatever the policy says.
const MOST: usize = 100_000;

/// The keys and values of a cache have no more bytes together.
const MOST_BYTES: usize = 8 << 20;

/// What an entry takes beside its key and value.
const ENTRY_BYTES: usize = 160;

/// Values by their keys, for a time.
#[derive(Debug, Default)]
pub(super) struct Store {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    by_key: HashMap<Arc<str>, Entry>,
    /// From old to new.
    order: BTreeMap<u64, Arc<str>>,
    last: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    number: u64,
    expires: Instant,
    bytes: usize,
}

impl Store {
    /// Keeps a value; the oldest go, as far as there is no room. False: it is too large.
    fn put(&self, key: &str, value: Value, capacity: usize, (now, ttl): (Instant, Duration)) -> bool {
        let bytes = ENTRY_BYTES + 2 * key.len() + weight(&value);
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        content.remove(key);
        if bytes > MOST_BYTES {
            return false;
        }
        while content.by_key.len() >= capacity || content.bytes + bytes > MOST_BYTES {
            let Some((_, oldest)) = content.order.first_key_value() else { break };
            let oldest = Arc::clone(oldest);
            content.remove(&oldest);
        }
        content.last += 1;
        let (number, key) = (content.last, Arc::<str>::from(key));
        let expires = now.checked_add(ttl).unwrap_or(now);
        content.order.insert(number, Arc::clone(&key));
        content.by_key.insert(key, Entry { value, number, expires, bytes });
        content.bytes += bytes;
        true
    }

    fn get(&self, key: &str, now: Instant) -> Option<Value> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = content.by_key.get(key)?;
        if entry.expires > now {
            return Some(entry.value.clone());
        }
        content.remove(key);
        None
    }

    fn delete(&self, key: &str) {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Content {
    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.by_key.remove(key) {
            self.order.remove(&entry.number);
            self.bytes -= entry.bytes;
        }
    }
}

#[derive(Debug)]
struct Cache {
    store: Arc<Store>,
    key: FieldPath,
    action: Action,
    ignore_missing: bool,
}

#[derive(Debug)]
enum Action {
    Put { value: FieldPath, ttl: Duration, capacity: usize },
    Get { target: FieldPath, overwrite: bool },
    Delete,
}

impl Attempt for Cache {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some(key) = self.field(event, &self.key)? else { return Ok(()) };
        let key = scalar(key).ok_or_else(|| format!("field {} is a map or a list, and no key", self.key))?;
        match &self.action {
            Action::Put { value, ttl, capacity } => {
                let Some(value) = self.field(event, value)?.cloned() else { return Ok(()) };
                let now = Instant::now();
                if !self.store.put(&key, value, *capacity, (now, *ttl)) {
                    return Err(format!("the value for {} is too large for a cache", self.key));
                }
            }
            Action::Get { target, overwrite } => {
                let Some(value) = self.store.get(&key, Instant::now()) else { return Ok(()) };
                if !overwrite && event.get(target).is_some() {
                    return Err(format!("field {target} is already in the event (overwrite_keys)"));
                }
                event.put(target, value);
            }
            Action::Delete => self.store.delete(&key),
        }
        Ok(())
    }
}

impl Cache {
    fn field<'a>(&self, event: &'a Event, field: &FieldPath) -> Result<Option<&'a Value>, String> {
        match event.get(field) {
            None if !self.ignore_missing => Err(format!("field {field} is not in the event")),
            value => Ok(value),
        }
    }
}

/// `backend.memory.id`, `backend.capacity`, one of `put`, `get` and `delete`, `overwrite_keys`.
pub(super) fn build(config: &Config, shared: &Shared) -> Result<Box<dyn Processor>, Mistake> {
    if config.mentions("backend.file") {
        let problem = "is not kept by this agent: use backend.memory.id";
        return Err(config.mistake("backend.file", problem));
    }
    let id = config.text("backend.memory.id")?.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| config.mistake("backend.memory.id", "is missing: name the cache"))?;
    // 0 and less: no limit, but for our own.
    let capacity = match config.value("backend.capacity").and_then(Value::as_i64) {
        Some(..0) => MOST,
        _ => match config.count("backend.capacity", MOST)? {
            0 => MOST,
            count => count.min(MOST),
        },
    };
    let overwrite = config.boolean("overwrite_keys", false)?;
    let given: Vec<&str> = ["put", "get", "delete"].into_iter().filter(|key| config.mentions(key)).collect();
    let [name] = given.as_slice() else {
        let problem = "must say one thing to do: put, get or delete";
        return Err(Mistake::new(config.name(given.get(1).copied().unwrap_or("put")), problem));
    };
    let settings = config.section(name)?;
    let action = match *name {
        "put" => {
            let ttl = settings.maybe_duration("ttl")?.filter(|ttl| !ttl.is_zero());
            let missing = || settings.mistake("ttl", "is missing: say how long values are kept, such as 1h");
            let value = attempt::needed(&settings, "value_field")?;
            Action::Put { value, ttl: ttl.ok_or_else(missing)?, capacity }
        }
        "get" => Action::Get { target: attempt::needed(&settings, "target_field")?, overwrite },
        _ => Action::Delete,
    };
    let key = attempt::needed(&settings, "key_field")?;
    let ignore_missing = config.boolean("ignore_missing", false)?;
    attempt::unless_ignored(config, Cache { store: shared.cache(&id), key, action, ignore_missing })
}

#[cfg(test)]
mod tests {
    use super::super::Chain;
    use super::super::tests::{after_with, mistake, refused};
    use super::*;
    use serde_json::json;

    fn processor(id: &str, more: &Value) -> Value {
        let mut settings = json!({"backend": {"memory": {"id": id}}});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "cache": settings }])
    }

    #[test]
    fn what_one_event_says_is_added_to_another() {
        let shared = Arc::new(Shared::default());
        let put = json!({"put": {"key_field": "id", "value_field": "user", "ttl": "1h"}});
        let get = json!({"get": {"key_field": "session", "target_field": "by.user"}});
        let delete = json!({"delete": {"key_field": "id"}});
        // A cache lives as long as somebody uses it.
        let reader = Chain::build(&[("processors", Some(&processor("a", &get)))], &shared).unwrap();
        let run =
            |id: &str, settings: &Value, event: Value| after_with(&shared, &processor(id, settings), &event);
        let user = json!({"name": "root", "ids": [1, 2]});
        run("a", &put, json!({"id": 7, "user": user}));
        let found = run("a", &get, json!({"session": "7"}));
        assert_eq!(found, json!({"session": "7", "by": {"user": user}}));
        assert_eq!(run("other", &get, json!({"session": "7"})), json!({"session": "7"}));
        let told = run("a", &get, json!({"session": "7", "by": {"user": 1}}));
        assert_eq!(told["error"]["message"], "field by.user is already in the event (overwrite_keys)");
        run("a", &delete, json!({"id": "7"}));
        assert_eq!(run("a", &get, json!({"session": "7"})), json!({"session": "7"}));
        drop(reader);
    }

    #[test]
    fn entries_end_with_their_time_and_the_oldest_make_room() {
        let store = Store::default();
        let (now, ttl) = (Instant::now(), Duration::from_secs(10));
        for key in ["a", "b", "c"] {
            assert!(store.put(key, json!(key), 2, (now, ttl)));
        }
        let keys = |at| ["a", "b", "c"].map(|key| store.get(key, at).is_some());
        assert_eq!(keys(now), [false, true, true]);
        // What is written again is new again.
        store.put("b", json!("B"), 2, (now, ttl * 2));
        store.put("a", json!(1), 2, (now, ttl));
        assert_eq!(keys(now), [true, true, false]);
        assert_eq!(keys(now + ttl), [false, true, false]);
        store.delete("b");
        let content = store.content.lock().unwrap();
        assert_eq!((content.by_key.len(), content.order.len(), content.bytes), (0, 0, 0));
    }

    #[test]
    fn a_cache_holds_so_many_bytes_and_no_more() {
        let store = Store::default();
        let time = (Instant::now(), Duration::from_secs(10));
        assert!(!store.put("whole", json!("x".repeat(MOST_BYTES)), MOST, time));
        for key in 0..20 {
            assert!(store.put(&key.to_string(), json!(["x".repeat(1 << 20)]), MOST, time));
        }
        assert_eq!((store.get("12", time.0), store.get("19", time.0).is_some()), (None, true));
        assert!(store.content.lock().unwrap().bytes <= MOST_BYTES);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let get = json!({"get": {"key_field": "a", "target_field": "b"}});
        assert_eq!(refused(&processor("x", &get), &json!({"c": 1})), "field a is not in the event");
        assert!(refused(&processor("x", &get), &json!({"a": [1]})).contains("no key"));
        for (settings, problem) in [
            (json!({}), "cache.put: must say one thing to do"),
            (json!({"put": {}, "get": {}}), "cache.get: must say one thing to do"),
            (json!({"put": {"key_field": "a", "value_field": "b"}}), "cache.put.ttl: is missing"),
            (json!({"get": {"key_field": "a"}}), "cache.get.target_field: is missing"),
            (json!({"delete": {}}), "cache.delete.key_field: is missing"),
            (json!({"backend": {"file": {"id": "a"}}}), "cache.backend.file: is not kept"),
            (json!({"backend": {}}), "cache.backend.memory.id: is missing"),
            (json!({"backend": {"memory": {"id": "a"}, "capacity": "x"}}), "cache.backend.capacity: must be"),
        ] {
            let text = mistake(&processor("x", &settings));
            assert!(text.contains(problem), "{text}");
        }
    }
}
