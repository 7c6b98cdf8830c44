//! Leaving a fleet, or going over to another one.

use std::time::Duration;

use fleet_service::error::chain;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::connection::make_client;
use super::core::{Agent, Ended};
use crate::fleet::{
    AckEvent, Action, Call, ConnectionSettings, Enrolment, FleetClient, enrol, normal_host, send_acks,
};
use crate::state::{Identity, Progress, SavedPolicy};

/// What runs has so long to end.
const STOP_MAX: Duration = Duration::from_secs(15);
/// The last word to a server may take so long.
const FAREWELL_MAX: Duration = Duration::from_secs(15);
/// An enrolment with another server may take so long.
const ENROL_MAX: Duration = Duration::from_secs(60);

impl Agent {
    /// Stops all, says so, and forgets who it was.
    pub(super) async fn unenroll(&mut self, action: &Action) {
        tracing::info!("the agent was told to leave its fleet");
        self.context.workloads.stop(STOP_MAX).await;
        let event = AckEvent::of(&self.identity.id, action, Ok(()));
        let mut events: Vec<AckEvent> = self.progress.acks.iter().map(|ack| ack.event.clone()).collect();
        events.push(event);
        let client = self.client.borrow().clone();
        let said = timeout(
            FAREWELL_MAX,
            send_acks(&client, &self.identity.id, &self.identity.access_api_key, &events),
        );
        match said.await {
            Ok(Ok(())) => {}
            // It leaves all the same: the server ends its key by itself, or its people force it.
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the server was not told");
            }
            Err(_) => tracing::warn!("the server was not told in time"),
        }
        self.forget();
        self.ended = Some(Ended::Left);
    }

    fn forget(&mut self) {
        let store = &self.context.store;
        let removed = store.remove(SavedPolicy::NAME).and_then(|()| store.remove(Identity::NAME));
        if let Err(error) = removed {
            tracing::error!(error = &error as &dyn std::error::Error, "the agent's keys cannot be removed");
        }
        self.progress = Progress { unenrolled: true, ..Progress::default() };
        self.save_progress();
    }

    /// Enrols with another server; only then is the old one left.
    pub(super) async fn migrate(&mut self, action: &Action) {
        match self.try_migrate(action).await {
            Ok(()) => self.ended = Some(Ended::Restart),
            Err(reason) => self.finish(action, Err(reason)),
        }
    }

    async fn try_migrate(&mut self, action: &Action) -> Result<(), String> {
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
        let client = make_client(settings.clone()).await?;
        let enrolment = Enrolment {
            token: token.to_owned(),
            enrollment_id: uuid::Uuid::new_v4().to_string(),
            tags: self.identity.tags.clone(),
            metadata: self.machine.metadata("", self.level(), false),
            ..Enrolment::default()
        };
        let enrolled = enrol(&client, &enrolment, ENROL_MAX, &crate::fleet::log_attempt).await;
        let enrolled = enrolled.map_err(|error| chain(&error))?;
        let identity = Identity {
            id: enrolled.id,
            access_api_key: enrolled.access_api_key,
            connection: settings,
            policy_id: enrolled.policy_id,
            enrolled_at: crate::clock::now_text(),
            replace_token: String::new(),
            tags: self.identity.tags.clone(),
            fleet_server: None,
        };
        let saved = self.context.store.save(Identity::NAME, &identity);
        saved.map_err(|error| format!("the new identity cannot be kept: {}", chain(&error)))?;
        self.part(action).await;
        self.progress = Progress::default();
        self.save_progress();
        if let Err(error) = self.context.store.remove(SavedPolicy::NAME) {
            self.tell_disk(&error);
        }
        tracing::info!(target, "the agent goes over to another server");
        Ok(())
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

/// Tells a server why an agent has gone.
///
/// # Errors
/// It did not hear.
pub(crate) async fn audit(
    client: &FleetClient,
    id: &str,
    key: &str,
    reason: &str,
) -> Result<(), crate::fleet::CallError> {
    let path = format!("/api/fleet/agents/{id}/audit/unenroll");
    let body = json!({"reason": reason, "timestamp": crate::clock::now_text()}).to_string();
    client.send(&Call::post(&path, key, body.into_bytes(), FAREWELL_MAX)).await.map(drop)
}

/// The settings of a migration have the names of the flags of an enrolment.
fn migrated_settings(
    base: &ConnectionSettings,
    given: &serde_json::Map<String, Value>,
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
