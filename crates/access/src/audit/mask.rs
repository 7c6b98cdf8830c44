//! What is secret is not kept in the trail.
//!
//! A value is hidden where its key speaks of a secret, at any depth; where its neighbour does
//! (`{"name": "Authorization", "value": …}`, `{"type": "password", "value": …}`); and where the text itself gives it
//! away: a private key, a password in a URL, a line such as `password: …` in YAML. Rather one value too many than
//! one too few: what is hidden can be looked up by those who may.

use serde_json::{Map, Value};

/// What stands for a secret.
pub const HIDDEN: &str = "***";
/// What stands for a secret that is another one than before.
pub const CHANGED: &str = "*** (changed)";

/// Parts of keys of secrets, in small letters and digits alone.
const WORDS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
    "accesskey",
    "encryptionkey",
    "signingkey",
    "sharedkey",
    "connectionstring",
];
/// Keys that hold such a part and are harmless.
const HARMLESS: [&str; 5] = ["apikeyid", "tokenid", "secretreferences", "tokenname", "enrollmentapikeyid"];

/// The value without secrets. `before` is what stood in its place: where a secret was another one, that is said.
#[must_use]
pub fn mask(value: &Value, before: Option<&Value>) -> Value {
    match value {
        Value::Object(members) => Value::Object(mask_object(members, before)),
        Value::Array(items) => {
            let masked = |(index, item)| mask(item, before.and_then(|before| before.get(index)));
            Value::Array(items.iter().enumerate().map(masked).collect())
        }
        Value::String(text) => Value::String(mask_text(text)),
        other => other.clone(),
    }
}

fn mask_object(members: &Map<String, Value>, before: Option<&Value>) -> Map<String, Value> {
    let is_pair = ["name", "key", "header", "type"]
        .iter()
        .any(|field| members.get(*field).and_then(Value::as_str).is_some_and(is_secret));
    let mask_member = |(key, value): (&String, &Value)| {
        let before = before.and_then(|before| before.get(key));
        let is_secret = is_secret(key) || (is_pair && key == "value");
        let masked = if is_secret { hide(value, before) } else { mask(value, before) };
        (key.clone(), masked)
    };
    members.iter().map(mask_member).collect()
}

/// Hides all of it. Whether something is there, and whether it is on or off, is no secret.
fn hide(value: &Value, before: Option<&Value>) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::String(text) if text.is_empty() => value.clone(),
        Value::Object(members) => {
            let hidden = |(key, value): (&String, &Value)| {
                (key.clone(), hide(value, before.and_then(|before| before.get(key))))
            };
            Value::Object(members.iter().map(hidden).collect())
        }
        Value::Array(items) => {
            let hidden = |(index, item)| hide(item, before.and_then(|before| before.get(index)));
            Value::Array(items.iter().enumerate().map(hidden).collect())
        }
        Value::String(_) | Value::Number(_) => {
            let is_changed = before.is_some_and(|before| before != value);
            Value::String(if is_changed { CHANGED } else { HIDDEN }.to_owned())
        }
    }
}

/// Whether a key speaks of a secret.
fn is_secret(key: &str) -> bool {
    let letters = key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    let plain: String = letters.take(256).collect();
    !HARMLESS.contains(&plain.as_str()) && WORDS.iter().any(|word| plain.contains(word))
}

fn mask_text(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return HIDDEN.to_owned();
    }
    if text.starts_with(['{', '['])
        && let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text)
    {
        return mask(&inner, None).to_string();
    }
    if !text.contains([':', '=', '@']) {
        return text.to_owned();
    }
    mask_urls(&mask_lines(text))
}

/// Hides what stands behind the key of a secret, to the end of its line, and the block below it.
fn mask_lines(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The indentation of a key whose value is the block below it.
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start().len();
        if let Some(outer) = block {
            if line.trim().is_empty() || indentation > outer {
                continue;
            }
            block = None;
        }
        match secret_part(line) {
            Some(start) => {
                let rest = line[start..].trim();
                if rest.is_empty() || rest.starts_with(['|', '>']) {
                    block = Some(indentation);
                }
                masked.push_str(&line[..start]);
                masked.push(' ');
                masked.push_str(HIDDEN);
                if line.ends_with('\n') {
                    masked.push('\n');
                }
            }
            None => masked.push_str(line),
        }
    }
    masked
}

/// Where the value of a secret begins in a line: behind the colon or equals sign of its key.
fn secret_part(line: &str) -> Option<usize> {
    let separators = line.char_indices().filter(|(_, letter)| matches!(letter, ':' | '='));
    separators.map(|(at, _)| at).find(|at| is_secret(last_word(&line[..*at]))).map(|at| at + 1)
}

/// The last word of a text, without quotes around it.
fn last_word(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t', '"', '\'']);
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    text.rfind(|letter| !is_part(letter)).map_or(text, |at| {
        let end = at + text[at..].chars().next().map_or(1, char::len_utf8);
        &text[end..]
    })
}

