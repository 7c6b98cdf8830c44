//! A server that runs for an agent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use fleet_service::config::value::Secret;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::status::Status;
use super::units::{Feed, Units};
use crate::config::Config;
use crate::config::store::Store;
use crate::daemon::Host;
use crate::management::Management;
use crate::management::fleet_server::DEFAULT_POLICY;

/// The administrator's first password is written here, below the data directory: the agent's log is no place for it.
const PASSWORD_FILE: &str = "admin-password";
/// What could not be made is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// What the server tells the agent it runs for.
pub(super) struct Guest {
    feed: Feed,
    policy_id: String,
    store: String,
    data_dir: PathBuf,
}

impl Guest {
    pub(super) fn new(feed: Feed, config: &Config, units: &Units) -> Guest {
        let policy_id = match config.policy_id.as_str() {
            "" => DEFAULT_POLICY,
            id => id,
        };
        let store = match &config.store {
            Store::Embedded { path } => {
                let engine = units.output.config.contains_key("bootstrap")
                    || units.output.config.contains_key("hosts");
                let not = if engine { ", not the output's Elasticsearch" } else { "" };
                format!("store: embedded ({}){not}", path.display())
            }
            Store::Etcd(_) => "store: etcd".to_owned(),
        };
        Guest { feed, policy_id: policy_id.to_owned(), store, data_dir: config.data_dir.clone() }
    }
}

#[async_trait]
impl Host for Guest {
    async fn serving(&self, management: &Management) {
        self.feed.tell(Status::Preparing { policy_id: self.policy_id.clone() });
        loop {
            match management.ensure_fleet_server(&self.policy_id).await {
                Ok(enrollment_token) => {
                    let (policy_id, store) = (self.policy_id.clone(), self.store.clone());
                    return self.feed.tell(Status::Serving { policy_id, enrollment_token, store });
                }
                Err(error) => warn!(error, policy = self.policy_id, "there is no policy for the agent yet"),
            }
            sleep(RETRY).await;
        }
    }

    fn first_password(&self, password: &Secret) {
        let path = self.data_dir.join(PASSWORD_FILE);
        match write_secret(&path, password) {
            Ok(()) => info!(file = %path.display(), "the administrator's first password is in this file"),
            Err(error) => error!(
                file = %path.display(),
                error = &error as &dyn std::error::Error,
                "the administrator's first password cannot be written: set admin_password_file"
            ),
        }
    }
}

fn write_secret(path: &Path, secret: &Secret) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret.reveal().as_bytes())
}
