//! Storing what is asked, and changing the agents that it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_policy::actions::reference;
use fleet_policy::documents::{Action, Outcome, SecretReference};
use fleet_policy::timestamp::Timestamp;
use fleet_protocol::agent::{ActionType, Signed};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::warn;

use super::LIFE;
use super::chosen::Refused;
use crate::jobs::bulk::{self, Change};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::upkeep::sign_action;

/// No more agents than this are changed before it is answered. More are changed after that.
const FEW: usize = 1_000;

/// So many texts of one action are kept secret.
const MOST_SECRETS: usize = 100;

/// What agents are asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: ActionType,
    pub(super) data: Option<Value>,
    pub(super) start_time: Option<Timestamp>,
    pub(super) expiration: Option<Timestamp>,
    pub(super) rollout_duration_seconds: Option<u64>,
    pub(super) minimum_execution_duration: Option<u64>,
    pub(super) input_type: String,
    pub(super) timeout: Option<i64>,
    pub(super) signed: Option<Signed>,
    /// Texts in `data` that only the agents are to see, beside addresses with credentials in them.
    pub(super) secrets: Vec<String>,
    pub(super) refused: Refused,
    /// For a kind that agents are not told of: it has been done.
    pub(super) is_done: bool,
}

impl Asked {
    pub(super) fn new(kind: ActionType, data: Option<Value>, refused: Refused) -> Asked {
        Asked {
            kind,
            data,
            start_time: None,
            expiration: None,
            rollout_duration_seconds: None,
            minimum_execution_duration: None,
            input_type: String::new(),
            timeout: None,
            signed: None,
            secrets: Vec::new(),
            refused,
            is_done: false,
        }
    }
}

impl Management {
    /// Asks `agents`. Returns the action's id.
    pub(super) async fn ask(
        &self,
        asked: Asked,
        agents: Vec<String>,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        self.ask_as(new_id(), asked, agents, caller).await
    }

    async fn ask_as(
        &self,
        action_id: String,
        mut asked: Asked,
        agents: Vec<String>,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let now = self.now();
        let mut signed = match asked.signed.take() {
            Some(signed) => Some(signed),
            None => self.sign(&asked, &action_id)?,
        };
        let secrets = self.hide(&mut asked, signed.as_mut()).await?;
        let outcome = Outcome { at: now, acked: agents.len() as u64, failed: 0 };
        let told = json!({
            "type": asked.kind, "data": asked.data, "agents": agents.len(), "refused": asked.refused.count,
        });
        let action = Action {
            action_id: action_id.clone(),
            timestamp: now,
            kind: asked.kind.to_string(),
            input_type: asked.input_type,
            expiration: asked.expiration.or(Some(now + LIFE)),
            start_time: asked.start_time,
            rollout_duration_seconds: asked.rollout_duration_seconds,
            minimum_execution_duration: asked.minimum_execution_duration,
            timeout: asked.timeout,
            agents: Vec::new(),
            target_documents: None,
            total: 0,
            data: asked.data.as_ref().map(raw).transpose()?,
            signed,
            user_id: Some(caller.name().to_owned()),
            traceparent: None,
            namespaces: Vec::new(),
            secret_references: secrets,
            refused: asked.refused.count,
            refusals: asked.refused.first,
            outcome: asked.is_done.then_some(outcome),
            is_automatic: false,
            policy_id: None,
        };
        self.fleet.actions.create(&action_id, action, agents).await?;
        caller.changed("action", &action_id, None, Some(told));
        Ok(action_id)
    }

