//! From JSON values to YAML in block style. Keys are sorted, texts of several lines are blocks.

use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::read::scalar as meaning;

/// The value as a YAML 1.2 document.
pub(crate) fn to_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0, false);
    text
}

/// Writes `value` at `depth`; `inline` says that something (`- ` or `key:`) already stands on the line.
fn write_value(text: &mut String, value: &Value, depth: usize, inline: bool) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !inline {
                    indent(text, depth);
                }
                text.push_str("- ");
                write_value(text, item, depth + 1, true);
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 || !inline {
                    indent(text, depth);
                }
                text.push_str(&one_line(name));
                text.push(':');
                if is_block(field) {
                    text.push('\n');
                    write_value(text, field, depth + 1, false);
                } else {
                    text.push(' ');
                    write_value(text, field, depth + 1, true);
                }
            }
        }
        Value::Array(_) => text.push_str("[]\n"),
        Value::Object(_) => text.push_str("{}\n"),
        Value::String(string) if is_literal(string) => write_literal(text, string, depth),
        Value::String(string) => {
            text.push_str(&one_line(string));
            text.push('\n');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            text.push_str(&value.to_string());
            text.push('\n');
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a text can stand as a block of lines: nothing that a reader could take away or see as layout.
fn is_literal(string: &str) -> bool {
    let content = string.trim_end_matches('\n');
    content.contains('\n')
        && !content.starts_with([' ', '\n'])
        && content.chars().all(|c| c == '\n' || is_plain_character(c))
        // A line of blanks alone would be an empty one to some readers.
        && content.lines().all(|line| line.is_empty() || !line.trim().is_empty())
}

/// Printable (YAML 1.2, 5.1), and neither a tab nor anything that some reader takes for a line's end.
fn is_plain_character(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn write_literal(text: &mut String, string: &str, depth: usize) {
    let content = string.trim_end_matches('\n');
    let ends = string.len() - content.len();
    text.push_str(match ends {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    // At the top there is no key to be further in than.
    let depth = depth.max(1);
    for line in content.split('\n') {
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
        text.push('\n');
    }
    text.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

/// A string as a plain scalar where no reader of YAML can take it for something else, else in double quotes.
fn one_line(string: &str) -> String {
    let plain = string.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "._-/@:+,()=*$ ".contains(c))
        && !string.ends_with([' ', ':'])
        && !string.contains(": ")
        && !is_reserved(string)
        && matches!(meaning(string, ScalarStyle::Plain, None), Ok(Value::String(_)));
    if plain { string.to_owned() } else { quoted(string) }
}

fn quoted(string: &str) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if is_plain_character(c) => text.push(c),
            c if u32::from(c) > 0xffff => text.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => text.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    text.push('"');
    text
}

/// Words that YAML 1.1 reads as a truth value, or that look like nothing or a number to somebody.
fn is_reserved(string: &str) -> bool {
    const WORDS: [&str; 12] =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "infinity"];
    WORDS.contains(&string.to_ascii_lowercase().as_str())
}
