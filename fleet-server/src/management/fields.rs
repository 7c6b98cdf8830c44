//! Fields that many bodies have: ids, names, revisions.

use serde_json::{Map, Value};

use super::error::ApiError;

/// The longest id in bytes. Other documents have ids that are made of it.
const LONGEST_ID: usize = 255;
/// The longest name in bytes.
const LONGEST_NAME: usize = 256;
/// What stands in paths where ids stand: who is called so could not be asked for.
pub(super) const RESERVED: [&str; 6] =
    ["_bulk_get", "delete", "dryrun", "fleet_server_policy_status", "outputs", "upgrade"];

/// What is wrong with a field of a request.
pub(super) fn bad(field: &str, text: impl std::fmt::Display) -> ApiError {
    let dot = if field.is_empty() { "" } else { "." };
    ApiError::BadRequest(format!("[request body{dot}{field}]: {text}"))
}

/// A name that another object has.
pub(super) fn bad_name(what: &str, name: &str) -> ApiError {
    ApiError::Conflict(format!("[request body.name]: {what} has the name {name:?} already"))
}

/// The id that a request gives, or a new one. An empty text gives none: clients send it for an id that they do not know
/// yet.
///
/// # Errors
/// It is not one that can stand in a path.
pub(super) fn new_id(body: &Map<String, Value>) -> Result<String, ApiError> {
    match body.get("id") {
        None | Some(Value::Null) => Ok(uuid::Uuid::new_v4().to_string()),
        Some(Value::String(id)) if id.is_empty() => Ok(uuid::Uuid::new_v4().to_string()),
        Some(Value::String(id)) if RESERVED.contains(&id.as_str()) => {
            Err(bad("id", format!("{id} is a word of the API: choose another one")))
        }
        Some(Value::String(id)) if is_id(id) => Ok(id.clone()),
        Some(_) => {
            Err(bad("id", format!("up to {LONGEST_ID} letters, digits, - _ . are needed, no dot first")))
        }
    }
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_short = !id.is_empty() && id.len() <= LONGEST_ID;
    is_short && id.bytes().all(allowed) && !id.starts_with('.') && !id.contains("..")
}

/// A name that people can read, and tell apart from nothing.
///
/// # Errors
/// The field, and what is wrong with it.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() {
        return Err(bad(field, format!("1 to {LONGEST_NAME} bytes are needed")));
    }
    check_text(field, name)
}

/// A text on one line, which may be empty.
///
/// # Errors
/// The field, and what is wrong with it.
pub(super) fn check_text(field: &str, text: &str) -> Result<(), ApiError> {
    if text.len() > LONGEST_NAME {
        return Err(bad(field, format!("1 to {LONGEST_NAME} bytes are needed")));
    }
    match text.chars().find(|character| is_deceptive(*character)) {
        None => Ok(()),
        Some(character) => Err(bad(
            field,
            format!("the character U+{:04X} cannot be seen: leave it out", u32::from(character)),
        )),
    }
}

/// What cannot be seen, and what lets people see something else than is there: control characters, ends of lines,
/// and what turns the direction of the text around it (Unicode Standard Annex 9).
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The revision that was edited, if the request says that.
///
/// # Errors
/// It is no number: then it would be as if nothing was said.
pub(super) fn revision(body: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    match body.get("revision") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(revision) => Ok(Some(revision)),
            None => Err(bad("revision", format!("{} is not the number of a revision", shown(value)))),
        },
    }
}

/// Whether the request says that it is meant.
///
/// # Errors
/// It says neither `true` nor `false`.
pub(super) fn force(body: &Map<String, Value>) -> Result<bool, ApiError> {
    match body.get("force") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(force)) => Ok(*force),
        Some(value) => Err(bad("force", format!("{} is neither true nor false", shown(value)))),
    }
}

/// The beginning of a value, for people.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    #[test]
    fn ids_are_parts_of_paths() {
        for id in ["a-b_c.1", "7", "-x", &"a".repeat(255)] {
            assert_eq!(new_id(&map(json!({"id": id}))).unwrap(), id);
        }
        for id in ["a/b", "a..b", "..", ".", "ä", "a b", "a\u{0}", "_bulk_get", "delete", &"a".repeat(256)] {
            assert!(new_id(&map(json!({"id": id}))).is_err(), "{id:?}");
        }
        assert!(new_id(&map(json!({"id": 1}))).is_err());
        assert_ne!(new_id(&map(json!({}))).unwrap(), new_id(&map(json!({"id": null}))).unwrap());
        assert_ne!(new_id(&map(json!({"id": ""}))).unwrap(), "");
    }

    #[test]
    fn names_are_what_people_see() {
        for name in ["Web", "日本語", "Ünïcode 🦀", "עברית"] {
            assert!(check_name("name", name).is_ok(), "{name}");
        }
        for name in ["", " ", "a\u{0}b", "a\nb", "\u{1b}[31m", "a\u{202E}b", "a\u{2066}b", "a\u{2028}b"] {
            assert!(check_name("name", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_revision_is_not_as_if_there_was_none() {
        assert_eq!(revision(&map(json!({"revision": 3}))).unwrap(), Some(3));
        assert_eq!(revision(&map(json!({"revision": null}))).unwrap(), None);
        for wrong in [json!("3"), json!(-1), json!(1.5), json!([]), json!(true)] {
            assert!(revision(&map(json!({"revision": wrong}))).is_err());
            assert!(force(&map(json!({"force": 1}))).is_err());
        }
        assert!(force(&map(json!({"force": true}))).unwrap());
    }
}
