//! A webhook as it is sent and shown. What `GET` shows, `PUT` takes.

use std::collections::{BTreeMap, BTreeSet};

use fleet_access::seal::Sealed;
use fleet_policy::events::{EventId, EventKind, Events, Filter};
use fleet_policy::timestamp::Timestamp;
use fleet_service::config::value::Secret;
use fleet_service::tls::{Pem, client};
use fleet_store::Error;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::post::target;
use crate::events::signature::{SigningKey, make_secret};
use crate::events::webhook::{Sensitive, Webhook, WebhookState};
use crate::management::error::ApiError;
use crate::management::fields::{bad, check_name};

/// Bounds in bytes, or in number.
const MAX_NAME: usize = 256;
const MAX_URL: usize = 2048;
const MAX_POLICIES: usize = 1000;
const MAX_HEADERS: usize = 20;
const MAX_VALUE: usize = 4096;
const MAX_CA: usize = 64 * 1024;
/// Events that wait are counted up to this number.
const COUNTED: usize = 10_000;
/// Events that are looked at for that, at a time.
const READ: usize = 500;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookBody {
    #[schemars(length(min = 1, max = 256))]
    name: String,
    /// `https://` or `http://`, without a user name.
    #[schemars(
        length(max = 2048),
        regex(pattern = r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,4})?(/[!-~]*)?$")
    )]
    url: String,
    /// What is told; nothing: everything.
    #[serde(default)]
    kinds: BTreeSet<EventKind>,
    /// The agent policies that it must be about; nothing: all.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    policy_ids: BTreeSet<String>,
    #[serde(default = "yes")]
    enabled: bool,
    /// `whsec_` and base64. Absent: one is made, or stays as it is.
    #[serde(default)]
    #[schemars(regex(pattern = r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$"))]
    secret: Option<String>,
    /// Headers that are sent along. A value of `null` stays as it is.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// Authorities, as PEM, that are trusted instead of those of the system.
    #[serde(default)]
    ca: Option<String>,
    /// Not looked at.
    #[serde(default, rename = "id")]
    _id: Option<Value>,
    /// Not looked at.
    #[serde(default, rename = "created_at")]
    _created_at: Option<Value>,
    /// Not looked at.
    #[serde(default, rename = "updated_at")]
    _updated_at: Option<Value>,
    /// Not looked at.
    #[serde(default, rename = "delivery")]
    _delivery: Option<Value>,
}

fn yes() -> bool {
    true
}

