//! The stores that everything is tried on.

use crate::etcd::Etcd;
use crate::server::Server;

/// A store that servers can use.
pub(crate) enum Store {
    /// One server's own.
    Embedded,
    /// An etcd that any number of servers share.
    Etcd(Etcd),
}

impl Store {
    pub(crate) fn both() -> [Store; 2] {
        [Store::Embedded, Store::Etcd(Etcd::start())]
    }

    /// The settings of a server on it.
    pub(crate) fn settings(&self) -> Vec<String> {
        match self {
            Store::Embedded => Vec::new(),
            Store::Etcd(etcd) => vec![
                "store.type=etcd".to_owned(),
                format!("store.etcd.endpoints={}", etcd.endpoint()),
                "store.etcd.request_timeout=1s".to_owned(),
            ],
        }
    }

    pub(crate) fn start_server(&self) -> Server {
        Server::start(&self.settings())
    }
}
