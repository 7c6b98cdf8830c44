//! What every backend refuses before it asks its engine, so that all refuse the same.

use serde::de::IgnoredAny;

use crate::contract::{Action, Collection, LEASE_COLLECTION, ListRequest, MAX_BODY, MAX_ID, Scope, Write};
use crate::error::{Error, ErrorKind};

/// How deep a document may nest: less than any JSON reader on the way gives up at.
const MAX_DEPTH: usize = 100;

/// Refuses a collection whose name a backend keeps for itself, or with fields that would need quoting.
pub(crate) fn collection(collection: &Collection) -> Result<(), Error> {
    let is_plain = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if let Some(bad) =
        std::iter::once(&collection.name).chain(collection.indexed).find(|name| !is_plain(name))
    {
        return Err(invalid(format!(
            "name {bad:?} of collection {}: use letters, digits, - and _",
            collection.name
        )));
    }
    if collection.name == LEASE_COLLECTION {
        return Err(invalid(format!("collection name {:?} is reserved", collection.name)));
    }
    Ok(())
}

/// Refuses an id that is empty, too long, or holds a NUL.
pub(crate) fn id(collection: &Collection, id: &str) -> Result<(), Error> {
    self::collection(collection)?;
    if id.is_empty() || id.len() > MAX_ID {
        let name = collection.name;
        return Err(invalid(format!("id in {name} has {} bytes: 1 to {MAX_ID} are allowed", id.len())));
    }
    if id.contains('\0') {
        return Err(invalid(format!("id {id:?} in {} contains a NUL", collection.name)));
    }
    Ok(())
}

/// Refuses a scope that no document can be in.
pub(crate) fn scope(collection: &Collection, scope: &Scope) -> Result<(), Error> {
    match scope {
        Scope::All => self::collection(collection),
        // A prefix may be empty: it is then the same as `All`.
        Scope::Prefix(prefix) if prefix.is_empty() => self::collection(collection),
        Scope::Prefix(text) | Scope::Id(text) => id(collection, text),
    }
}

/// Refuses a list that filters on what is not indexed, or asks for pages of nothing.
pub(crate) fn list(collection: &Collection, request: &ListRequest) -> Result<(), Error> {
    scope(collection, &request.scope)?;
    if let Some((field, _)) = request.filter.iter().find(|(field, _)| !collection.indexed.contains(field)) {
        return Err(invalid(format!("field {field:?} of {} is not indexed", collection.name)));
    }
    if request.limit == Some(0) {
        return Err(invalid(format!("list of {} with a limit of 0", collection.name)));
    }
    Ok(())
}

/// Refuses a write with a bad id, or a body that is too big or no JSON object.
pub(crate) fn write(collection: &Collection, write: &Write) -> Result<(), Error> {
    id(collection, &write.id)?;
    let Action::Put { body, .. } = &write.action else { return Ok(()) };
    let object = || format!("{}/{}", collection.name, write.id);
    if body.len() > MAX_BODY {
        return Err(invalid(format!("{} has {} bytes: at most {MAX_BODY} fit", object(), body.len())));
    }
    let no_json = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::caused_by(ErrorKind::Invalid, format!("{} is no JSON object", object()), source)
    };
    let text = std::str::from_utf8(body).map_err(|error| no_json(error.into()))?;
    if !text.trim_start().starts_with('{') {
        return Err(invalid(format!("{} is no JSON object", object())));
    }
    if depth(body) > MAX_DEPTH {
        return Err(invalid(format!("{} nests deeper than {MAX_DEPTH} levels", object())));
    }
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| no_json(error.into()))
}

/// How deep objects and arrays of a JSON text lie in each other.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest): (usize, usize) = (0, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_only_structure() {
        assert_eq!(depth(br#"{"a":[{"b":"[[[\"{{{"}]}"#), 3);
        assert_eq!(depth(br#"{}"#), 1);
        assert_eq!(depth(br#"{"a":[],"b":[]}"#), 2);
    }
}
