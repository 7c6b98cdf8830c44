//! What agents get, composed of what people edit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::documents::{AgentPolicy, DeployedPolicy};

/// Signs for agents.
pub trait Sign {
    /// Base64 of the public key, as agents are told it.
    fn public_key(&self) -> &str;
    /// Base64 of a signature; `None`: none can be made now.
    fn sign(&self, data: &[u8]) -> Option<String>;
}

/// Why nothing was composed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy cannot be signed")]
pub struct NotSigned;

/// The revision of `policy` as it is deployed.
///
/// # Errors
/// It cannot be signed.
pub fn compose(policy: &AgentPolicy, signer: &dyn Sign) -> Result<DeployedPolicy, NotSigned> {
    let monitored = |kind: &str| policy.monitoring_enabled.iter().any(|enabled| enabled == kind);
    let features: Map<String, Value> = policy
        .agent_features
        .iter()
        .map(|feature| (feature.name.clone(), json!({"enabled": feature.enabled})))
        .collect();
    let mut data = json!({
        "id": policy.id,
        "revision": policy.revision,
        "outputs": {"default": {"type": "elasticsearch", "hosts": ["http://localhost:9200"]}},
        "output_permissions": {"default": {}},
        "inputs": [],
        "secret_references": [],
        "agent": {
            "download": {"sourceURI": "https://artifacts.elastic.co/downloads/"},
            "monitoring": {
                "enabled": !policy.monitoring_enabled.is_empty(),
                "use_output": "default",
                "namespace": policy.namespace,
                "logs": monitored("logs"),
                "metrics": monitored("metrics"),
                "traces": monitored("traces"),
            },
            "features": features,
            "protection": {
                "enabled": policy.is_protected,
                "uninstall_token_hash": "",
                "signing_key": signer.public_key(),
            },
        },
    });
    if !policy.space_ids.is_empty()
        && let Value::Object(data) = &mut data
    {
        data.insert("namespaces".to_owned(), policy.space_ids.clone().into());
    }
    for (path, value) in &policy.advanced_settings {
        set(&mut data, path, value.clone());
    }
    if let Some(overrides) = &policy.overrides {
        merge(&mut data, &Value::Object(overrides.clone()));
    }
    let signed = sign(&data, signer)?;
    let Value::Object(mut data) = data else { return Err(NotSigned) };
    data.insert("signed".to_owned(), signed);
    Ok(DeployedPolicy {
        policy_id: policy.id.clone(),
        revision_idx: policy.revision,
        timestamp: policy.updated_at,
        namespaces: policy.space_ids.clone(),
        default_fleet_server: false,
        unenroll_timeout: policy.unenroll_timeout,
        inactivity_timeout: Some(policy.inactivity_timeout),
        data,
    })
}

/// The part of a policy that agents must be able to trust, signed.
fn sign(data: &Value, signer: &dyn Sign) -> Result<Value, NotSigned> {
    let inputs = data.get("inputs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|input| json!({"id": input["id"], "name": input["name"], "revision": input["revision"], "type": input["type"]}))
        .collect();
    let trusted = json!({
        "id": data["id"],
        "agent": {"features": data["agent"]["features"], "protection": data["agent"]["protection"]},
        "inputs": inputs,
    });
    let text = trusted.to_string();
    let signature = signer.sign(text.as_bytes()).ok_or(NotSigned)?;
    Ok(json!({"data": STANDARD.encode(text), "signature": signature}))
}

/// Sets what a dotted path names.
fn set(into: &mut Value, path: &str, value: Value) {
    let mut place = into;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

/// Lays `over` over `into`: objects are merged, anything else is replaced.
fn merge(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, over) => into.clone_from(over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Signer;

    impl Sign for Signer {
        fn public_key(&self) -> &str {
            "public"
        }

        fn sign(&self, data: &[u8]) -> Option<String> {
            Some(format!("signature of {} bytes", data.len()))
        }
    }

    fn policy() -> AgentPolicy {
        AgentPolicy {
            id: "web".to_owned(),
            namespace: "default".to_owned(),
            revision: 4,
            monitoring_enabled: vec!["logs".to_owned()],
            ..AgentPolicy::default()
        }
    }

    #[test]
    fn overrides_are_laid_over_everything_but_the_signature() {
        let Value::Object(overrides) = json!({
            "inputs": [{"id": "in-1", "type": "logfile", "revision": 2, "name": "logs", "streams": []}],
            "agent": {"monitoring": {"logs": false}},
        }) else {
            panic!("an object")
        };
        let deployed = compose(&AgentPolicy { overrides: Some(overrides), ..policy() }, &Signer).unwrap();
        assert_eq!(deployed.revision_idx, 4);
        assert_eq!(deployed.data["agent"]["monitoring"]["logs"], false);
        assert_eq!(deployed.data["agent"]["monitoring"]["enabled"], true);
        let trusted = STANDARD.decode(deployed.data["signed"]["data"].as_str().unwrap()).unwrap();
        let trusted: Value = serde_json::from_slice(&trusted).unwrap();
        assert_eq!(
            trusted["inputs"],
            json!([{"id": "in-1", "name": "logs", "revision": 2, "type": "logfile"}])
        );
        assert_eq!(trusted["agent"]["protection"]["signing_key"], "public");
    }

    #[test]
    fn settings_go_to_their_paths() {
        let settings = Map::from_iter([("agent.limits.go_max_procs".to_owned(), json!(2))]);
        let deployed = compose(&AgentPolicy { advanced_settings: settings, ..policy() }, &Signer).unwrap();
        assert_eq!(deployed.data["agent"]["limits"], json!({"go_max_procs": 2}));
    }
}
