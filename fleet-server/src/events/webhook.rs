//! A webhook and how its delivery stands, as the store keeps them.

use std::collections::{BTreeMap, BTreeSet};

use fleet_access::seal::{Context, Keyring, OpenError, SealError, Sealed};
use fleet_policy::events::{EventId, EventKind, Filter};
use fleet_policy::timestamp::Timestamp;
use fleet_store::Collection;
use serde::{Deserialize, Serialize};

/// [`Webhook`] by its id.
pub static WEBHOOKS: Collection = Collection { name: "webhooks", indexed: &[] };
/// [`WebhookState`] by the webhook's id.
pub static WEBHOOK_STATES: Collection = Collection { name: "webhook-states", indexed: &[] };

/// Somebody who is told of events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// For people.
    pub name: String,
    /// Where they listen.
    pub url: String,
    /// What they are told of; nothing: everything.
    #[serde(default)]
    pub kinds: BTreeSet<EventKind>,
    /// The policies that it must be about; nothing: all.
    #[serde(default)]
    pub policy_ids: BTreeSet<String>,
    /// Whether they are told at all.
    pub enabled: bool,
    /// Authorities, as PEM, that are trusted instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The names of the headers in `sealed`, for people.
    #[serde(default)]
    pub headers: BTreeSet<String>,
    /// [`Sensitive`], encrypted.
    pub sealed: Sealed,
    /// They are told of what comes after this.
    pub since: EventId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What of a webhook nobody may read.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sensitive {
    /// What deliveries are signed with: `whsec_…`.
    pub secret: String,
    /// Headers that are sent along. Some hold keys, so all are treated so.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

impl std::fmt::Debug for Sensitive {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sensitive").finish_non_exhaustive()
    }
}

/// Why a webhook's secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SensitiveError {
    /// It cannot be encrypted.
    #[error("the secret of webhook {0} cannot be sealed")]
    Seal(String, #[source] SealError),
    /// It cannot be decrypted.
    #[error("the secret of webhook {0} cannot be opened")]
    Open(String, #[source] OpenError),
    /// What was opened is not what was sealed.
    #[error("the secret of webhook {0} cannot be read")]
    Text(String, #[source] serde_json::Error),
}

fn context(id: &str) -> Context<'_> {
    Context::new(WEBHOOKS.name, id, "sealed")
}

impl Sensitive {
    /// Encrypts it for the webhook with this id.
    ///
    /// # Errors
    /// See [`SensitiveError`].
    pub fn seal(&self, keyring: &Keyring, id: &str) -> Result<Sealed, SensitiveError> {
        let text = serde_json::to_vec(self).map_err(|error| SensitiveError::Text(id.to_owned(), error))?;
        keyring.seal(context(id), &text).map_err(|error| SensitiveError::Seal(id.to_owned(), error))
    }

    /// Opens that of the webhook with this id.
    ///
    /// # Errors
    /// See [`SensitiveError`].
    pub async fn open(keyring: &Keyring, id: &str, sealed: &Sealed) -> Result<Sensitive, SensitiveError> {
        let plain = keyring.unseal_fresh(context(id), sealed).await;
        let plain = plain.map_err(|error| SensitiveError::Open(id.to_owned(), error))?;
        serde_json::from_slice(&plain).map_err(|error| SensitiveError::Text(id.to_owned(), error))
    }
}

impl Webhook {
    /// The events that it is about.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter { kinds: self.kinds.clone(), policies: self.policy_ids.clone(), agent_id: None }
    }
}

/// How the delivery of a webhook stands. Written by the keeper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookState {
    /// Every event up to this one was delivered, was given up, or is not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<EventId>,
    /// How many were delivered.
    pub delivered: u64,
    /// How many were given up.
    pub given_up: u64,
    /// How often the next one has been tried.
    pub attempts: u32,
    /// When it was tried last, whatever came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// When something was delivered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Since when nothing is taken. Absent: all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
}
