//! `/api/fleet/message_signing_service`: the key that signs what agents must be able to trust.

use axum::Json;
use axum::extract::State;
use fleet_access::rights::Right;
use fleet_access::signer::{SignerError, SigningKeys};
use fleet_policy::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Management;
use super::caller::Caller;
use super::catalogue::Item;
use super::error::ApiError;
use super::input::Params;
use super::routes::{Routes, get, post};
use crate::fleet::Fleet;
use crate::upkeep::Left;

/// What the audit trail calls it.
const KIND: &str = "signing-key";
/// The one there is.
const OBJECT: &str = "current";

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    use Right::{ReadSettings, WriteSettings};
    routes
        .add(
            get("/api/fleet/message_signing_service", ReadSettings, "Shows the key that signs for agents")
                .answers::<Item<Shown>>(),
            show,
        )
        .add(
            post(
                "/api/fleet/message_signing_service/rotate_key_pair",
                WriteSettings,
                "Changes the key that signs for agents",
            )
            .query::<Rotate>()
            .answers::<Rotated>(),
            rotate,
        )
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Rotate {
    /// Has to be `true`.
    acknowledge: bool,
    /// Although some agents do not have the key of the last change yet: those that are protected must be installed
    /// again.
    force: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Rotated {
    message: String,
    item: Shown,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    /// Base64 of its SubjectPublicKeyInfo: `agent.protection.signing_key` of policies.
    public_key: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
    /// How often it was changed.
    rotations: u64,
    /// The key before, while there are agents that know no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Previous {
    public_key: String,
    #[schemars(with = "Option<String>")]
    created_at: Option<Timestamp>,
    /// How many agents do not have the new key yet.
    agents_left: u64,
    /// How many policies have not been shipped with the new key yet.
    policies_left: u64,
}

impl Shown {
    fn of(fleet: &Fleet, keys: &SigningKeys) -> Shown {
        let previous = keys.previous_public_key().map(|public_key| {
            let left = Left::of(fleet, keys);
            Previous {
                public_key: public_key.to_owned(),
                created_at: keys.previous_created_at(),
                agents_left: left.agents,
                policies_left: left.policies,
            }
        });
        Shown {
            public_key: keys.public_key().to_owned(),
            created_at: keys.created_at(),
            rotations: keys.rotations(),
            previous,
        }
    }
}

async fn show(State(management): State<Management>) -> Result<Json<Item<Shown>>, ApiError> {
    let keys = management.fleet.signer.refresh().await.map_err(failed)?;
    Ok(Json(Item { item: Shown::of(&management.fleet, &keys) }))
}

async fn rotate(
    State(management): State<Management>,
    caller: Caller,
    Params(asked): Params<Rotate>,
) -> Result<Json<Rotated>, ApiError> {
    if !asked.acknowledge {
        let text = "[request query.acknowledge]: say acknowledge=true: agents that do not hear of the new key before it \
                    is changed once more must be installed again if they are protected";
        return Err(ApiError::BadRequest(text.to_owned()));
    }
    let fleet = &management.fleet;
    let (before, after) = fleet.signer.rotate(asked.force, fleet.clock.now()).await.map_err(failed)?;
    let told = |keys: &SigningKeys| -> Value {
        json!({"public_key": keys.public_key(), "previous": keys.previous_public_key()})
    };
    caller.changed(KIND, OBJECT, Some(told(&before)), Some(told(&after)));
    management.deployer.redeploy(caller.name(), |_| true).await?;
    let message =
        "The signing key is changed. The one before stays until all agents have the new one.".to_owned();
    Ok(Json(Rotated { message, item: Shown::of(fleet, &after) }))
}

fn failed(error: SignerError) -> ApiError {
    match error {
        SignerError::Store(error) => error.into(),
        SignerError::Write(error) => error.into(),
        SignerError::Contended => ApiError::Conflict(error.to_string()),
        SignerError::Unfinished(_) => ApiError::Conflict(format!(
            "{error}: wait until GET /api/fleet/message_signing_service shows no previous key, unenrol the agents that are \
             gone, or say force=true"
        )),
        other => ApiError::Internal(Box::new(other)),
    }
}
