//! Whether something was signed by whom the policy names: ECDSA with P-256 and SHA-256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Map, Value};

use crate::fleet::{Action, Signed};

/// A `SubjectPublicKeyInfo` of P-256 up to the 65 bytes of the uncompressed point (RFC 5480, 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why something is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is none.
    #[error("agent.protection.signing_key is not a public key of P-256 in base64")]
    Key,
    /// It is not signed at all.
    #[error("it is not signed, although the policy has a signing key")]
    Unsigned,
    /// What is signed, or the signature, is not base64.
    #[error("its signature is not base64")]
    Encoding,
    /// The signature is wrong.
    #[error("its signature is not by the policy's signing key")]
    Wrong,
    /// What is signed is not what came with it.
    #[error("what is signed is about something else: {0}")]
    Other(String),
}

/// The signed bytes, if they are signed by that key.
///
/// # Errors
/// They are not.
pub fn verify(key: &str, signed: &Signed) -> Result<Vec<u8>, SignatureError> {
    verify_by(key, signed, &signed.signature)
}

fn verify_by(key: &str, signed: &Signed, signature: &str) -> Result<Vec<u8>, SignatureError> {
    let spki = STANDARD.decode(key).map_err(|_| SignatureError::Key)?;
    let point = spki.strip_prefix(&SPKI_PREFIX).ok_or(SignatureError::Key)?;
    let data = STANDARD.decode(&signed.data).map_err(|_| SignatureError::Encoding)?;
    let signature = STANDARD.decode(signature).map_err(|_| SignatureError::Encoding)?;
    let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&data, &signature);
    verified.map_err(|_| SignatureError::Wrong)?;
    Ok(data)
}

/// The signing key of a policy; `None`: it has none.
#[must_use]
pub(super) fn signing_key(policy: &Map<String, Value>) -> Option<&str> {
    let key = policy.get("agent")?.get("protection")?.get("signing_key")?.as_str()?;
    (!key.is_empty()).then_some(key)
}

/// Verifies a policy that has a signing key, and that what is signed of it is what it says. Returns the signed part;
/// `None`: it has no key.
///
/// # Errors
/// It cannot be believed.
pub fn verify_policy(policy: &Map<String, Value>) -> Result<Option<Value>, SignatureError> {
    let Some(key) = signing_key(policy) else { return Ok(None) };
    let signed = policy.get("signed").ok_or(SignatureError::Unsigned)?;
    let signed: Signed = serde_json::from_value(signed.clone()).map_err(|_| SignatureError::Encoding)?;
    let data = verify(key, &signed)?;
    let data: Value =
        serde_json::from_slice(&data).map_err(|_| SignatureError::Other("it is not JSON".to_owned()))?;
    let same = |path: &str, given: Option<&Value>| match (data.pointer(path), given) {
        (Some(signed), Some(given)) if signed == given => Ok(()),
        (None | Some(Value::Null), None | Some(Value::Null)) => Ok(()),
        _ => Err(SignatureError::Other(path.trim_start_matches('/').replace('/', "."))),
    };
    same("/id", policy.get("id"))?;
    same("/agent/protection", policy.get("agent").and_then(|agent| agent.get("protection")))?;
    Ok(Some(data))
}

/// Verifies that a policy may take the place of one that was protected with the signing key `before`: it has the same
/// key, or is signed by it. A policy with a key that was changed is signed by the new one, and by the one before too.
///
/// # Errors
/// It may not: whoever can hand out policies could lift the protection otherwise.
pub fn verify_successor(before: &str, policy: &Map<String, Value>) -> Result<(), SignatureError> {
    if signing_key(policy) == Some(before) {
        return Ok(());
    }
    let signed = policy.get("signed").ok_or(SignatureError::Unsigned)?;
    let signed: Signed = serde_json::from_value(signed.clone()).map_err(|_| SignatureError::Encoding)?;
    let data = match &signed.previous_signature {
        Some(previous) => verify_by(before, &signed, previous).or_else(|_| verify(before, &signed)),
        None => verify(before, &signed),
    };
    let data: Value =
        serde_json::from_slice(&data?).map_err(|_| SignatureError::Other("it is not JSON".to_owned()))?;
    if data.get("id") != policy.get("id") {
        return Err(SignatureError::Other("id".to_owned()));
    }
    let protection = policy.get("agent").and_then(|agent| agent.get("protection"));
    if data.pointer("/agent/protection") != protection {
        return Err(SignatureError::Other("agent.protection".to_owned()));
    }
    Ok(())
}

