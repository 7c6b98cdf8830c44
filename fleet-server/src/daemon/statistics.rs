//! The statistics endpoint (`http`): without TLS and without a login, for who is near.

use std::io;
use std::os::unix::fs::PermissionsExt;

use axum::Router;
use fleet_service::drain::Drain;
use tokio::net::{TcpListener, UnixListener};
use tracing::{info, warn};

use super::Error;
use crate::config::statistics::Address;

/// The mode of the socket: for its owner, and for a group that may read.
const SOCKET_MODE: u32 = 0o740;

/// Serves `router` at `address` until the drain.
pub(super) async fn serve(address: &Address, router: Router, drain: &Drain) -> Result<(), Error> {
    let bind = |address: String| move |source| Error::Bind { address, source };
    let token = drain.token().clone();
    match address {
        Address::Tcp(host, port) => {
            let listener = TcpListener::bind((host.as_str(), *port)).await;
            let listener = listener.map_err(bind(format!("{host}:{port} (http)")))?;
            info!(address = %super::address(&listener), "statistics are served");
            let serving = axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned());
            drain.spawn("statistics", async move { tell(serving.await) });
        }
        Address::Unix(path) => {
            // Left behind by a server that was killed.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path).map_err(bind(format!("{} (http)", path.display())))?;
            let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
            std::fs::set_permissions(path, mode).map_err(bind(format!("{} (http)", path.display())))?;
            info!(address = %path.display(), "statistics are served");
            let serving = axum::serve(listener, router).with_graceful_shutdown(token.cancelled_owned());
            drain.spawn("statistics", async move { tell(serving.await) });
        }
    }
    Ok(())
}

fn tell(ended: io::Result<()>) {
    if let Err(error) = ended {
        warn!(error = &error as &dyn std::error::Error, "statistics are not served any more");
    }
}
