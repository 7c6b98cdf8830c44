//! Opening the store that the configuration names.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use fleet_store::decorate::{Metered, Observer};
use fleet_store::embedded::Embedded;
use fleet_store::etcd::{self, Etcd};
use fleet_store::{Error, ErrorKind, Store};

use crate::config::{Options, StoreKind};

/// The embedded store's file in `store_path`.
const DATABASE: &str = "fleet.db";

/// An open store.
pub struct Opened {
    /// For all work.
    pub store: Arc<dyn Store>,
    /// Opens the store for the heartbeat: with a connection of its own, made in the thread that calls it.
    pub for_heart: Box<dyn FnOnce() -> Result<Arc<dyn Store>, Error> + Send>,
}

/// Opens the store. etcd need not answer yet; the embedded store must open, or be `opened` already: it cannot
/// be opened twice. `observer` is told of every call.
pub fn open(
    options: &Options,
    opened: Option<Arc<dyn Store>>,
    observer: &Arc<dyn Observer>,
) -> Result<Opened, Error> {
    let metered = |store: Arc<dyn Store>, observer: &Arc<dyn Observer>| -> Arc<dyn Store> {
        Arc::new(Metered::new(store, Arc::clone(observer)))
    };
    match options.store {
        StoreKind::Etcd => {
            let etcd_options = etcd_options(options);
            let store = metered(Arc::new(Etcd::connect(etcd_options.clone())?), observer);
            let observer = Arc::clone(observer);
            let for_heart = move || Ok(metered(Arc::new(Etcd::connect(etcd_options)?), &observer));
            Ok(Opened { store, for_heart: Box::new(for_heart) })
        }
        StoreKind::Embedded => {
            let store = match opened {
                Some(store) => store,
                None => metered(open_embedded(&options.store_path)?, observer),
            };
            let same = Arc::clone(&store);
            Ok(Opened { store, for_heart: Box::new(move || Ok(same)) })
        }
    }
}

/// Opens the embedded store in a directory that only its owner can read: unit files hold secrets.
fn open_embedded(directory: &Path) -> Result<Arc<dyn Store>, Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        let message = format!("make the directory {} (store_path)", directory.display());
        Error::caused_by(ErrorKind::Unsuitable, message, error)
    })?;
    Ok(Arc::new(Embedded::open(&directory.join(DATABASE))?))
}

/// Whether two configurations reach the same store in the same way, so that what is known of it stays true.
pub fn same(before: &Options, after: &Options) -> bool {
    before.store == after.store
        && before.store_path == after.store_path
        && etcd_options(before) == etcd_options(after)
}

fn etcd_options(options: &Options) -> etcd::Options {
    let non_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    etcd::Options {
        endpoints: options.etcd_servers.clone(),
        key_prefix: options.etcd_key_prefix.clone(),
        request_timeout: options.etcd_request_timeout,
        username: non_empty(&options.etcd_username),
        password: non_empty(options.etcd_password.reveal()),
        ca_file: options.etcd_cafile.clone(),
        cert_file: options.etcd_certfile.clone(),
        key_file: options.etcd_keyfile.clone(),
    }
}