/// Verifies an action that must be signed when the policy has a signing key.
///
/// # Errors
/// It cannot be believed.
pub fn verify_action(key: Option<&str>, action: &Action) -> Result<(), SignatureError> {
    let Some(key) = key else { return Ok(()) };
    let signed = action.signed.as_ref().ok_or(SignatureError::Unsigned)?;
    let data = verify(key, signed)?;
    let data: Value =
        serde_json::from_slice(&data).map_err(|_| SignatureError::Other("it is not JSON".to_owned()))?;
    // What is signed names the action by either key. All of it must be there: the signature of something else that
    // lacks it, such as that of a policy, would otherwise do for any action.
    let id = data.get("action_id").or_else(|| data.get("id")).and_then(Value::as_str);
    if id != Some(action.id.as_str()) {
        return Err(SignatureError::Other("action_id".to_owned()));
    }
    if data.get("type").and_then(Value::as_str) != Some(action.kind.as_str()) {
        return Err(SignatureError::Other("type".to_owned()));
    }
    let is_empty = |data: &Value| data.is_null() || data.as_object().is_some_and(Map::is_empty);
    let told = data.get("data").unwrap_or(&Value::Null);
    if *told != action.data && !(is_empty(told) && is_empty(&action.data)) {
        return Err(SignatureError::Other("data".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    fn signer() -> (EcdsaKeyPair, String) {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let public = STANDARD.encode([&SPKI_PREFIX, key.public_key().as_ref()].concat());
        (key, public)
    }

    fn sign(key: &EcdsaKeyPair, data: &Value) -> Value {
        let text = data.to_string();
        let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        json!({"data": STANDARD.encode(&text), "signature": STANDARD.encode(signature)})
    }

    #[test]
    fn a_policy_must_be_signed_by_its_key_and_say_what_was_signed() {
        let (key, public) = signer();
        let protection = json!({"enabled": true, "uninstall_token_hash": "h", "signing_key": public});
        let signed = sign(&key, &json!({"id": "p", "agent": {"protection": protection}}));
        let policy = json!({"id": "p", "agent": {"protection": protection}, "signed": signed});
        let verdict = |policy: Value| verify_policy(policy.as_object().unwrap()).map(|data| data.is_some());
        assert_eq!(verdict(policy.clone()), Ok(true));
        assert_eq!(verdict(json!({"id": "p"})), Ok(false));
        let mut changed = policy.clone();
        changed["agent"]["protection"]["enabled"] = false.into();
        assert_eq!(verdict(changed), Err(SignatureError::Other("agent.protection".to_owned())));
        let mut unsigned = policy.clone();
        unsigned.as_object_mut().unwrap().remove("signed");
        assert_eq!(verdict(unsigned), Err(SignatureError::Unsigned));
        let mut other = policy;
        other["signed"] = sign(&signer().0, &json!({"id": "p"}));
        assert_eq!(verdict(other), Err(SignatureError::Wrong));
    }

    #[test]
    fn an_action_must_be_the_one_that_was_signed() {
        let (key, public) = signer();
        let mut action: Action =
            serde_json::from_value(json!({"id": "1", "type": "UNENROLL", "data": {"a": 1}})).unwrap();
        assert_eq!(verify_action(None, &action), Ok(()));
        assert_eq!(verify_action(Some(&public), &action), Err(SignatureError::Unsigned));
        let signed = sign(&key, &json!({"action_id": "1", "type": "UNENROLL", "data": {"a": 1}}));
        action.signed = serde_json::from_value(signed).unwrap();
        assert_eq!(verify_action(Some(&public), &action), Ok(()));
        action.kind = "UPGRADE".to_owned();
        assert_eq!(verify_action(Some(&public), &action), Err(SignatureError::Other("type".to_owned())));
        action.kind = "UNENROLL".to_owned();
        action.data = json!({"a": 2});
        assert_eq!(verify_action(Some(&public), &action), Err(SignatureError::Other("data".to_owned())));
        // What was signed for a policy does for no action, even for one of the policy's id.
        let policy = sign(&key, &json!({"id": "1", "agent": {}, "inputs": []}));
        action.signed = serde_json::from_value(policy).unwrap();
        assert_eq!(verify_action(Some(&public), &action), Err(SignatureError::Other("type".to_owned())));
    }

    #[test]
    fn protection_is_lifted_by_whoever_set_it_alone() {
        let (key, public) = signer();
        let (other, others) = signer();
        let verdict = |policy: Value| verify_successor(&public, policy.as_object().unwrap());
        assert_eq!(verdict(json!({"id": "p"})), Err(SignatureError::Unsigned));
        let same = json!({"id": "p", "agent": {"protection": {"enabled": false, "signing_key": public}}});
        assert_eq!(verdict(same), Ok(()));
        let protection = json!({"enabled": true, "signing_key": others});
        let about = json!({"id": "p", "agent": {"protection": protection}});
        let mut policy = about.clone();
        policy["signed"] = sign(&other, &about);
        assert_eq!(verdict(policy.clone()), Err(SignatureError::Wrong));
        policy["signed"] = sign(&key, &about);
        assert_eq!(verdict(policy.clone()), Ok(()));
        policy["agent"]["protection"]["enabled"] = false.into();
        assert_eq!(verdict(policy), Err(SignatureError::Other("agent.protection".to_owned())));
    }

    #[test]
    fn a_key_that_is_changed_is_believed_by_both_signatures() {
        let (key, public) = signer();
        let (other, others) = signer();
        let about = json!({"id": "p", "agent": {"protection": {"enabled": true, "signing_key": others}}});
        let mut policy = about.clone();
        policy["signed"] = sign(&other, &about);
        let by_another = sign(&signer().0, &about)["signature"].clone();
        policy["signed"]["previous_signature"] = by_another;
        let verdict = |policy: &Value| verify_successor(&public, policy.as_object().unwrap());
        assert_eq!(verdict(&policy), Err(SignatureError::Wrong));
        policy["signed"]["previous_signature"] = sign(&key, &about)["signature"].clone();
        assert_eq!(verdict(&policy), Ok(()));
        // The signature of something else does not do.
        policy["signed"]["previous_signature"] = sign(&key, &json!({"id": "p"}))["signature"].clone();
        assert_eq!(verdict(&policy), Err(SignatureError::Wrong));
        // Whoever enrols now knows the new key alone.
        assert!(verify_policy(policy.as_object().unwrap()).is_ok());
    }
}
