//! Signing for an agent with the key that it knows.
//!
//! An agent knows the signing key of the policy that it runs. While the key is being changed some agents know the new
//! one and some the one before, and an action may have been signed before the change: it is signed again for whoever
//! knows another key than the one that it was signed with.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::signer::SignerError;
use fleet_policy::actions::Due;
use fleet_policy::agents::Snapshot;
use fleet_protocol::agent::Signed;
use tracing::warn;

use crate::fleet::Fleet;

/// Actions, by their places, as they are signed for one agent.
pub(crate) type SignedAgain = BTreeMap<u64, Signed>;

/// The public key that an agent knows; `None`: it runs no policy, or one that is gone.
pub(crate) fn known_key(fleet: &Fleet, agent: &Snapshot) -> Option<Arc<str>> {
    let revision = agent.state.policy_revision_idx;
    let policy = agent.state.agent_policy_id.as_deref().filter(|_| revision > 0)?;
    fleet.policies.head(policy)?.signing_key_of(revision).map(Arc::from)
}

/// The signature of `data` for an agent.
pub(crate) fn sign_for(fleet: &Fleet, agent_id: &str, data: &[u8]) -> Result<String, SignerError> {
    let keys = fleet.signer.keys();
    match fleet.agents.get(agent_id).and_then(|agent| known_key(fleet, &agent)) {
        Some(known) => keys.sign_for(&known, data),
        None => keys.sign(data),
    }
}

/// Those of `due` that this server's keys have signed, and that the agent could not verify as they are.
pub(crate) async fn sign_again(fleet: &Fleet, agent_id: &str, due: &[Due]) -> SignedAgain {
    let mut again = SignedAgain::new();
    let agent = fleet.agents.get(agent_id);
    let Some(known) = agent.and_then(|agent| known_key(fleet, &agent)) else { return again };
    let mut keys = fleet.signer.keys();
    if keys.rotations() == 0 && keys.has(&known) {
        return again;
    }
    if !keys.has(&known) {
        // Another server may have changed it.
        match fleet.signer.refresh().await {
            Ok(newest) => keys = newest,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "actions are handed out as they were signed");
                return again;
            }
        }
    }
    let wanted = if keys.has(&known) { &*known } else { keys.public_key() };
    for Due { action, .. } in due {
        let Some(signed) = &action.action.signed else { continue };
        let Ok(data) = STANDARD.decode(&signed.data) else { continue };
        // What somebody else signed stays as it is.
        if keys.signed_by(&data, &signed.signature).is_none_or(|key| key == wanted) {
            continue;
        }
        match keys.sign_for(wanted, &data) {
            Ok(signature) => {
                again.insert(action.seq_no, Signed { data: signed.data.clone(), signature });
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(action = action.action.action_id, error, "an action is handed out as it was signed");
            }
        }
    }
    again
}