/// Hides passwords in URLs: `https://user:password@host`.
fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        masked.push_str(head);
        let end = tail.find(['/', '?', '#', ' ', '\n', '"', '\'', ',']).unwrap_or(tail.len());
        let (authority, tail) = tail.split_at(end);
        match authority.rsplit_once('@').and_then(|(who, host)| Some((who.split_once(':')?.0, host))) {
            Some((user, host)) => {
                masked.push_str(user);
                masked.push(':');
                masked.push_str(HIDDEN);
                masked.push('@');
                masked.push_str(host);
            }
            None => masked.push_str(authority),
        }
        rest = tail;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let masked = mask(
            &json!({
                "name": "main", "password": "hunter2", "is_default": true, "api_key": "a:b", "PIN": 4,
                "ssl": {"key": "-----BEGIN EC PRIVATE KEY-----\nx", "certificate": "-----BEGIN CERTIFICATE-----\nx"},
                "secrets": {"ssl": {"key": {"id": "hunter2"}}, "count": 7},
                "vars": {"client_secret": {"type": "text", "value": "hunter2"}, "paths": ["/var/log"]},
                "list": [{"Auth-Token": "hunter2"}, {"deep": [[{"passphrase": ["hunter2", null, false]}]]}],
                "headers": [{"name": "Authorization", "value": "Basic hunter2"}, {"name": "Accept", "value": "x"}],
                "field": {"type": "password", "value": "hunter2"},
                "api_key_id": "shown", "secret_references": [{"id": "shown"}], "token": "", "old_token": null,
            }),
            None,
        );
        let text = masked.to_string();
        assert!(!text.contains("hunter2") && !text.contains("PRIVATE"), "{text}");
        assert_eq!(masked["ssl"]["certificate"], "-----BEGIN CERTIFICATE-----\nx");
        assert_eq!(masked["secrets"]["count"], HIDDEN);
        assert_eq!(masked["vars"]["paths"], json!(["/var/log"]));
        assert_eq!(masked["headers"][1]["value"], "x");
        assert_eq!(masked["list"][1]["deep"][0][0]["passphrase"], json!([HIDDEN, null, false]));
        assert_eq!((&masked["api_key_id"], &masked["token"]), (&json!("shown"), &json!("")));
        assert_eq!((&masked["is_default"], &masked["PIN"]), (&json!(true), &json!(4)));
    }

    #[test]
    fn texts_that_hold_secrets_are_cleaned() {
        for (text, expected) in [
            ("https://ann:hunter2@host:9200/x?y", "https://ann:***@host:9200/x?y"),
            ("a https://h/1, redis://:hunter2@h b@c", "a https://h/1, redis://:***@h b@c"),
            ("https://host:9200/a@b", "https://host:9200/a@b"),
            ("hosts: [a]\npassword: hunter2\nport: 1\n", "hosts: [a]\npassword: ***\nport: 1\n"),
            ("a:\n  api_key: |\n    hunter2\n    hunter2\n  b: 1", "a:\n  api_key: ***\n  b: 1"),
            ("Authorization: Bearer hunter2", "Authorization: ***"),
            ("host=a password=hunter2", "host=a password= ***"),
            ("- {user: ann, 'client_secret': hunter2}", "- {user: ann, 'client_secret': ***"),
            (r#"{"a": 1, "password": "hunter2"}"#, r#"{"a":1,"password":"***"}"#),
            ("plain words, at 12:30", "plain words, at 12:30"),
        ] {
            assert_eq!(mask(&json!(text), None), json!(expected));
        }
    }

    #[test]
    fn another_secret_is_told_from_the_same_one() {
        let before = json!({"password": "a", "token": "x", "hosts": ["a"], "nested": [{"secret": 1}]});
        let after = json!({"password": "b", "token": "x", "api_key": "n", "nested": [{"secret": 2}]});
        let expected =
            json!({"password": CHANGED, "token": HIDDEN, "api_key": HIDDEN, "nested": [{"secret": CHANGED}]});
        assert_eq!(mask(&after, Some(&before)), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "[ -~\n:=@/\"'{é]{0,80}") {
            mask_text(&text);
            mask_urls(&text);
            mask_lines(&text);
        }

        #[test]
        fn a_password_in_yaml_is_never_left(
            indentation in "[ ]{0,4}", key in "(es_|Auth-)?(password|api_key|TOKEN|client\\.secret)",
            between in " ?[:=] ?['\"]?", lines in prop::collection::vec("[a-z]{1,8}: [a-z]{1,8}", 0..4),
        ) {
            let text = format!("{}\n{indentation}{key}{between}HUNTER2\n{}", lines.join("\n"), lines.join("\n"));
            let masked = mask_text(&text);
            prop_assert!(!masked.contains("HUNTER2"), "{masked}");
            prop_assert!(masked.ends_with(&lines.join("\n")));
        }
    }
}
