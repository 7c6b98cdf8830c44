//! People, their keys and their sessions, on a real store.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod api_keys;
mod audit;
mod sessions;
mod users;

use std::sync::Arc;

use fleet_access::password::{PasswordOptions, Passwords};
use fleet_access::rights::Role;
use fleet_access::slow::Workers;
use fleet_access::timestamp::Timestamp;
use fleet_access::users::{NewUser, Users};
use fleet_service::config::value::Secret;
use fleet_store::Store;
use fleet_store::decorate::{Faults, Faulty};
use fleet_store::embedded::Embedded;

/// A store, and what is in the way to it.
struct World {
    _directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    /// The same one: what it does wrong can be changed.
    faulty: Faulty,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(&directory.path().join("store.db")).unwrap();
        let faulty = Faulty::new(Arc::new(embedded), 1, Faults::NONE);
        World { _directory: directory, store: Arc::new(faulty.clone()), faulty }
    }

    /// Another server on this store.
    fn users(&self) -> Users {
        let options = PasswordOptions { memory_kib: 64, passes: 1, ..PasswordOptions::default() };
        Users::new(&self.store, Passwords::new(options, Workers::new(2, 64)).unwrap())
    }
}

fn now() -> Timestamp {
    "2026-11-22T05:17:48Z".parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn somebody(name: &str, roles: &[Role]) -> NewUser {
    NewUser {
        name: name.to_owned(),
        full_name: String::new(),
        password: secret("correct horse"),
        roles: roles.iter().copied().collect(),
        grants: [].into(),
    }
}
