//! JSON told as YAML.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::yaml;

/// What an input and its streams are for.
pub(super) struct Titles {
    pub(super) input: String,
    pub(super) streams: Vec<String>,
}

/// `{"inputs": [...]}` with a comment before each input and stream.
pub(super) fn inputs(document: &Value, titles: &[Titles]) -> String {
    let mut out = String::from("inputs:\n");
    let none = Vec::new();
    let inputs = document.get("inputs").and_then(Value::as_array).unwrap_or(&none);
    for (input, titles) in inputs.iter().zip(titles) {
        let _ = writeln!(out, "  # {}", titles.input);
        let Some(input) = input.as_object() else { continue };
        let mut rest = input.clone();
        let streams = rest.remove("streams");
        out.push_str("  - ");
        map(&rest, 4, true, &mut out);
        let Some(Value::Array(streams)) = streams else { continue };
        out.push_str("    streams:\n");
        for (stream, title) in streams.iter().zip(&titles.streams) {
            let _ = writeln!(out, "      # {title}");
            out.push_str("      - ");
            value(stream, 8, true, &mut out);
        }
    }
    out
}

/// Tells a value, whose first line begins where the output ends, with its line end.
fn value(told: &Value, indentation: usize, is_item: bool, out: &mut String) {
    match told {
        Value::Object(entries) if !entries.is_empty() => map(entries, indentation, is_item, out),
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !is_item {
                    out.push_str(&" ".repeat(indentation));
                }
                out.push_str("- ");
                value(item, indentation + 2, true, out);
            }
        }
        _ => {
            out.push_str(&scalar(told));
            out.push('\n');
        }
    }
}

fn map(entries: &Map<String, Value>, indentation: usize, is_item: bool, out: &mut String) {
    // What it is called comes first.
    let first = ["id", "type"].iter().filter_map(|key| entries.get_key_value(*key));
    let rest = entries.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "type"));
    for (index, (key, told)) in first.chain(rest).enumerate() {
        if index > 0 || !is_item {
            out.push_str(&" ".repeat(indentation));
        }
        out.push_str(&text(key));
        out.push(':');
        let is_block = match told {
            Value::Object(map) => !map.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        out.push(if is_block { '\n' } else { ' ' });
        value(told, indentation + 2, false, out);
    }
}

fn scalar(told: &Value) -> String {
    match told {
        Value::String(told) => text(told),
        other => other.to_string(),
    }
}

/// Plain where YAML reads it as this text, in quotes elsewhere.
fn text(told: &str) -> String {
    let is_plain = told.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./*<>$%+ ".contains(&byte))
        && told.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '/' || letter == '<')
        && !told.ends_with(' ')
        && yaml::parse_json(told) == Ok(Value::String(told.to_owned()));
    if is_plain { told.to_owned() } else { Value::String(told.to_owned()).to_string() }
}
