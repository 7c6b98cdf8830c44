//! From settings to a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Mutex;

use super::cluster::Cluster;
use super::dial::{Dial, Tcp, Tls, Unix};
use super::endpoint::{Address, Endpoint, EndpointError};
use super::etcd::{self, EtcdError};
use super::http::HttpCluster;
use super::tls::{TlsError, TlsFiles, client_config};
use super::transport::Transport;
use crate::output::Console;
use crate::settings::{Driver, Settings};
use crate::ssh::{self, CommandTunnel, SshError, TcpTunnel};

/// Why there is no client.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("failed initializing SSH client")]
    Ssh {
        #[source]
        source: SshError,
    },
}

/// The cluster that the settings name. Nothing is connected yet, unless there is a tunnel.
pub(crate) async fn open(settings: &Settings, console: &Arc<Console>) -> Result<Box<dyn Cluster>, OpenError> {
    match settings.driver {
        Driver::Api => open_api(settings, console).await,
        Driver::Etcd => open_etcd(settings, console).await,
    }
}

/// The socket that the settings name, if it is one of this machine and not there.
pub(crate) fn missing_socket(settings: &Settings) -> Option<PathBuf> {
    if settings.driver != Driver::Api || settings.tunnel.is_some() {
        return None;
    }
    match Endpoint::parse(settings.endpoints.first()?).ok()?.address {
        Address::Unix(path) if !path.exists() => Some(path),
        _ => None,
    }
}

async fn open_api(settings: &Settings, console: &Arc<Console>) -> Result<Box<dyn Cluster>, OpenError> {
    let first = settings.endpoints.first().map(String::as_str).unwrap_or_default();
    if settings.endpoints.len() > 1 {
        console.warn(format_args!("multiple endpoints provided but only the first ({first}) is used"));
    }
    let endpoint = Endpoint::parse(first)?;
    let dial = way_to(&endpoint, settings, &settings.tls, console).await?;
    let transport = Transport::new(dial, first, endpoint.authority.clone(), settings.request_timeout);
    Ok(Box::new(HttpCluster::new(Box::new(transport), &endpoint.base_url, &endpoint.base_path)))
}

async fn open_etcd(settings: &Settings, console: &Arc<Console>) -> Result<Box<dyn Cluster>, OpenError> {
    let tunnel = match &settings.tunnel {
        Some(bastion) => Some(tunnel(settings, bastion, false).await?),
        None => None,
    };
    let store = etcd::open(settings, tunnel, console).await?;
    Ok(Box::new(HttpCluster::new(Box::new(store), "etcd:/fleet/v1/", "/fleet/v1/")))
}

/// A transport to the management API of the fleet-server at `url`, and what its paths begin with. Certificates
/// are those of `tls`, tunnel and time limit those of `settings`.
pub(crate) async fn open_management(
    url: &str,
    tls: &TlsFiles,
    settings: &Settings,
    console: &Arc<Console>,
) -> Result<(Transport, Endpoint), OpenError> {
    let endpoint = Endpoint::parse_of(url, "/")?;
    let dial = way_to(&endpoint, settings, tls, console).await?;
    let transport = Transport::new(dial, url, endpoint.authority.clone(), settings.request_timeout);
    Ok((transport, endpoint))
}

async fn way_to(
    endpoint: &Endpoint,
    settings: &Settings,
    tls_files: &TlsFiles,
    console: &Arc<Console>,
) -> Result<Box<dyn Dial>, OpenError> {
    match &endpoint.address {
        Address::Unix(path) => match &settings.tunnel {
            None => Ok(Box::new(Unix { path: path.clone() })),
            Some(bastion) => Ok(Box::new(CommandTunnel {
                connection: tunnel(settings, bastion, true).await?,
                socket: path_text(path),
                console: Arc::clone(console),
            })),
        },
        Address::Tcp { host, port, tls } => {
            // Read before anything is connected: a wrong file is told at once.
            let config = if *tls { Some(client_config(tls_files)?) } else { None };
            let plain: Box<dyn Dial> = match &settings.tunnel {
                None => Box::new(Tcp { host: host.clone(), port: *port }),
                Some(bastion) => Box::new(TcpTunnel {
                    connection: tunnel(settings, bastion, false).await?,
                    target: ssh::Address { host: host.clone(), port: *port },
                }),
            };
            Ok(match config {
                Some(config) => Box::new(Tls { inner: plain, host: host.clone(), config }),
                None => plain,
            })
        }
    }
}

async fn tunnel(
    settings: &Settings,
    bastion: &ssh::Address,
    forward_agent: bool,
) -> Result<Arc<Mutex<ssh::Connection>>, OpenError> {
    let connection = settings.connector.connect(bastion, forward_agent).await;
    Ok(Arc::new(Mutex::new(connection.map_err(|source| OpenError::Ssh { source })?)))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
