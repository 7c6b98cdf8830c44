//! Enrolments that were put off until the agent runs.

use std::time::Duration;

use fleet_service::error::chain;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Options;
use crate::enrolment::{self, Wanted};
use crate::fleet_server;
use crate::state::StateStore;

/// A server that could not be brought up is tried again after this time: what was in its way may have gone.
const RETRY: Duration = Duration::from_secs(10);

/// Makes the enrolment that was put off; without one, or without success, it never returns.
pub(super) async fn enroll(options: &Options, store: &StateStore, told: &watch::Sender<String>) {
    let enrolled = match enrolment::delayed(store) {
        Ok(Some(wanted)) if wanted.bootstrap.is_some() => {
            with_own_server(options, store, &wanted, told).await;
            return;
        }
        Ok(Some(_)) => {
            told.send_replace("The agent enrolls".to_owned());
            enrolment::enroll_delayed(store).await
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match enrolled {
        Ok(Some(identity)) => return tracing::info!(id = identity.id, "enrolled"),
        Ok(None) => {}
        Err(error) => {
            let reason = chain(&error);
            told.send_replace(format!("The enrolment that was put off failed: {reason}"));
        }
    }
    std::future::pending::<()>().await;
}

async fn with_own_server(
    options: &Options,
    store: &StateStore,
    wanted: &Wanted,
    told: &watch::Sender<String>,
) {
    let Some(bootstrap) = &wanted.bootstrap else { return };
    told.send_replace("The agent brings up its Fleet Server".to_owned());
    let machine = (&options.paths, &options.platform);
    loop {
        let server = (&bootstrap.server, bootstrap.within);
        match fleet_server::enroll(machine, store, wanted, server, told).await {
            Ok(identity) => return tracing::info!(id = identity.id, "enrolled"),
            Err(error) => {
                let reason = chain(&error);
                told.send_replace(format!("{reason}. Trying again"));
            }
        }
        sleep(RETRY).await;
    }
}
