//! What agents get, composed of what people edit.

mod advanced;
mod monitoring;

use std::collections::{BTreeMap, BTreeSet};

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
    /// The same by the key before, while there are agents that know no other; `Some(None)`: there is none.
    fn sign_as_before(&self, _data: &[u8]) -> Option<Option<String>> {
        Some(None)
    }
}

/// Why nothing was composed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy cannot be signed")]
pub struct NotSigned;

/// What a policy is composed of besides itself.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// The outputs by the names that agents know them by.
    pub outputs: Map<String, Value>,
    /// Which of them data goes to.
    pub data_output: String,
    /// Which of them takes what agents tell of themselves.
    pub monitoring_output: String,
    /// How agents find their servers; none: they stay with those that they know.
    pub fleet: Option<Value>,
    /// Where agents fetch new versions.
    pub download: Value,
    /// What the integrations collect.
    pub inputs: Vec<Value>,
    /// What the integrations may write, by output and integration.
    pub permissions: BTreeMap<String, Map<String, Value>>,
    /// Sections of an OpenTelemetry collector that integrations bring: `receivers`, `service` and so on.
    pub collector: Map<String, Value>,
    /// What the token that lifts an agent's protection is checked against.
    pub uninstall_token_hash: String,
    /// The secrets that agents of the policy may have: those that its integrations and settings brought.
    pub secrets: BTreeSet<String>,
    /// The outputs that each agent gets keys of its own for: their ids by the names that agents know them by.
    pub output_keys: BTreeMap<String, String>,
    /// What all of this was read from: revisions in the store, by kind and id. Whoever finds another revision
    /// knows that the policy must be composed again.
    pub made_of: BTreeMap<String, u64>,
}

/// The revision of `policy` as it is deployed.
///
/// # Errors
/// It cannot be signed.
pub fn compose(policy: &AgentPolicy, parts: Parts, signer: &dyn Sign) -> Result<DeployedPolicy, NotSigned> {
    let features: Map<String, Value> = policy
        .agent_features
        .iter()
        .map(|feature| (feature.name.clone(), json!({"enabled": feature.enabled})))
        .collect();
    let has_fleet_server = parts.inputs.iter().any(|input| input["type"] == "fleet-server");
    let permissions = permissions(policy, &parts);
    let mut data = json!({
        "id": policy.id,
        "revision": policy.revision,
        "outputs": parts.outputs,
        "output_permissions": permissions,
        "inputs": parts.inputs,
        "secret_references": [],
        "agent": {
            "download": parts.download,
            "monitoring": monitoring::section(policy, &parts.monitoring_output),
            "features": features,
            "protection": {
                "enabled": policy.is_protected,
                "uninstall_token_hash": parts.uninstall_token_hash,
                "signing_key": signer.public_key(),
            },
        },
    });
    if let Value::Object(data) = &mut data {
        if let Some(fleet) = parts.fleet {
            data.insert("fleet".to_owned(), fleet);
        }
        if !policy.space_ids.is_empty() {
            data.insert("namespaces".to_owned(), policy.space_ids.clone().into());
        }
        data.extend(parts.collector);
    }
    for (name, value) in &policy.advanced_settings {
        set(&mut data, advanced::path(name), value.clone());
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
        default_fleet_server: has_fleet_server,
        unenroll_timeout: policy.unenroll_timeout,
        inactivity_timeout: Some(policy.inactivity_timeout),
        secrets: Some(parts.secrets),
        output_keys: parts.output_keys,
        made_of: parts.made_of,
        signing_since: None,
        parts: None,
        data,
    })
}

