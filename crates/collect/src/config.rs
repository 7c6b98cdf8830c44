//! Reading the settings of a unit: nested and dotted keys alike, durations, sizes, and which keys nobody asked for.

mod mistake;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::event::MOST_PARTS;
pub use mistake::{Mistake, Mistakes};

/// The settings of one unit or stream, or a part of them.
///
/// Whoever reads a key marks it as known; [`Config::unknown`] tells the rest, so that a typing error is seen.
#[derive(Debug)]
pub struct Config {
    prefix: String,
    map: Map<String, Value>,
    known: RefCell<BTreeSet<String>>,
    /// Mistakes that were found, if they are gathered; its sections have the same.
    found: Option<Rc<RefCell<Mistakes>>>,
}

impl Config {
    /// Takes a map whose keys may be dotted (`close.on_state_change.inactive`), nested, or both.
    #[must_use]
    pub fn new(map: &Map<String, Value>) -> Config {
        Config { prefix: String::new(), map: nested(map), known: RefCell::default(), found: None }
    }

    /// The same, but a setting that cannot be used is taken down, and its default read in its place: so whoever reads
    /// settings goes on, and finds what else is wrong. What was built of them counts only if [`Config::judge`] says so.
    #[must_use]
    pub fn gathering(map: &Map<String, Value>) -> Config {
        Config { found: Some(Rc::default()), ..Config::new(map) }
    }

    /// What was read, or if that cannot be used and mistakes are gathered, something in its place.
    ///
    /// # Errors
    /// It cannot be used, and mistakes are not gathered.
    pub fn or<T>(&self, instead: T, read: Result<T, Mistake>) -> Result<T, Mistake> {
        match (read, &self.found) {
            (Err(mistake), Some(found)) => {
                found.borrow_mut().add(mistake);
                Ok(instead)
            }
            (read, _) => read,
        }
    }

    /// The same of what others have read, who tell all mistakes.
    ///
    /// # Errors
    /// It cannot be used, and mistakes are not gathered.
    pub fn or_all<T>(&self, instead: T, read: Result<T, Mistakes>) -> Result<T, Mistakes> {
        match (read, &self.found) {
            (Err(mistakes), Some(found)) => {
                mistakes.into_iter().for_each(|mistake| found.borrow_mut().add(mistake));
                Ok(instead)
            }
            (read, _) => read,
        }
    }

    /// What was built, if there was no mistake on the way.
    ///
    /// # Errors
    /// All that were gathered, with the one that was the end of it.
    pub fn judge<T>(&self, built: Result<T, Mistake>) -> Result<T, Mistakes> {
        let mut all = self.found.as_ref().map(|found| found.take()).unwrap_or_default();
        match built {
            Ok(built) if all.is_empty() => Ok(built),
            Ok(_) => Err(all),
            Err(mistake) => {
                all.add(mistake);
                Err(all)
            }
        }
    }

    /// The whole name of a key.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// A mistake in this key.
    #[must_use]
    pub fn mistake(&self, key: &str, problem: impl Into<String>) -> Mistake {
        Mistake::new(self.name(key), problem)
    }

