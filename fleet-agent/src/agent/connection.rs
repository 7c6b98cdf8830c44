//! Another way to the server: tried before the old one is given up, and left again when it stops working.

use std::time::Duration;

use fleet_service::error::chain;

use super::core::Agent;
use crate::fleet::{Call, ConnectionSettings, FleetClient};

/// The longest time for a server to say that it is there.
const TEST_MAX: Duration = Duration::from_secs(30);
/// So many failed check-ins in a row, and the old way is tried.
const FAILURES: u32 = 5;

impl Agent {
    /// Goes over to other settings, if a server answers by them.
    pub(super) async fn reconnect(&mut self, settings: ConnectionSettings) -> Result<(), String> {
        let hosts = settings.hosts.join(", ");
        let client = make_client(settings.clone()).await?;
        test(&client, &self.identity.access_api_key).await.map_err(|error| {
            format!("no server answers by the new settings ({hosts}), the old ones stay: {error}")
        })?;
        let old = self.client.send_replace(client);
        self.before = Some((std::mem::replace(&mut self.connection, settings), old));
        self.link_trouble = None;
        tracing::info!(hosts, "the server is reached by new settings");
        Ok(())
    }

    /// Looks whether a new way has worked, or has to be left.
    pub(super) async fn watch_connection(&mut self) {
        if self.client.borrow().is_unusable() {
            // A file that was missing may be there again.
            if let Ok(client) = make_client(self.connection.clone()).await {
                tracing::info!("the settings for the server can be used again");
                self.client.send_replace(client);
            }
        }
        let link = self.link.borrow().clone();
        if link.connected {
            // The old way stays known: this one may still stop working, for a while that is remembered on purpose.
            return;
        }
        if link.failures < FAILURES {
            return;
        }
        let Some((settings, client)) = self.before.take() else { return };
        if test(&client, &self.identity.access_api_key).await.is_err() {
            self.before = Some((settings, client));
            return;
        }
        tracing::warn!(
            hosts = settings.hosts.join(", "),
            "the new way to the server stopped working, back to the old one"
        );
        let left = self.client.send_replace(client);
        self.before = Some((std::mem::replace(&mut self.connection, settings), left));
        self.link_trouble = self.wanted_hosts().map(|hosts| {
            format!(
                "the settings of the policy for the server ({hosts}) stopped working: those before are in use"
            )
        });
    }

    /// The hosts of the policy, if the server is not reached as the policy says.
    fn wanted_hosts(&self) -> Option<String> {
        let wanted = self.identity.connection_by(&self.plan.fleet).ok()?;
        (wanted != self.connection).then(|| wanted.hosts.join(", "))
    }
}

/// Makes a client on a thread that nobody waits for: it reads files.
pub(super) async fn make_client(settings: ConnectionSettings) -> Result<FleetClient, String> {
    let made = tokio::task::spawn_blocking(move || FleetClient::new(&settings)).await;
    let made = made.map_err(|error| error.to_string())?;
    made.map_err(|error| chain(&error))
}

/// Whether a server is there, and fit.
async fn test(client: &FleetClient, key: &str) -> Result<(), String> {
    let call = Call::get("/api/status", key, TEST_MAX);
    client.send(&call).await.map(drop).map_err(|error| chain(&error))
}
