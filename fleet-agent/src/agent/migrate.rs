//! Going over to another fleet. The other server may be slow to answer, or not there: it is asked beside, and the agent
//! goes on meanwhile.

use std::time::Duration;

use fleet_service::error::chain;
use serde_json::{Map, Value};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::connection::make_client;
use super::core::{Agent, Ended};
use super::job::JobDone;
use super::leave::{FAREWELL_MAX, audit};
use crate::fleet::{AckEvent, Action, ConnectionSettings, Enrolment, enrol, normal_host, send_acks};
use crate::state::{Identity, Progress, SavedPolicy};

/// An enrolment with another server may take so long.
const ENROL_MAX: Duration = Duration::from_secs(60);

/// Another server is being asked to take the agent.
#[derive(Debug)]
pub(super) struct Migrating {
    action: Action,
    task: AbortHandle,
}

impl Agent {
    /// Enrols with another server; only then is the old one left.
    pub(super) fn migrate(&mut self, action: Action) {
        let (settings, token) = match self.target(&action) {
            Ok(target) => target,
            Err(reason) => return self.finish(&action, Err(reason)),
        };
        if let Some(before) = self.migrating.take() {
            before.task.abort();
            self.finish(&before.action, Err("another server was named meanwhile".to_owned()));
        }
        let enrolment = Enrolment {
            token,
            enrollment_id: uuid::Uuid::new_v4().to_string(),
            tags: self.identity.tags.clone(),
            metadata: self.machine.metadata("", self.level(), false),
            ..Enrolment::default()
        };
        let (jobs, id) = (self.jobs.clone(), action.id.clone());
        let task = tokio::spawn(async move {
            let enrolled = enrol_there(settings, &enrolment).await;
            // The agent may have ended.
            let _ = jobs.send(JobDone::Migrated(id, enrolled.map(Box::new))).await;
        });
        self.migrating = Some(Migrating { action, task: task.abort_handle() });
    }

    /// Where it is to go, and with which token.
    fn target(&self, action: &Action) -> Result<(ConnectionSettings, String), String> {
        if self.plan.settings.protection.enabled {
            return Err("this agent is protected (agent.protection.enabled): lift that in its policy first"
                .to_owned());
        }
        if self.identity.fleet_server.is_some() {
            return Err("this agent runs a Fleet Server, which other agents need".to_owned());
        }
        let text = |name: &str| action.data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let target = text("target_uri").ok_or("data.target_uri: this is not the URL of a server")?;
        let token = text("enrollment_token").ok_or("data.enrollment_token: this is not a token")?;
        let hosts = vec![normal_host(target).map_err(|error| error.to_string())?];
        let settings = ConnectionSettings { hosts, ..self.connection.clone() };
        let settings = match action.data.get("settings").and_then(Value::as_object) {
            Some(given) => migrated_settings(&settings, given)?,
            None => settings,
        };
        Ok((settings, token.to_owned()))
    }

    /// The other server has answered the action of this id, or has not.
    pub(super) async fn migrated(&mut self, id: &str, enrolled: Result<Box<Identity>, String>) {
        // One that another has taken the place of may have been answered at that moment.
        let Some(Migrating { action, .. }) = self.migrating.take_if(|migrating| migrating.action.id == id)
        else {
            return;
        };
        let kept = enrolled.and_then(|identity| {
            let saved = self.context.store.save(Identity::NAME, &*identity);
            saved.map_err(|error| format!("the new identity cannot be kept: {}", chain(&error)))
        });
        if let Err(reason) = kept {
            return self.finish(&action, Err(reason));
        }
        self.part(&action).await;
        self.progress = Progress::default();
        self.save_progress();
        if let Err(error) = self.context.store.remove(SavedPolicy::NAME) {
            self.tell_disk(&error);
        }
        tracing::info!("the agent goes over to another server");
        self.ended = Some(Ended::Restart);
    }

    /// Tells the old server, which ends the agent's key there.
    async fn part(&self, action: &Action) {
        let client = self.client.borrow().clone();
        let (id, key) = (&self.identity.id, &self.identity.access_api_key);
        let told = timeout(FAREWELL_MAX, async {
            audit(&client, id, key, "migrated").await?;
            send_acks(&client, id, key, &[AckEvent::of(id, action, Ok(()))]).await
        });
        if !matches!(told.await, Ok(Ok(()))) {
            tracing::warn!("the old server was not told that the agent has gone");
        }
    }
}

/// Who the agent is with the other server.
async fn enrol_there(settings: ConnectionSettings, enrolment: &Enrolment) -> Result<Identity, String> {
    let client = make_client(settings.clone()).await?;
    let enrolled = enrol(&client, enrolment, ENROL_MAX, &crate::fleet::log_attempt).await;
    let enrolled = enrolled.map_err(|error| chain(&error))?;
    Ok(Identity {
        id: enrolled.id,
        access_api_key: enrolled.access_api_key,
        connection: settings,
        policy_id: enrolled.policy_id,
        enrolled_at: crate::clock::now_text(),
        replace_token: String::new(),
        tags: enrolment.tags.clone(),
        fleet_server: None,
    })
}

/// The settings of a migration have the names of the flags of an enrolment.
fn migrated_settings(
    base: &ConnectionSettings,
    given: &Map<String, Value>,
) -> Result<ConnectionSettings, String> {
    let mut settings = base.clone();
    let text = |name: &str| given.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(authorities) = given.get("certificate_authorities") {
        let one = authorities.as_str().map(|text| vec![text.to_owned()]);
        let several = || serde_json::from_value(authorities.clone()).ok();
        settings.ssl.certificate_authorities = one
            .or_else(several)
            .ok_or("data.settings.certificate_authorities: this is not a list of texts")?;
    }
    if let Some(pin) = text("ca_sha256") {
        settings.ssl.ca_sha256 = vec![pin];
    }
    for (name, place) in [
        ("elastic_agent_cert", &mut settings.ssl.certificate),
        ("elastic_agent_cert_key", &mut settings.ssl.key),
        ("elastic_agent_cert_key_passphrase", &mut settings.ssl.key_passphrase_path),
        ("proxy_url", &mut settings.proxy_url),
    ] {
        if let Some(value) = text(name) {
            *place = value;
        }
    }
    if given.get("insecure") == Some(&Value::Bool(true)) {
        settings.ssl.verification_mode = "none".to_owned();
    }
    if let Some(Value::Bool(disable)) = given.get("proxy_disabled") {
        settings.proxy_disable = *disable;
    }
    Ok(settings)
}
