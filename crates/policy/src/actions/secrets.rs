//! Secrets in actions: they stand in the store as references, and in memory as they are sent.

use fleet_store::Error;
use serde_json::value::RawValue;

use super::Actions;
use crate::documents::Action;

/// What stands in an action for a secret.
#[must_use]
pub fn reference(id: &str) -> String {
    format!("$co.elastic.secret{{{id}}}")
}

impl Actions {
    /// Puts the secrets into the action's data. The inner error: why it cannot be delivered.
    pub(super) async fn open_secrets(&self, action: &mut Action) -> Result<Result<(), String>, Error> {
        let ids: Vec<String> = action.secret_references.iter().map(|secret| secret.id.clone()).collect();
        let (Some(data), false) = (&action.data, ids.is_empty()) else { return Ok(Ok(())) };
        let mut signed = action.signed.take();
        let Some(secrets) = &self.secrets else { return Ok(Err("its secrets cannot be opened".to_owned())) };
        let opened = secrets.open(&ids).await?;
        let mut text = data.get().to_owned();
        for id in &ids {
            let Some(secret) = opened.get(id) else { return Ok(Err(format!("its secret {id} is missing"))) };
            let quoted = serde_json::Value::from(secret.as_str()).to_string();
            let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            let reference = reference(id);
            text = text.replace(&reference, inner);
            if let Some(signed) = signed.as_mut().filter(|signed| signed.data == reference) {
                signed.data.clone_from(secret);
            }
        }
        action.signed = signed;
        match RawValue::from_string(text) {
            Ok(data) => action.data = Some(data),
            Err(error) => return Ok(Err(format!("its data with its secrets is no JSON: {error}"))),
        }
        Ok(Ok(()))
    }
}
