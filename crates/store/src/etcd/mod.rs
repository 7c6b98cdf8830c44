//! The contract on etcd v3.
//!
//! | module | what |
//! |---|---|
//! | `options` | what an administrator says, checked |
//! | `tls`, `stream`, `connection`, `transport` | one HTTP/2 connection to whichever member answers |
//! | `session`, `failure` | one call: deadline, login, second try; what an error means for a write |
//! | `keys` | how documents and leases are laid out in keys |
//! | `read`, `write`, `watch`, `lease`, `history` | the calls |
//!
//! A list filters here, not in etcd, which has no index over values: a filtered list reads its whole scope.
//! History is kept until [`Store::compact`] is called, or somebody else compacts. A watch of documents that
//! have not changed for longer than that may, after a reconnect, end with
//! [`WatchError::Compacted`](crate::WatchError::Compacted).

mod connection;
mod failure;
mod history;
mod keys;
mod lease;
mod options;
mod read;
mod session;
mod stream;
mod tls;
mod transport;
mod watch;
mod write;

use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use options::Options;

use crate::contract::{
    Collection, Document, Lease, LeaseId, ListRequest, Page, Revision, Scope, Store, Watch, Write,
};
use crate::error::{Error, RenewError, WriteError};
use crate::samples::Samples;
use keys::Keys;
use session::{Effect, Session};
use transport::Transport;

/// A store on an etcd cluster. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Etcd {
    session: Arc<Session>,
    keys: Keys,
    samples: Arc<Mutex<Samples>>,
}

impl Etcd {
    /// Checks the options, and fails only on mistakes in them. The first call connects: etcd may be down
    /// now, and calls fail with [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) until it answers.
    pub fn connect(options: Options) -> Result<Etcd, Error> {
        let endpoints = options.parse_endpoints()?;
        let files = tls::Files::new(&options)?;
        if endpoints.iter().any(|endpoint| endpoint.tls_name.is_some()) {
            files.load()?;
        } else if options.ca_file.is_some() || options.cert_file.is_some() {
            tracing::warn!("etcd_cafile and etcd_certfile have no effect: etcd_servers has no https:// URL");
        }
        let timeout = options.checked_timeout()?;
        let keys = Keys::new(options.normal_prefix()?);
        let credentials = options.into_credentials()?;
        let transport = Transport::new(endpoints, files);
        let session = Session::new(transport, credentials, timeout)?;
        Ok(Etcd { session: Arc::new(session), keys, samples: Arc::default() })
    }

    async fn identify(&self) -> Result<String, Error> {
        const OF: &str = "check etcd";
        let current = self.current_revision().await.map_err(|failure| failure.into_error(OF))?;
        let status = self.session.call(Effect::Idempotent, || {
            let mut client = self.session.client();
            async move { client.status().await }
        });
        let status = status.await.map_err(|failure| failure.into_error(OF))?;
        let (cluster, member) =
            status.header().map_or((0, 0), |header| (header.cluster_id(), header.member_id()));
        let version = status.version();
        Ok(format!("etcd {version}, cluster {cluster:x}, member {member:x}, revision {current}"))
    }
}

#[async_trait::async_trait]
impl Store for Etcd {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.read(collection, id).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.read_many(collection, ids).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.read_list(collection, request).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        self.write_one(collection, write, while_held).await
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.write_each(collection, writes, while_held).await
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        self.start_watch(collection, scope, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.grant_lease(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        self.renew_lease(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.revoke_lease(lease).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.compact_history(keep).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.identify().await
    }
}

/// etcd counts in signed integers. It has no negative revision.
fn to_revision(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

fn from_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
