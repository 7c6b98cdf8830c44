//! What the keeper does for all beside what [`fleet_policy::keeper`] does itself.
//!
//! | module | what |
//! |---|---|
//! | `upgrades` | agents go to the versions that their policies require |
//! | `leavers` | agents that were unenrolled long ago are removed |
//! | `restarts` | collectors that were told to start again, and are not heard of any more |
//! | `rotation` | the signing key before is given up when every agent knows the new one |

mod leavers;
mod restarts;
mod rotation;
mod upgrades;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::signer::{SignerError, SigningKeys};
use fleet_protocol::agent::{ActionType, Signed};
use serde_json::{Value, json};

pub use leavers::Leavers;
pub use restarts::Restarts;
pub use rotation::{Left, Rotation};
pub use upgrades::Upgrades;

/// Agents check that some actions come from whoever made their policy. Who knows another key than the newest is given
/// another signature: see [`crate::signing`].
pub(crate) fn sign_action(
    keys: &SigningKeys,
    kind: ActionType,
    action_id: &str,
    data: Option<&Value>,
) -> Result<Signed, SignerError> {
    let text = json!({"action_id": action_id, "type": kind, "data": data}).to_string();
    let signature = keys.sign(text.as_bytes())?;
    Ok(Signed { data: STANDARD.encode(text), signature })
}

#[cfg(test)]
pub(crate) mod tests;
