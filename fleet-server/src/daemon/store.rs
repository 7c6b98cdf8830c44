//! Opening the store that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::decorate::{Gathered, Metered, Observer};
use fleet_store::embedded::Embedded;
use fleet_store::etcd::Etcd;
use fleet_store::{Error, ErrorKind, Store};
use tracing::warn;

use crate::config::store;

/// Opens it; `observer` is told of every call. etcd need not answer yet.
pub(super) fn open(config: &store::Store, observer: Arc<dyn Observer>) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(Metered::new(backend(config)?, observer)))
}

fn backend(config: &store::Store) -> Result<Arc<dyn Store>, Error> {
    match config {
        store::Store::Embedded { path } => {
            if let Some(directory) = path.parent() {
                use std::os::unix::fs::DirBuilderExt;
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
                made.map_err(|error| {
                    let message = format!("make the directory {} (store.path)", directory.display());
                    Error::caused_by(ErrorKind::Unsuitable, message, error)
                })?;
            }
            Ok(Arc::new(Embedded::open(path)?))
        }
        store::Store::Etcd(etcd) => {
            // A request costs etcd much more than what is written by it.
            Ok(Arc::new(Gathered::new(Arc::new(Etcd::connect(etcd.options())?))))
        }
    }
}

/// Waits until the store answers, telling why it does not.
pub(super) async fn wait_for(store: &dyn Store, pause: Duration) {
    let mut told = None;
    while let Err(error) = store.check().await {
        let text = error.to_string();
        if told.as_ref() != Some(&text) {
            warn!(error = &error as &dyn std::error::Error, "the store does not answer: waiting for it");
            told = Some(text);
        }
        tokio::time::sleep(pause).await;
    }
}
