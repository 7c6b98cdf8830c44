//! From YAML to JSON values.
//!
//! Anchors, aliases and `<<` work; scalars mean what the core schema of YAML 1.2 says. Everything has a bound, so
//! that a file from elsewhere can fill neither memory nor stack.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// The largest text that is read, in bytes.
pub(crate) const LARGEST: usize = 10 * 1024 * 1024;
/// The deepest nesting. The deepest real policies have a dozen levels.
const DEEPEST: usize = 64;
/// The most values of a text. Aliases count as what they stand for.
const MOST_VALUES: usize = 500_000;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// Where its content begins.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A text that is not YAML, or not of the kind that is read here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {text}")]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl YamlError {
    fn new(line: usize, text: impl Into<String>) -> YamlError {
        YamlError { line, text: text.into() }
    }
}

/// Every document of a text; empty ones are left out.
pub(crate) fn read_documents(text: &str) -> Result<Vec<Document>, YamlError> {
    if text.len() > LARGEST {
        return Err(YamlError::new(1, format!("the text is larger than {LARGEST} bytes")));
    }
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = event.map_err(|error| {
            YamlError::new(error.marker().line(), format!("this is not YAML: {}", error.info()))
        })?;
        reader.event(event, span.start.line())?;
    }
    Ok(reader.documents)
}

/// The only document of a text; nothing if there is none.
pub(crate) fn read_one(text: &str) -> Result<Value, YamlError> {
    let mut documents = read_documents(text)?;
    match documents.get(1) {
        Some(second) => Err(YamlError::new(second.line, "a second document begins here: only one is read")),
        None => Ok(documents.pop().map_or(Value::Null, |document| document.value)),
    }
}

/// A list or a map whose end has not come yet.
enum Open {
    List { line: usize, anchor: usize, items: Vec<Value> },
    Map { line: usize, anchor: usize, entries: Map<String, Value>, key: Option<String>, merged: Vec<Value> },
}

#[derive(Default)]
struct Reader {
    documents: Vec<Document>,
    open: Vec<Open>,
    /// By the parser's number: the value, and how many values it holds.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let in_key_place = matches!(self.open.last(), Some(Open::Map { key: None, .. }));
                let value = if in_key_place {
                    Value::String(text.into_owned())
                } else {
                    scalar(&text, style, tag.as_deref()).map_err(|text| YamlError::new(line, text))?
                };
                self.value(value, line, anchor, 1)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((value, count)) => self.value(value, line, 0, count),
                None => Err(YamlError::new(line, "an alias stands inside the value that it is for")),
            },
            Event::SequenceStart(anchor, _) => {
                self.descend(line, Open::List { line, anchor, items: Vec::new() })
            }
            Event::MappingStart(anchor, _) => {
                let (entries, merged) = (Map::new(), Vec::new());
                self.descend(line, Open::Map { line, anchor, entries, key: None, merged })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentEnd => {
                // Anchors are of one document (YAML 1.2, 3.2.2.2).
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn descend(&mut self, line: usize, open: Open) -> Result<(), YamlError> {
        if self.open.len() >= DEEPEST {
            return Err(YamlError::new(line, format!("values are nested deeper than {DEEPEST} levels")));
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(YamlError::new(line, "a key must be a word, not a list or a map"));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), YamlError> {
        match self.open.pop() {
            Some(Open::List { line, anchor, items }) => self.value(Value::Array(items), line, anchor, 1),
            Some(Open::Map { line, anchor, mut entries, merged, .. }) => {
                // What is merged in by `<<` gives way to what stands beside it.
                for value in merged {
                    let Value::Object(map) = value else {
                        return Err(YamlError::new(line, "<< takes a map, or a list of maps"));
                    };
                    for (key, value) in map {
                        entries.entry(key).or_insert(value);
                    }
                }
                self.value(Value::Object(entries), line, anchor, 1)
            }
            None => Ok(()),
        }
    }

    /// Takes a complete value: as a key, an item, an entry's value, or a whole document.
    fn value(&mut self, value: Value, line: usize, anchor: usize, count: usize) -> Result<(), YamlError> {
        self.values += count;
        if self.values > MOST_VALUES {
            return Err(YamlError::new(line, format!("there are more than {MOST_VALUES} values")));
        }
        if anchor > 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.open.last_mut() {
            None if value.is_null() => {}
            None => self.documents.push(Document { line, value }),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { key: key @ None, .. }) => match value {
                Value::String(text) => *key = Some(text),
                _ => return Err(YamlError::new(line, "a key must be a word")),
            },
            Some(Open::Map { key, entries, merged, .. }) => {
                let Some(key) = key.take() else { return Ok(()) };
                if key == "<<" {
                    match value {
                        Value::Array(items) => merged.extend(items),
                        _ => merged.push(value),
                    }
                } else if entries.contains_key(&key) {
                    return Err(YamlError::new(line, format!("{key:?} is given twice")));
                } else {
                    entries.insert(key, value);
                }
            }
        }
        Ok(())
    }
}

/// What a scalar means (YAML 1.2, 10.3.2).
pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Ok(Value::String(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text)? {
            Some(number) => Value::Number(number),
            None => Value::String(text.to_owned()),
        },
    })
}

fn number(text: &str) -> Result<Option<Number>, String> {
    let cannot = || format!("the number {text} cannot be kept as it is: put it in quotes");
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).map(|n| Some(n.into())).map_err(|_| cannot());
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole = text.strip_prefix('+').unwrap_or(text);
        let number =
            whole.parse::<u64>().map(Number::from).or_else(|_| whole.parse::<i64>().map(Number::from));
        return number.map(Some).map_err(|_| cannot());
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(cannot());
    }
    if !is_float(unsigned) {
        return Ok(None);
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.map(Some).ok_or_else(cannot)
}

/// `(\. [0-9]+ | [0-9]+ (\. [0-9]*)?) ([eE] [-+]? [0-9]+)?`
fn is_float(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(digits)
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
