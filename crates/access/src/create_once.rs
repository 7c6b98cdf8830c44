//! Making what all servers of a store share, once: whoever is first makes it, the others take it.

use fleet_store::{Error as StoreError, Expect, Typed, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often it is looked again. A second look finds what made the first write fail, unless documents come
/// and go, or the store loses answers, faster than that.
const ATTEMPTS: usize = 8;

/// Why there is no shared document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError<E> {
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// It could not be made.
    #[error("it could not be made")]
    Make(E),
    /// It was there and gone again at every look.
    #[error("it comes and goes")]
    Contended,
}

/// The document `id`, made by `make` if there is none.
///
/// Servers may race: only one write is done, and the others read what that one wrote.
pub(crate) async fn create_once<T, E>(
    documents: &Typed<T>,
    id: &str,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<T, CreateError<E>>
where
    T: Serialize + DeserializeOwned,
{
    if let Some(found) = documents.get(id).await.map_err(CreateError::Store)? {
        return Ok(found.value);
    }
    let made = make().map_err(CreateError::Make)?;
    for _ in 0..ATTEMPTS {
        match documents.put(id, &made, Expect::Absent, None, None).await {
            Ok(_) => return Ok(made),
            Err(WriteError::NotDone(error)) => return Err(CreateError::Store(error)),
            // Another was first, or the answer was lost: what is there now decides.
            Err(WriteError::Conflict { .. } | WriteError::Unknown(_) | WriteError::LeaseLost) => {}
        }
        if let Some(found) = documents.get(id).await.map_err(CreateError::Store)? {
            return Ok(found.value);
        }
    }
    Err(CreateError::Contended)
}
