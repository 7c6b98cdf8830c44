//! JSON values as YAML in block style: the few forms that the client's lists need.

use serde_json::Value;

/// The value as a YAML 1.2 document.
pub(crate) fn to_yaml(value: &Value) -> String {
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
                text.push_str(&scalar(name));
                text.push(':');
                if is_block(field) {
                    text.push('\n');
                    write_value(text, field, depth + 1, false);
                } else {
                    text.push(' ');
                    write_value(text, field, depth, true);
                }
            }
        }
        Value::Array(_) => text.push_str("[]\n"),
        Value::Object(_) => text.push_str("{}\n"),
        Value::String(string) => {
            text.push_str(&scalar(string));
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

/// A string as a plain scalar where no reader of YAML can take it for something else, else quoted as JSON,
/// which YAML reads too.
fn scalar(string: &str) -> String {
    let plain = string.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "._-/@\\".contains(c))
        && !is_reserved(string);
    if plain { string.to_owned() } else { Value::String(string.to_owned()).to_string() }
}

/// Words that YAML 1.1 or 1.2 reads as a truth value, nothing, or a number.
fn is_reserved(string: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    WORDS.contains(&string.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_are_blocks() {
        let value = json!([
            {"name": "a.service", "options": [{"name": "ExecStart", "value": "/bin/sh -c 'x'"}], "states": []},
            {"name": "b.service", "metadata": {"az": "1", "region": "eu-west"}},
        ]);
        insta::assert_snapshot!(to_yaml(&value), @r#"
        - name: a.service
          options:
            - name: ExecStart
              value: "/bin/sh -c 'x'"
          states: []
        - metadata:
            az: "1"
            region: eu-west
          name: b.service
        "#);
    }

    #[test]
    fn what_a_reader_could_mistake_is_quoted() {
        for string in ["", "true", "No", "12", "1e3", "- a", "a: b", "#x", "a\nb", "é", "~", "0x1f"] {
            assert!(scalar(string).starts_with('"'), "{string:?}");
        }
        assert_eq!(scalar("113f16a7d2c44b3d"), "\"113f16a7d2c44b3d\"");
        assert_eq!(scalar("hello@1.service"), "hello@1.service");
    }

    #[test]
    fn empty_lists_are_still_documents() {
        assert_eq!(to_yaml(&json!([])), "[]\n");
    }
}
