//! The secrets that policies refer to, encrypted in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fleet_access::seal::{Context, Keyring, Sealed};
use fleet_policy::policies;
use fleet_store::{Collection, Error, ErrorKind, Expect, Store, Typed, WriteError};
use serde::{Deserialize, Serialize};
use tracing::error;

/// `Secret` by its id.
pub static SECRETS: Collection = Collection { name: "secrets", indexed: &[] };

/// A secret at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Secret {
    value: Sealed,
}

/// The secrets of policies.
#[derive(Clone, Debug)]
pub struct PolicySecrets {
    secrets: Typed<Secret>,
    keyring: Keyring,
}

impl PolicySecrets {
    /// Those in `store`, sealed by `keyring`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>, keyring: Keyring) -> PolicySecrets {
        PolicySecrets { secrets: Typed::new(Arc::clone(store), &SECRETS), keyring }
    }

    /// Keeps a secret under a new id.
    pub async fn create(&self, value: &str) -> Result<String, WriteError> {
        let id = uuid::Uuid::new_v4().to_string();
        let sealed = self.keyring.seal(context(&id), value.as_bytes()).map_err(|error| {
            WriteError::NotDone(Error::caused_by(ErrorKind::Invalid, "seal a secret", error))
        })?;
        self.secrets.put(&id, &Secret { value: sealed }, Expect::Absent, None, None).await?;
        Ok(id)
    }

    /// Forgets a secret that nothing refers to any more.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn remove(&self, id: &str) -> Result<(), WriteError> {
        self.secrets.delete(id, Expect::Any, None).await.map(|_| ())
    }
}

fn context(id: &str) -> Context<'_> {
    Context::new(SECRETS.name, id, "value")
}

#[async_trait]
impl policies::Secrets for PolicySecrets {
    async fn open(&self, ids: &[String]) -> Result<BTreeMap<String, String>, Error> {
        let mut opened = BTreeMap::new();
        for found in self.secrets.get_many(ids).await?.into_iter().flatten() {
            match self.keyring.unseal_fresh(context(&found.id), &found.value.value).await {
                Ok(plain) => {
                    opened.insert(found.id.clone(), String::from_utf8_lossy(&plain).into_owned());
                }
                Err(error) => {
                    error!(
                        secret = found.id,
                        error = &error as &dyn std::error::Error,
                        "a secret cannot be opened"
                    );
                }
            }
        }
        Ok(opened)
    }
}
