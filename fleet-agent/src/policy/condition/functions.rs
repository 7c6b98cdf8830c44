//! The functions of conditions.

use regex::RegexBuilder;
use serde_json::{Number, Value};

use super::eval::{EvalError, arithmetic, kind, same};

/// A pattern that compiles to more than this is not used.
const LARGEST_PATTERN: usize = 256 * 1024;
/// A text that is longer than this is not made.
const LONGEST_TEXT: usize = 1024 * 1024;

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    match name {
        "add" => fold(name, "+", arguments),
        "subtract" => pair(name, arguments).and_then(|(left, right)| arithmetic("-", left, right)),
        "multiply" => fold(name, "*", arguments),
        "divide" => pair(name, arguments).and_then(|(left, right)| arithmetic("/", left, right)),
        "modulo" => pair(name, arguments).and_then(|(left, right)| arithmetic("%", left, right)),
        "length" => length(name, arguments),
        "hasKey" => has_key(name, arguments),
        "arrayContains" => array_contains(name, arguments),
        "contains" => match arguments.first() {
            Some(Value::Array(_)) => array_contains(name, arguments),
            Some(Value::Object(_)) => has_key(name, arguments),
            _ => any_text(name, arguments, |text, part| text.contains(part)),
        },
        "stringContains" => any_text(name, arguments, |text, part| text.contains(part)),
        "startsWith" => any_text(name, arguments, |text, part| text.starts_with(part)),
        "endsWith" => any_text(name, arguments, |text, part| text.ends_with(part)),
        "match" => matches(name, arguments),
        "indexOf" => index_of(name, arguments),
        "concat" => concat(arguments),
        "string" => one(name, arguments).map(|value| Value::String(text_of(value))),
        "number" => number(name, arguments),
        _ => Err(EvalError::Function(name.chars().take(40).collect())),
    }
}

fn wrong(name: &str, takes: &'static str, given: usize) -> EvalError {
    EvalError::Arguments { function: name.to_owned(), takes, given }
}

fn one<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a Value, EvalError> {
    match arguments {
        [one] => Ok(one),
        other => Err(wrong(name, "one value", other.len())),
    }
}

fn pair<'a>(name: &str, arguments: &'a [Value]) -> Result<(&'a Value, &'a Value), EvalError> {
    match arguments {
        [left, right] => Ok((left, right)),
        other => Err(wrong(name, "two values", other.len())),
    }
}

/// A first value, and at least one more.
fn several<'a>(name: &str, arguments: &'a [Value]) -> Result<(&'a Value, &'a [Value]), EvalError> {
    match arguments {
        [first, rest @ ..] if !rest.is_empty() => Ok((first, rest)),
        other => Err(wrong(name, "two values or more", other.len())),
    }
}

fn fold(name: &str, sign: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (first, rest) = several(name, arguments)?;
    rest.iter().try_fold(first.clone(), |sum, next| arithmetic(sign, &sum, next))
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, EvalError> {
    match value {
        Value::String(text) => Ok(text),
        // A variable that is not there is no text and holds nothing.
        Value::Null => Ok(""),
        other => Err(kind(name, "a text", other)),
    }
}

fn length(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let length = match one(name, arguments)? {
        Value::Null => 0,
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        other => return Err(kind(name, "a text, a list or a map", other)),
    };
    Ok(Value::from(length))
}

fn has_key(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (map, keys) = several(name, arguments)?;
    match map {
        Value::Null => Ok(false.into()),
        Value::Object(members) => {
            let keys: Result<Vec<&str>, _> = keys.iter().map(|key| text(name, key)).collect();
            Ok(keys?.iter().any(|key| members.contains_key(*key)).into())
        }
        other => Err(kind(name, "a map", other)),
    }
}

fn array_contains(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (list, wanted) = several(name, arguments)?;
    match list {
        Value::Null => Ok(false.into()),
        Value::Array(items) => Ok(wanted.iter().any(|one| items.iter().any(|item| same(item, one))).into()),
        other => Err(kind(name, "a list", other)),
    }
}

fn any_text(name: &str, arguments: &[Value], holds: impl Fn(&str, &str) -> bool) -> Result<Value, EvalError> {
    let (whole, parts) = several(name, arguments)?;
    if whole.is_null() {
        return Ok(false.into());
    }
    let whole = text(name, whole)?;
    let parts: Result<Vec<&str>, _> = parts.iter().map(|part| text(name, part)).collect();
    Ok(parts?.iter().any(|part| holds(whole, part)).into())
}

fn matches(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (whole, patterns) = several(name, arguments)?;
    let whole = text(name, whole)?;
    for pattern in patterns {
        let pattern = text(name, pattern)?;
        let regex = RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
        let regex = regex.map_err(|error| EvalError::Pattern {
            pattern: pattern.chars().take(80).collect(),
            problem: error.to_string(),
        })?;
        if regex.is_match(whole) {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn index_of(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (whole, part, from) = match arguments {
        [whole, part] => (whole, part, 0),
        [whole, part, from] => {
            let start = from.as_u64().and_then(|from| usize::try_from(from).ok());
            (whole, part, start.ok_or_else(|| kind(name, "a start of 0 or more", from))?)
        }
        other => return Err(wrong(name, "two or three values", other.len())),
    };
    let (whole, part) = (text(name, whole)?, text(name, part)?);
    let start = whole.char_indices().nth(from).map_or(whole.len(), |(at, _)| at);
    let found = whole[start..].find(part).map(|at| from + whole[start..start + at].chars().count());
    Ok(found.map_or(Value::from(-1), Value::from))
}

fn concat(arguments: &[Value]) -> Result<Value, EvalError> {
    let made: String = arguments.iter().map(text_of).collect();
    if made.len() > LONGEST_TEXT {
        return Err(EvalError::Number("concat".to_owned()));
    }
    Ok(Value::String(made))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number(name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let (value, base) = match arguments {
        [value] => (value, 10),
        [value, base] => {
            let base = base.as_u64().and_then(|base| u32::try_from(base).ok());
            (
                value,
                base.filter(|base| (2..=36).contains(base))
                    .ok_or_else(|| wrong(name, "a base from 2 to 36", 2))?,
            )
        }
        other => return Err(wrong(name, "one value, and a base", other.len())),
    };
    let given = text(name, value)?.trim();
    let digits = given.strip_prefix("0x").filter(|_| base == 16).unwrap_or(given);
    let whole = i64::from_str_radix(digits, base).ok().map(Number::from);
    let number = whole.or_else(|| Number::from_f64(digits.parse().ok().filter(|_| base == 10)?));
    number.map(Value::Number).ok_or_else(|| kind(name, "the text of a number", value))
}
