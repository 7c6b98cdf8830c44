//! What every backend refuses before it asks its engine, so that all refuse the same.

use serde::de::IgnoredAny;

use crate::contract::{Action, Collection, LEASE_COLLECTION, ListRequest, MAX_BODY, MAX_ID, Scope, Write};
use crate::error::{Error, ErrorKind};

/// Refuses a collection whose name a backend keeps for itself.
pub(crate) fn collection(collection: &Collection) -> Result<(), Error> {
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
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(invalid(format!("{} is no JSON object", object())));
    }
    serde_json::from_slice::<IgnoredAny>(body).map(drop).map_err(|error| {
        Error::caused_by(ErrorKind::Invalid, format!("{} is no JSON object", object()), error)
    })
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
