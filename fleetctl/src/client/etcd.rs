//! `--driver=etcd`: the cluster straight from its store, without a fleetd.
//!
//! The handlers of fleetd's API run in this process over the store, so that both drivers do and say the
//! same. Only Fleet's own layout is understood; the original's is not (`docs/compatibility.md`).

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use fleet_cluster::documents::{MACHINES, MachineDocument};
use fleet_cluster::presence::Membership;
use fleet_store::etcd::{Etcd, Options};
use fleet_store::{LeaseId, Scope, Store, Typed};
use fleetd::api::Api;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use thiserror::Error;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use super::exchange::{Answer, Exchange};
use super::transport::TransportError;
use crate::output::Console;
use crate::settings::Settings;
use crate::ssh::{Address, Connection, SshError};

/// The size of the lists' pages. Nothing crosses a network between handler and client.
const PAGE: u16 = u16::MAX;

/// The store copes with that many requests at a time.
const CONCURRENCY: usize = 8;

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub(crate) enum EtcdError {
    #[error("etcd")]
    Store(#[from] fleet_store::Error),
    #[error("{url:?} cannot be reached through --tunnel: only http://HOST:PORT can. Use --driver=API")]
    Tunnel { url: String },
    #[error("cannot listen for what goes through the tunnel")]
    Listen {
        #[source]
        source: std::io::Error,
    },
    #[error("--endpoint")]
    Endpoint {
        #[source]
        source: SshError,
    },
}

/// The API over a store, in this process.
pub(super) struct InProcess {
    api: Api,
}

/// Opens the store, and warns when it is used by newer programs.
pub(super) async fn open(
    settings: &Settings,
    tunnel: Option<Arc<Mutex<Connection>>>,
    console: &Console,
) -> Result<InProcess, EtcdError> {
    let endpoints = match tunnel {
        Some(tunnel) => through(&settings.endpoints, &tunnel).await?,
        None => settings.endpoints.clone(),
    };
    let options = Options {
        endpoints,
        key_prefix: settings.etcd.key_prefix.clone(),
        request_timeout: settings.etcd.timeout,
        username: settings.etcd.username.clone(),
        password: settings.etcd.password.clone(),
        ca_file: settings.tls.ca.clone(),
        cert_file: settings.tls.certificate.clone(),
        key_file: settings.tls.key.clone(),
    };
    let store: Arc<dyn Store> = Arc::new(Etcd::connect(options)?);
    let engine = store.check().await?;
    tracing::debug!(engine, "the store answers");
    warn_older(&store, console).await?;
    // Who asks the store itself needs no fleetd that is a member of the cluster.
    let (_, membership) = watch::channel(Membership::Member { lease: LeaseId(0), former: None });
    Ok(InProcess { api: Api::new(&store, membership, PAGE) })
}

/// Endpoints on this machine behind which the tunnel leads to the real ones.
async fn through(endpoints: &[String], tunnel: &Arc<Mutex<Connection>>) -> Result<Vec<String>, EtcdError> {
    let mut near = Vec::new();
    for url in endpoints {
        let authority = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .ok_or_else(|| EtcdError::Tunnel { url: url.clone() })?;
        let target = Address::parse(authority, 2379).map_err(|source| EtcdError::Endpoint { source })?;
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.map_err(|source| EtcdError::Listen { source })?;
        let address = listener.local_addr().map_err(|source| EtcdError::Listen { source })?;
        near.push(format!("http://{address}"));
        tokio::spawn(forward(listener, target, Arc::clone(tunnel)));
    }
    Ok(near)
}

async fn forward(listener: TcpListener, target: Address, tunnel: Arc<Mutex<Connection>>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let (tunnel, target) = (Arc::clone(&tunnel), target.clone());
        tokio::spawn(async move {
            let far = tunnel.lock().await.tcp(&target).await;
            match far {
                Ok(mut far) => {
                    if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
                        tracing::debug!(%error, "a connection through the tunnel ended");
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection through the tunnel"),
            }
        });
    }
}

/// Warns when a machine of the cluster runs a newer version: its documents may mean more than we know.
async fn warn_older(store: &Arc<dyn Store>, console: &Console) -> Result<(), EtcdError> {
    let machines: Typed<MachineDocument> = Typed::new(Arc::clone(store), &MACHINES);
    let ours = env!("CARGO_PKG_VERSION");
    let machines = machines.list(Scope::All).await?;
    let versions = machines.values.iter().map(|machine| machine.value.version.as_str());
    let newest = versions.max_by(|one, other| compare_versions(one, other)).unwrap_or(ours);
    if compare_versions(ours, newest) == Ordering::Less {
        console.note(format_args!(
            "####################################################################\n\
             WARNING: fleetctl ({ours}) is older than the latest registered\n\
             version of fleet found in the cluster ({newest}). Please upgrade.\n\
             ####################################################################"
        ));
    }
    Ok(())
}

/// Compares `MAJOR.MINOR.PATCH`, numbers as numbers; what follows the numbers does not count.
fn compare_versions(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        let end = version.find(['-', '+']).unwrap_or(version.len());
        version[..end].split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[async_trait::async_trait]
impl Exchange for InProcess {
    async fn send(&self, method: &Method, path: &str, body: Option<Bytes>) -> Result<Answer, TransportError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(body.unwrap_or_default())
            .map_err(|source| TransportError::Request { source })?;
        let (head, body) = self.api.answer(request).await.into_response().into_parts();
        Ok(Answer { status: head.status, body })
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (one, other, order) in [
            ("2.0.0", "2.0.0", Ordering::Equal),
            ("2.0.0", "2.0.1", Ordering::Less),
            ("2.10.0", "2.9.9", Ordering::Greater),
            ("1.0.0+git", "1.0.0", Ordering::Equal),
            ("2.0.0-rc.1", "2.0.0", Ordering::Equal),
        ] {
            assert_eq!(compare_versions(one, other), order, "{one} {other}");
        }
    }
}