    /// Takes what is secret out of what will be stored: it is stored apart, sealed.
    async fn hide(
        &self,
        asked: &mut Asked,
        signed: Option<&mut Signed>,
    ) -> Result<Vec<SecretReference>, ApiError> {
        let Some(data) = &mut asked.data else { return Ok(Vec::new()) };
        let mut texts: BTreeSet<String> = std::mem::take(&mut asked.secrets).into_iter().collect();
        add_texts(data, &|text| has_credentials(text), &mut texts);
        texts.retain(|text| !text.is_empty());
        if texts.len() > MOST_SECRETS {
            let text = format!("[request body]: more than {MOST_SECRETS} texts that must be kept secret");
            return Err(ApiError::BadRequest(text));
        }
        let mut references = Vec::with_capacity(texts.len() + 1);
        for text in texts {
            let id = self.fleet.secrets.create(&text).await?;
            replace(data, &text, &reference(&id));
            references.push(SecretReference { id });
        }
        // What is signed holds them too.
        if let Some(signed) = signed.filter(|_| !references.is_empty()) {
            let id = self.fleet.secrets.create(&signed.data).await?;
            signed.data = reference(&id);
            references.push(SecretReference { id });
        }
        Ok(references)
    }

    /// Asks agents and changes them: a few before this returns, many in a job after it.
    pub(super) async fn ask_and_change(
        &self,
        mut asked: Asked,
        agents: Vec<String>,
        change: Change,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        if agents.len() > FEW {
            return self.ask_many(asked, agents, change, caller).await;
        }
        self.fleet.agents.change_many(&agents, move |agent| change.apply(agent), None).await?;
        asked.is_done = !asked.kind.is_delivered();
        self.ask(asked, agents, caller).await
    }

    /// Asks agents, and marks them as asked.
    pub(super) async fn ask_and_mark(
        &self,
        asked: Asked,
        agents: Vec<String>,
        mark: Change,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        if agents.len() > FEW {
            return self.ask_many(asked, agents, mark, caller).await;
        }
        let id = self.ask(asked, agents.clone(), caller).await?;
        if let Err(error) = self.fleet.agents.change_many(&agents, move |agent| mark.apply(agent), None).await
        {
            // They are asked: that counts.
            let error = &error as &dyn std::error::Error;
            warn!(action = id, error, "agents were asked, but are not all marked as such");
        }
        Ok(id)
    }

    async fn ask_many(
        &self,
        asked: Asked,
        agents: Vec<String>,
        change: Change,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        let room = self.fleet.jobs.room().ok_or(ApiError::Busy)?;
        let (kind, id) = (asked.kind, new_id());
        let begun = bulk::begin(&self.fleet, &id, change).await?;
        // What failed may have been written all the same. The keeper finds out: with its action the change is made, without
        // one it is forgotten.
        self.ask_as(id.clone(), asked, agents.clone(), caller).await?;
        let fleet = Arc::clone(&self.fleet);
        self.fleet.jobs.begin(room, async move { bulk::run(&fleet, begun, kind, &agents).await });
        Ok(id)
    }

    /// Agents check that some actions come from whoever made their policy.
    fn sign(&self, asked: &Asked, action_id: &str) -> Result<Option<Signed>, ApiError> {
        if !matches!(asked.kind, ActionType::Unenroll | ActionType::Upgrade | ActionType::Migrate) {
            return Ok(None);
        }
        let signed = sign_action(&self.fleet.signer.keys(), asked.kind, action_id, asked.data.as_ref());
        signed.map(Some).map_err(|error| ApiError::Internal(Box::new(error)))
    }
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Adds the texts in `value` that are `wanted`.
pub(super) fn add_texts(value: &Value, wanted: &dyn Fn(&str) -> bool, to: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if wanted(text) => {
            to.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| add_texts(item, wanted, to)),
        Value::Object(members) => members.values().for_each(|member| add_texts(member, wanted, to)),
        _ => {}
    }
}

/// Whether it is an address with a user, or with a query, which is where signed addresses have their signature.
fn has_credentials(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    is_scheme && (authority.contains('@') || rest.contains('?'))
}

/// Puts `to` where the text `from` stands.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, from, to)),
        _ => {}
    }
}

fn raw(value: &Value) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(value).map_err(|error| ApiError::Internal(Box::new(error)))
}