/// What may be written to each output, and by which part of the policy.
fn permissions(policy: &AgentPolicy, parts: &Parts) -> Map<String, Value> {
    let mut permissions: Map<String, Value> =
        parts.outputs.keys().map(|output| (output.clone(), json!({}))).collect();
    let mut grant = |output: &str, role: &str, what: Value| {
        if let Some(Value::Object(roles)) = permissions.get_mut(output) {
            roles.insert(role.to_owned(), what);
        }
    };
    let checks = json!({"cluster": ["monitor"]});
    grant(&parts.data_output, "_elastic_agent_checks", checks.clone());
    if let Some(what) = monitoring::permissions(policy) {
        grant(&parts.monitoring_output, "_elastic_agent_checks", checks.clone());
        grant(&parts.monitoring_output, "_elastic_agent_monitoring", what);
    }
    for (output, roles) in &parts.permissions {
        grant(output, "_elastic_agent_checks", checks.clone());
        for (role, what) in roles {
            grant(output, role, what.clone());
        }
    }
    permissions
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
    let mut signed = json!({"data": STANDARD.encode(&text), "signature": signature});
    // Agents that are protected take a policy with another key only from whom they know.
    if let Some(before) = signer.sign_as_before(text.as_bytes()).ok_or(NotSigned)? {
        signed["previous_signature"] = before.into();
    }
    Ok(signed)
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
    use crate::documents::SigningSince;

    struct Signer;

    impl Sign for Signer {
        fn public_key(&self) -> &str {
            "public"
        }

        fn sign(&self, data: &[u8]) -> Option<String> {
            Some(format!("signature of {} bytes", data.len()))
        }
    }

    fn parts() -> Parts {
        Parts {
            outputs: Map::from_iter([
                ("default".to_owned(), json!({"type": "elasticsearch"})),
                ("logs".to_owned(), json!({"type": "logstash"})),
            ]),
            data_output: "default".to_owned(),
            monitoring_output: "default".to_owned(),
            ..Parts::default()
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
        let deployed =
            compose(&AgentPolicy { overrides: Some(overrides), ..policy() }, parts(), &Signer).unwrap();
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
    fn each_output_is_opened_for_what_goes_to_it() {
        let mut parts = parts();
        let nginx =
            json!({"indices": [{"names": ["logs-nginx.access-default"], "privileges": ["create_doc"]}]});
        parts.permissions.insert("logs".to_owned(), Map::from_iter([("nginx-1".to_owned(), nginx.clone())]));
        let deployed = compose(&policy(), parts, &Signer).unwrap();
        let permissions = &deployed.data["output_permissions"];
        assert_eq!(permissions["logs"]["nginx-1"], nginx);
        assert!(permissions["logs"].get("_elastic_agent_monitoring").is_none());
        let names = &permissions["default"]["_elastic_agent_monitoring"]["indices"][0]["names"];
        assert!(names.as_array().unwrap().contains(&json!("logs-elastic_agent.filebeat-default")), "{names}");
    }

    #[test]
    fn a_key_that_was_changed_signs_beside_the_one_before() {
        struct Changed;

        impl Sign for Changed {
            fn public_key(&self) -> &str {
                "new"
            }

            fn sign(&self, _: &[u8]) -> Option<String> {
                Some("by the new one".to_owned())
            }

            fn sign_as_before(&self, _: &[u8]) -> Option<Option<String>> {
                Some(Some("by the one before".to_owned()))
            }
        }

        let first = compose(&policy(), parts(), &Signer).unwrap();
        assert_eq!(first.data["signed"].get("previous_signature"), None);
        let at = |revision| AgentPolicy { revision, ..policy() };
        let mut second = compose(&at(5), parts(), &Changed).unwrap();
        assert_eq!(second.data["signed"]["previous_signature"], "by the one before");
        second.follow_signing_key(Some(&first));
        let since = SigningSince { revision: 5, before: "public".to_owned() };
        assert_eq!(second.signing_since.as_ref(), Some(&since));
        // It is known as long as the key stays.
        let mut third = compose(&at(6), parts(), &Changed).unwrap();
        third.follow_signing_key(Some(&second));
        assert_eq!(third.signing_since.as_ref(), Some(&since));
    }

    #[test]
    fn settings_go_to_their_paths() {
        let settings = Map::from_iter([("agent_limits_go_max_procs".to_owned(), json!(2))]);
        let deployed =
            compose(&AgentPolicy { advanced_settings: settings, ..policy() }, parts(), &Signer).unwrap();
        assert_eq!(deployed.data["agent"]["limits"], json!({"go_max_procs": 2}));
    }
}
