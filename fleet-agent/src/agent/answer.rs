//! What people at the machine ask.

use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::core::{Agent, Ended};
use super::job;
use crate::control::{Ask, Question, Told};
use crate::fleet::Action;
use crate::policy::{Plan, Redactor};

impl Agent {
    /// Answers a question.
    pub(super) fn answer(&mut self, question: Question) {
        let told = match question.ask {
            Ask::Status => Told::Done(serde_json::to_value(self.status()).unwrap_or_default()),
            Ask::Inspect => {
                let shown = self.policy.as_ref().map(|policy| Value::Object(self.redactor.policy(policy)));
                Told::Done(shown.unwrap_or_else(|| json!({})))
            }
            Ask::Components => Told::Done(self.components_shown()),
            Ask::Restart => {
                self.ended = Some(Ended::Restart);
                Told::Done(Value::Null)
            }
            Ask::MayUninstall { token } => self.may_uninstall(&token),
            Ask::Diagnostics { path } => {
                let material = self.material();
                tokio::spawn(async move {
                    // Who asked may have gone.
                    let _ = question.answer.send(write_diagnostics(material, path).await);
                });
                return;
            }
            Ask::Upgrade { version, source_uri, skip_verify, skip_default_key, keys, rollback } => {
                let data = json!({
                    "version": version, "source_uri": source_uri, "skip_verify": skip_verify, "keys": keys,
                    "rollback": rollback, "skip_default_key": skip_default_key,
                });
                let action: Action = Action {
                    // Nobody is to hear of its result.
                    id: String::new(),
                    kind: "UPGRADE".to_owned(),
                    data,
                    input_type: String::new(),
                    start_time: None,
                    expiration: None,
                    timeout: None,
                    signed: None,
                };
                let begun = self.upgrade_by_hand(action);
                self.publish();
                begun.map_or_else(Told::Refused, |()| Told::Done(Value::Null))
            }
        };
        let _ = question.answer.send(told);
    }

    fn may_uninstall(&self, token: &str) -> Told {
        let protection = &self.plan.settings.protection;
        if !protection.enabled || is_token(token, &protection.uninstall_token_hash) {
            return Told::Done(Value::Null);
        }
        let why = if token.is_empty() {
            "this agent is protected: give the uninstall token of its policy (--uninstall-token)"
        } else {
            "this is not the uninstall token of the agent's policy"
        };
        Told::Refused(why.to_owned())
    }

    /// What the policy became on this machine.
    pub(super) fn components_shown(&self) -> Value {
        components_shown(&self.plan, &self.redactor)
    }
}

/// What a policy became on this machine, without secrets.
pub(crate) fn components_shown(plan: &Plan, redactor: &Redactor) -> Value {
    let inputs: Vec<Value> = plan
            .inputs
            .iter()
            .map(|input| json!({"id": input.id, "type": input.kind, "output": input.output, "config": input.config}))
            .collect();
    let outputs: Vec<Value> = plan
        .outputs
        .iter()
        .map(|output| json!({"name": output.name, "type": output.kind, "config": output.config}))
        .collect();
    let broken: Vec<Value> = plan
            .broken
            .iter()
            .map(|broken| json!({"id": broken.id, "type": broken.kind, "output": broken.output, "reason": broken.reason}))
            .collect();
    redactor.any(&json!({"inputs": inputs, "outputs": outputs, "failed": broken}))
}

/// Whether a token is the one of that hash: base64 of its SHA-256.
pub(crate) fn is_token(token: &str, hash: &str) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let own = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()));
    !token.is_empty() && !hash.is_empty() && bool::from(own.as_bytes().ct_eq(hash.as_bytes()))
}

/// Makes diagnostics and writes them.
pub(crate) async fn write_diagnostics(
    material: crate::diagnostics::Material,
    path: std::path::PathBuf,
) -> Told {
    let content = match job::make(material).await {
        Ok(content) => content,
        Err(reason) => return Told::Refused(reason),
    };
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, &content).as_ref());
    let size = content.len();
    let written = tokio::task::spawn_blocking({
        let path = path.clone();
        move || crate::state::replace(&path, &content)
    });
    match written.await {
        Ok(Ok(())) => Told::Done(json!({"path": path, "size": size, "sha256": hash})),
        Ok(Err(error)) => Told::Refused(format!("{} cannot be written: {error}", path.display())),
        Err(error) => Told::Refused(error.to_string()),
    }
}
