//! One value against its variable.

use serde_json::Value;

use super::duration;
use crate::package::{VarType, Variable};
use crate::secrets::is_reference;
use crate::yaml;

/// The most that is said of one list.
const MOST_PROBLEMS: usize = 10;

/// What is wrong with a value.
pub(super) fn problems(var: &Variable, value: &Value) -> Vec<String> {
    if is_reference(value) {
        return Vec::new();
    }
    if is_empty(value, var) {
        return if var.required { vec![format!("{} is required", var.title)] } else { Vec::new() };
    }
    match (value, var.multi) {
        (Value::Array(items), true) => {
            let several = items.len() > 1;
            let told = |(index, item)| {
                one(var, item).map(|problem| if several { format!("[{index}]: {problem}") } else { problem })
            };
            items.iter().enumerate().filter_map(told).take(MOST_PROBLEMS).collect()
        }
        (_, true) => vec!["must be a list".to_owned()],
        (Value::Array(_), false) if var.kind != VarType::Yaml => {
            vec!["must be one value, not a list".to_owned()]
        }
        _ => one(var, value).into_iter().collect(),
    }
}

fn is_empty(value: &Value, var: &Variable) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => {
            items.is_empty() || (var.multi && items.iter().all(|item| is_empty(item, var)))
        }
        _ => false,
    }
}

/// A value of which agents know more than we do: `${env.PORT}`.
fn is_open(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("${"))
}

fn one(var: &Variable, value: &Value) -> Option<String> {
    if is_reference(value) || is_open(value) || value.is_null() {
        return None;
    }
    match var.kind {
        VarType::Bool => match value {
            Value::Bool(_) => None,
            Value::String(text) if matches!(text.as_str(), "true" | "false") => None,
            _ => Some("must be true or false".to_owned()),
        },
        VarType::Integer => {
            let is_integer = match value {
                Value::Number(number) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
                Value::String(text) => text.trim().parse::<i64>().is_ok(),
                _ => false,
            };
            (!is_integer).then(|| "must be a whole number".to_owned())
        }
        VarType::Yaml => match value {
            Value::String(text) => yaml::parse(text).err().map(|error| format!("must be YAML: {error}")),
            _ => None,
        },
        VarType::Select => select(var, value),
        VarType::Email => scalar(value).or_else(|| email(value)),
        VarType::Url => scalar(value).or_else(|| url(var, value)),
        VarType::Duration => scalar(value).or_else(|| span(var, value)),
        VarType::Text | VarType::Textarea | VarType::Password => match value {
            // Pages that offer the known datasets send an object.
            Value::Object(map) if map.contains_key("dataset") => None,
            _ => scalar(value),
        },
    }
}

fn scalar(value: &Value) -> Option<String> {
    let is_scalar = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    (!is_scalar).then(|| "must be a text".to_owned())
}

fn told(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn select(var: &Variable, value: &Value) -> Option<String> {
    let chosen = told(value);
    if var.options.is_empty() || var.options.iter().any(|option| option.value == chosen) {
        return None;
    }
    let options: Vec<&str> = var.options.iter().map(|option| option.value.as_str()).collect();
    Some(format!("must be one of {}", options.join(", ")))
}

fn email(value: &Value) -> Option<String> {
    let text = told(value);
    let fits = text.split_once('@').is_some_and(|(who, place)| !who.is_empty() && !place.is_empty());
    (!fits || text.contains(char::is_whitespace))
        .then(|| "must be an address like name@example.org".to_owned())
}

fn url(var: &Variable, value: &Value) -> Option<String> {
    let schemes = &var.url_allowed_schemes;
    let text = told(value);
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        _ if schemes.is_empty() => None,
        Some(scheme) if schemes.iter().any(|allowed| allowed.eq_ignore_ascii_case(scheme)) => None,
        _ => Some(format!("must be an address that begins with {}", schemes.join(":// or ") + "://")),
    }
}

fn span(var: &Variable, value: &Value) -> Option<String> {
    let Some(span) = duration::parse(&told(value)) else {
        return Some("must be a span of time like 30s, 5m or 1h30m".to_owned());
    };
    let bound = |text: &Option<String>| {
        text.as_deref().and_then(|text| Some((duration::parse(text)?, text.to_owned())))
    };
    if let Some((_, text)) = bound(&var.min_duration).filter(|(least, _)| span < *least) {
        return Some(format!("must be at least {text}"));
    }
    bound(&var.max_duration)
        .filter(|(most, _)| span > *most)
        .map(|(_, text)| format!("must be at most {text}"))
}