    /// The value at a dotted key; null counts as absent.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.known.borrow_mut().insert(key.to_owned());
        self.look(key)
    }

    fn look(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let mut value = self.map.get(parts.next()?)?;
        for part in parts {
            value = value.as_object()?.get(part)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// Whether the key is there at all, even as null: `file_identity: {native: ~}`.
    #[must_use]
    pub fn mentions(&self, key: &str) -> bool {
        self.known.borrow_mut().insert(key.to_owned());
        let mut parts = key.split('.');
        let Some(mut value) = parts.next().and_then(|first| self.map.get(first)) else { return false };
        for part in parts {
            match value.as_object().and_then(|map| map.get(part)) {
                Some(inner) => value = inner,
                None => return false,
            }
        }
        true
    }

    /// Marks keys as read by someone else.
    pub fn allow(&self, keys: &[&str]) {
        self.known.borrow_mut().extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// A text; numbers and truth values are written out.
    ///
    /// # Errors
    /// It is a list or a map.
    pub fn text(&self, key: &str) -> Result<Option<String>, Mistake> {
        let text = |value| scalar(value).ok_or_else(|| self.mistake(key, "must be a text"));
        self.or(None, self.value(key).map(text).transpose())
    }

    /// A truth value, or a text that says one.
    ///
    /// # Errors
    /// It is something else.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, Mistake> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => self.or(default, Err(self.mistake(key, "must be true or false"))),
        }
    }

    /// A whole number that is not negative, or a text that says one.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, Mistake> {
        let number = |value: &Value| match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match self.value(key) {
            None => Ok(default),
            Some(value) => {
                let wrong = || self.mistake(key, "must be a whole number, 0 or more");
                self.or(default, number(value).ok_or_else(wrong))
            }
        }
    }

    /// A number of things in memory.
    ///
    /// # Errors
    /// It is something else, or too large for this machine.
    pub fn count(&self, key: &str, default: usize) -> Result<usize, Mistake> {
        let count = usize::try_from(self.number(key, default as u64)?);
        self.or(default, count.map_err(|_| self.mistake(key, "is too large")))
    }

    /// A duration: `10s`, `1h30m`, `500ms`; a bare number means seconds.
    ///
    /// # Errors
    /// It is something else.
    pub fn duration(&self, key: &str, default: Duration) -> Result<Duration, Mistake> {
        Ok(self.maybe_duration(key)?.unwrap_or(default))
    }

    /// A duration that may be absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn maybe_duration(&self, key: &str) -> Result<Option<Duration>, Mistake> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let wrong = || self.mistake(key, "must be a duration, such as 10s or 1h30m");
        self.or(None, duration(&text).map(Some).ok_or_else(wrong))
    }

    /// A size in bytes: `10MiB`, `512KB`, or a bare number.
    ///
    /// # Errors
    /// It is something else.
    pub fn size(&self, key: &str, default: u64) -> Result<u64, Mistake> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        let wrong = || self.mistake(key, "must be a size, such as 10485760 or 10MiB");
        self.or(default, size(&text).ok_or_else(wrong))
    }

    /// A list of texts; one text is a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, Mistake> {
        let wrong = || self.mistake(key, "must be a list of texts");
        let texts = match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(|value| scalar(value).ok_or_else(wrong)).collect(),
            Some(value) => scalar(value).ok_or_else(wrong).map(|text| vec![text]),
        };
        self.or(Vec::new(), texts)
    }

    /// Regular expressions.
    ///
    /// # Errors
    /// One does not parse.
    pub fn patterns(&self, key: &str) -> Result<Vec<regex::Regex>, Mistake> {
        let texts = self.texts(key)?;
        let patterns = texts.iter().map(|text| pattern(text).map_err(|problem| self.mistake(key, problem)));
        self.or(Vec::new(), patterns.collect())
    }

    /// A regular expression that may be absent.
    ///
    /// # Errors
    /// It does not parse.
    pub fn maybe_pattern(&self, key: &str) -> Result<Option<regex::Regex>, Mistake> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        self.or(None, pattern(&text).map(Some).map_err(|problem| self.mistake(key, problem)))
    }

    /// A map, as settings of their own; absent: empty ones.
    ///
    /// # Errors
    /// It is no map.
    pub fn section(&self, key: &str) -> Result<Config, Mistake> {
        let at = |map| Config { prefix: self.name(key), found: self.found.clone(), ..Config::new(map) };
        let empty = Map::new();
        match self.value(key) {
            None => Ok(at(&empty)),
            Some(Value::Object(map)) => Ok(at(map)),
            Some(_) => self.or(at(&empty), Err(self.mistake(key, "must be a map"))),
        }
    }

    /// The map itself, keys nested.
    #[must_use]
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// The keys that nobody has asked for, whole names.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let known = self.known.borrow();
        let mut unknown = Vec::new();
        leaves("", &self.map, &mut |path, _| {
            let asked = known.iter().any(|key| {
                path == key || path.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.'))
            });
            if !asked {
                unknown.push(self.name(path));
            }
        });
        unknown
    }
}

/// Visits what is no map in a map of maps, with its dotted name; empty maps, too.
pub(crate) fn leaves(prefix: &str, map: &Map<String, Value>, visit: &mut dyn FnMut(&str, &Value)) {
    for (key, value) in map {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(&path, inner, visit),
            _ => visit(&path, value),
        }
    }
}

