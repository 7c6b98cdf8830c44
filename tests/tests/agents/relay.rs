//! The way from machines to an engine that listens on this host's loopback only.

use std::net::SocketAddr;

use fleet_tests::HarnessError;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes connections on; it ends when this is dropped, and every connection with it.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    _running: JoinSet<()>,
}

impl Relay {
    /// From a free port of `host` to a port of the loopback.
    pub(crate) async fn start(host: std::net::Ipv4Addr, port: u16) -> Result<Relay, HarnessError> {
        let failed = |error: std::io::Error| HarnessError::Unexpected(format!("a relay on {host}: {error}"));
        let listener = TcpListener::bind((host, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        // Either side may end it at any moment.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Relay { address, _running: running })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