impl WebhookBody {
    /// Its secret and headers; `known`: those that it has.
    pub(super) fn sensitive(&self, known: Option<&Sensitive>) -> Result<Sensitive, ApiError> {
        let secret = match (&self.secret, known) {
            (Some(secret), _) => {
                SigningKey::parse(secret).map_err(|error| bad("secret", error))?;
                secret.clone()
            }
            (None, Some(known)) => known.secret.clone(),
            (None, None) => make_secret().map_err(|error| ApiError::Internal(Box::new(error)))?,
        };
        if self.headers.len() > MAX_HEADERS {
            return Err(bad("headers", format_args!("more than {MAX_HEADERS}")));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in &self.headers {
            let field = || format!("headers.{}", name.chars().take(64).collect::<String>());
            let parsed = name.parse::<HeaderName>().map_err(|_| bad(&field(), "not the name of a header"))?;
            if is_ours(parsed.as_str()) {
                return Err(bad(&field(), "this header is set by the server: leave it out"));
            }
            let value = match value {
                Some(value) => value.clone(),
                None => known
                    .and_then(|known| known.headers.get(parsed.as_str()))
                    .cloned()
                    .ok_or_else(|| bad(&field(), "there is no value that could stay: send one"))?,
            };
            if value.len() > MAX_VALUE || value.parse::<HeaderValue>().is_err() {
                return Err(bad(&field(), format_args!("not a header's value of at most {MAX_VALUE} bytes")));
            }
            headers.insert(parsed.as_str().to_owned(), value);
        }
        Ok(Sensitive { secret, headers })
    }

    /// What is kept.
    pub(super) fn webhook(
        self,
        sensitive: &Sensitive,
        sealed: Sealed,
        since: EventId,
        created_at: Timestamp,
        updated_at: Timestamp,
    ) -> Result<Webhook, ApiError> {
        check_name("name", &self.name)?;
        if self.url.len() > MAX_URL {
            return Err(bad("url", format_args!("longer than {MAX_URL} bytes")));
        }
        target(&self.url).map_err(|error| bad("url", format_args!("{error}, and without a user name")))?;
        if self.policy_ids.len() > MAX_POLICIES || self.policy_ids.iter().any(|id| id.len() > MAX_NAME) {
            return Err(bad(
                "policy_ids",
                format_args!("at most {MAX_POLICIES} ids of at most {MAX_NAME} bytes"),
            ));
        }
        if let Some(ca) = &self.ca {
            if ca.len() > MAX_CA {
                return Err(bad("ca", format_args!("longer than {MAX_CA} bytes")));
            }
            client::trusting(&[Pem::Inline(Secret::new(ca.as_str()))]).map_err(|error| bad("ca", error))?;
        }
        Ok(Webhook {
            name: self.name,
            url: self.url,
            kinds: self.kinds,
            policy_ids: self.policy_ids,
            enabled: self.enabled,
            ca: self.ca,
            headers: sensitive.headers.keys().cloned().collect(),
            sealed,
            since,
            created_at,
            updated_at,
        })
    }
}

/// Headers that say what a request is, and that it comes from here.
fn is_ours(name: &str) -> bool {
    let fixed = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
    ];
    fixed.contains(&name) || name.starts_with("webhook-")
}

/// A webhook as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    id: String,
    name: String,
    url: String,
    kinds: BTreeSet<EventKind>,
    policy_ids: BTreeSet<String>,
    enabled: bool,
    /// The names of headers; their values are not shown.
    headers: BTreeMap<String, Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[schemars(with = "String")]
    created_at: Timestamp,
    #[schemars(with = "String")]
    updated_at: Timestamp,
    delivery: Delivery,
}

/// How the delivery stands.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Delivery {
    /// Events that wait, up to 10 000.
    pending: usize,
    delivered: u64,
    /// Events that nobody took in time, or that the receiver refused.
    given_up: u64,
    /// How often the next event has been tried.
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    last_attempt: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    last_success: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    failing_since: Option<Timestamp>,
}

impl Delivery {
    pub(super) fn new(state: WebhookState, pending: usize) -> Delivery {
        Delivery {
            pending,
            delivered: state.delivered,
            given_up: state.given_up,
            attempts: state.attempts,
            last_attempt: state.last_attempt,
            last_success: state.last_success,
            last_error: state.last_error,
            failing_since: state.failing_since,
        }
    }
}

impl Shown {
    pub(super) fn new(id: &str, webhook: &Webhook, delivery: Delivery) -> Shown {
        Shown {
            id: id.to_owned(),
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            kinds: webhook.kinds.clone(),
            policy_ids: webhook.policy_ids.clone(),
            enabled: webhook.enabled,
            headers: webhook.headers.iter().map(|name| (name.clone(), None)).collect(),
            ca: webhook.ca.clone(),
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
            delivery,
        }
    }
}

/// How many events wait, up to [`COUNTED`].
pub(super) async fn pending(log: &Events, cursor: EventId, filter: &Filter) -> Result<usize, Error> {
    let mut after = cursor;
    let (mut count, mut scanned) = (0, 0);
    while scanned < COUNTED {
        let found = log.after(after, READ).await?;
        let Some(reached) = found.reached else { break };
        count += found.events.iter().filter(|event| filter.holds(event)).count();
        scanned += READ;
        after = reached;
    }
    Ok(count)
}