/// Dotted keys become maps; what is there twice is merged, the later one over the earlier.
#[must_use]
pub fn nested(map: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in map {
        let value = match value {
            Value::Object(inner) => Value::Object(nested(inner)),
            other => other.clone(),
        };
        let parts: Vec<&str> = key.splitn(MOST_PARTS, '.').collect();
        let (last, parts) = parts.split_last().unwrap_or((&"", &[]));
        let mut value = ((*last).to_owned(), value);
        for part in parts.iter().rev() {
            let mut outer = Map::new();
            outer.insert(value.0, value.1);
            value = ((*part).to_owned(), Value::Object(outer));
        }
        merge(&mut out, value.0, value.1);
    }
    out
}

/// Puts a value into a map; two maps become one.
pub fn merge(into: &mut Map<String, Value>, key: String, value: Value) {
    match (into.get_mut(&key), value) {
        (Some(Value::Object(there)), Value::Object(more)) => {
            for (key, value) in more {
                merge(there, key, value);
            }
        }
        (_, value) => {
            into.insert(key, value);
        }
    }
}

/// A regular expression; says what is wrong with it.
pub(crate) fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text)
        .size_limit(4 << 20)
        .build()
        .map_err(|error| format!("{text:?} is not a regular expression: {error}"))
}

/// A text, number or truth value as text.
#[must_use]
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// `1h30m`, `500ms`, `-1` is none; a bare number means seconds.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    Some(total)
}

/// `10MiB`, `512KB`, `1024`; units of a thousand are taken for units of 1024, as their readers have always done.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(value: &Value) -> Config {
        Config::new(value.as_object().unwrap())
    }

    #[test]
    fn dotted_and_nested_keys_are_the_same() {
        let config = config(&json!({"a.b": 1, "a": {"c.d": "2s"}, "file_identity": {"native": null}}));
        assert_eq!(config.number("a.b", 0).unwrap(), 1);
        assert_eq!(config.duration("a.c.d", Duration::ZERO).unwrap(), Duration::from_secs(2));
        assert!(config.mentions("file_identity.native"));
        assert!(!config.mentions("file_identity.path"));
        assert!(config.unknown().is_empty(), "{:?}", config.unknown());
    }

    #[test]
    fn what_nobody_asks_for_is_told() {
        let config = config(&json!({"close": {"eof": true, "inactive": "5m"}, "paht": ["x"]}));
        assert!(config.boolean("close.eof", false).unwrap());
        assert_eq!(config.unknown(), ["close.inactive", "paht"]);
    }

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("5 apples"), None);
        assert_eq!(size("10MiB"), Some(10 << 20));
        assert_eq!(size("10 kb"), Some(10 << 10));
        assert_eq!(size("ten"), None);
    }

    #[test]
    fn mistakes_are_gathered_up_to_a_bound() {
        let settings = json!({"a": {"n": "x", "t": []}, "b": "maybe", "d": "soon", "p": "(", "s": 5});
        let config = Config::gathering(settings.as_object().unwrap());
        let section = config.section("a").unwrap();
        assert_eq!(section.number("n", 7).unwrap(), 7);
        assert_eq!(section.text("t").unwrap(), None);
        assert!(config.boolean("b", true).unwrap());
        assert_eq!(config.maybe_duration("d").unwrap(), None);
        assert!(config.patterns("p").unwrap().is_empty());
        assert!(config.section("s").unwrap().map().is_empty());
        assert_eq!(config.or(1, Err(config.mistake("x", "is odd"))).unwrap(), 1);
        // Of one setting the first mistake is told.
        let mistakes = config.judge::<()>(Err(config.mistake("b", "is missing"))).unwrap_err();
        let fields: Vec<String> = mistakes.clone().into_iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, ["a.n", "a.t", "b", "d", "p", "s", "x"]);
        assert!(
            mistakes
                .to_string()
                .starts_with("a.n: must be a whole number, 0 or more; a.t: must be a text; b: must")
        );

        for number in 0..12 {
            config.or_all((), Err(config.mistake(&number.to_string(), "is wrong").into())).unwrap();
        }
        let text = config.judge(Ok(())).unwrap_err().to_string();
        assert!(text.ends_with("9: is wrong; and 2 more mistakes"), "{text}");
        assert_eq!(config.judge(Ok(1)), Ok(1), "they are told once");
    }

    #[test]
    fn a_mistake_names_the_whole_key() {
        let config = config(&json!({"ssl": {"enabled": "perhaps"}}));
        let ssl = config.section("ssl").unwrap();
        assert_eq!(
            ssl.boolean("enabled", true).unwrap_err().to_string(),
            "ssl.enabled: must be true or false"
        );
    }
}
