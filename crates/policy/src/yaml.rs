//! YAML, read into JSON.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Values nested deeper are not read.
const DEEPEST: usize = 64;
/// The most values of a text.
const MOST_VALUES: usize = 50_000;

/// A list or a map whose end has not come yet.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// Reads one document of YAML, of which JSON is a part.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut values = 0;
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let value = match event {
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Value::Array(items),
                Some(Open::Map(members, _)) => Value::Object(members),
                None => continue,
            },
            // A few lines of them can stand for more than there is memory.
            Event::Alias(_) => return Err("it has an alias".to_owned()),
            Event::DocumentStart(_) if root.is_some() => return Err("it has two documents".to_owned()),
            _ => continue,
        };
        values += 1;
        if values > MOST_VALUES || open.len() > DEEPEST {
            return Err(format!("it has more than {MOST_VALUES} values, or more than {DEEPEST} levels"));
        }
        match open.last_mut() {
            None => root = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(members, key)) => match key.take() {
                Some(key) => drop(members.insert(key, value)),
                None => *key = Some(key_text(value)?),
            },
        }
    }
    Ok(root.unwrap_or(Value::Null))
}

fn key_text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err("a key is a list or a map".to_owned()),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        // Numbers and truths are written as in JSON; anything else is a word.
        _ => match serde_json::from_str(text) {
            Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
            _ => text.into(),
        },
    }
}
