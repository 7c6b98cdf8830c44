//! Bodies from files and from `--set FIELD=VALUE`.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::context::Failure;
use crate::error::io_words;
use crate::yaml::read_one;

/// The largest file with a body, in bytes.
const LARGEST: u64 = 10 * 1024 * 1024;

/// A line of the command that makes no sense.
fn wrong(text: &str) -> Failure {
    Failure { message: format!("Error: {text}"), code: 2 }
}

/// The text of a file; `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("Cannot read {}: {}", path.display(), io_words(&error)));
    let mut text = String::new();
    let count = if path == Path::new("-") {
        std::io::stdin().take(LARGEST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    if count.map_err(failed)? as u64 > LARGEST {
        return Err(Failure::new(format!(
            "Cannot read {}: it is larger than {LARGEST} bytes",
            path.display()
        )));
    }
    Ok(text)
}

/// The fields that a file holds, in YAML or JSON.
pub(crate) fn read_fields(path: &Path) -> Result<Map<String, Value>, Failure> {
    fields_of(&read_text(path)?).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
}

/// The fields of a text in YAML or JSON.
pub(crate) fn fields_of(text: &str) -> Result<Map<String, Value>, String> {
    match read_one(text).map_err(|error| error.to_string())? {
        Value::Object(fields) => Ok(fields),
        Value::Null => Ok(Map::new()),
        _ => Err("fields and their values are needed (name: Web)".to_owned()),
    }
}

/// Sets the fields that `--set` names. A dot goes into a field; a value is YAML.
pub(crate) fn set_fields(fields: &mut Map<String, Value>, settings: &[String]) -> Result<(), Failure> {
    for setting in settings {
        let (path, text) = setting
            .split_once('=')
            .ok_or_else(|| wrong(&format!("--set {setting}: FIELD=VALUE is needed")))?;
        let value = read_one(text).map_err(|error| wrong(&format!("--set {path}: {}", error.text)))?;
        set_field(fields, path, value).map_err(|why| wrong(&format!("--set {path}: {why}")))?;
    }
    Ok(())
}

fn set_field(fields: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    if path.split('.').any(str::is_empty) {
        return Err("a name of a field is missing".to_owned());
    }
    let mut place = fields;
    let mut rest = path;
    while let Some((field, inner)) = rest.split_once('.') {
        // Names of fields may have dots themselves (streams are named `system.auth`).
        if let Some(known) = longest_known(place, rest) {
            rest = rest.get(known.len()..).unwrap_or_default().trim_start_matches('.');
            if rest.is_empty() {
                place.insert(known, value);
                return Ok(());
            }
            place = inside(place, &known)?;
            continue;
        }
        place = inside(place, field)?;
        rest = inner;
    }
    place.insert(rest.to_owned(), value);
    Ok(())
}

/// The longest field that is there already and that `path` begins with.
fn longest_known(fields: &Map<String, Value>, path: &str) -> Option<String> {
    let begins = |field: &&String| {
        path.strip_prefix(field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    fields.keys().filter(begins).max_by_key(|field| field.len()).cloned()
}

fn inside<'a>(fields: &'a mut Map<String, Value>, field: &str) -> Result<&'a mut Map<String, Value>, String> {
    let value = fields.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or_else(|| format!("{field} has no fields"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(before: &Value, settings: &[&str]) -> Result<Value, String> {
        let mut fields = before.as_object().unwrap().clone();
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        set_fields(&mut fields, &settings).map_err(|failure| failure.message)?;
        Ok(Value::Object(fields))
    }

    #[test]
    fn values_are_yaml_and_dots_go_into_fields() {
        let before = json!({"inputs": {"system-logfile": {"streams": {"system.auth": {"enabled": true}}}}});
        let settings = [
            "name=Web: servers",
            "timeout=30",
            "hosts=[a, b]",
            "ssl.verify=false",
            "empty=",
            "inputs.system-logfile.streams.system.auth.enabled=false",
        ];
        // A colon makes a map in YAML, as everywhere.
        assert_eq!(
            set(&before, &settings).unwrap(),
            json!({"name": {"Web": "servers"}, "timeout": 30, "hosts": ["a", "b"], "ssl": {"verify": false},
                "empty": null,
                "inputs": {"system-logfile": {"streams": {"system.auth": {"enabled": false}}}}})
        );
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        for (setting, words) in [
            ("name", "--set name: FIELD=VALUE is needed"),
            ("a..b=1", "a name of a field is missing"),
            ("list.x=1", "list has no fields"),
            ("a=[", "--set a: this is not YAML"),
        ] {
            let error = set(&json!({"list": []}), &[setting]).unwrap_err();
            assert!(error.contains(words), "{setting}: {error}");
        }
    }
}
