//! Where a service comes for its credentials: it is given what a command reads from its standard input.
//!
//! They hold a private key: whoever has it is the service. So nobody is given them but root and the agent's own user. A
//! socket is made with a mode that lets no one else in, in a directory where nobody else could put another one; and
//! in any case the system is asked who is at the other end.

mod peer;
mod socket;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

use super::place::Place;

/// Makes the message that is given.
pub(super) type Grant = Arc<dyn Fn() -> Vec<u8> + Send + Sync>;

/// So many may be given it at a time: a service is one.
const MOST_AT_ONCE: usize = 4;
/// It must be taken in this time.
const TAKE_MAX: Duration = Duration::from_secs(5);
/// How long to wait when nobody can be let in.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a service cannot come for its credentials.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// The path is too long for the system.
    #[error(
        "the socket {} has a path of {length} bytes, of which there may be {most}: give csocket a shorter one",
        path.display()
    )]
    TooLong { path: PathBuf, length: usize, most: usize },
    /// Where it should lie is no directory that can be looked at.
    #[error("the socket {} cannot be made: {} cannot be looked at", path.display(), folder.display())]
    Folder { path: PathBuf, folder: PathBuf, source: io::Error },
    /// Anybody could put a socket of their own there.
    #[error(
        "the socket {} is refused: {} can be written by others than its owner; chmod go-w it, or give csocket another directory",
        path.display(),
        folder.display()
    )]
    OpenFolder { path: PathBuf, folder: PathBuf },
    /// Something else lies there.
    #[error("{} is there already and is no socket: remove it, or give csocket another path", path.display())]
    NoSocket { path: PathBuf },
    /// Somebody listens there.
    #[error(
        "the socket {} is somebody else's, of another service or another agent: give csocket another path in one of the spec files",
        path.display()
    )]
    Taken { path: PathBuf },
    /// The system does not want it.
    #[error("{place} cannot be listened at")]
    Listen { place: String, source: io::Error },
}

/// A door that is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    socket: Option<PathBuf>,
    _end: DropGuard,
}

/// At once: whoever opens another one there afterwards finds nothing, and does not lose it to this one.
impl Drop for Door {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            // It may be gone with its directory.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[derive(Debug)]
enum Listener {
    Socket(UnixListener),
    Port(TcpListener),
}

impl Door {
    /// Opens it for the service of a component.
    pub(super) async fn open(place: &Place, component: &str, grant: Grant) -> Result<Door, DoorError> {
        let (listener, socket) = match place {
            Place::Socket(path) => (Listener::Socket(socket::listen(path).await?), Some(path.clone())),
            Place::Port(port) => {
                let refused = |source| DoorError::Listen { place: place.to_string(), source };
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await.map_err(refused)?;
                (Listener::Port(listener), None)
            }
        };
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(let_in(listener, component.to_owned(), grant)));
        Ok(Door { socket, _end: end.drop_guard() })
    }
}

async fn let_in(listener: Listener, component: String, grant: Grant) {
    let free = Arc::new(Semaphore::new(MOST_AT_ONCE));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        let (stream, user) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(component, %error, "a service cannot come for its credentials");
                sleep(PAUSE).await;
                continue;
            }
        };
        match user {
            Ok(user) if may_have(user) => {
                info!(component, "a service comes for its credentials");
            }
            Ok(user) => {
                warn!(component, user, "somebody else comes for the credentials of a service: refused");
                // Whoever tries without end fills no log.
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                warn!(component, %error, "it is not known who comes for the credentials of a service: refused");
                sleep(PAUSE).await;
                continue;
            }
        }
        let (message, component) = (grant(), component.clone());
        tokio::spawn(async move {
            give(stream, &message, &component).await;
            drop(permit);
        });
    }
}

/// Whether a user may have a service's private key.
fn may_have(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

async fn give(mut stream: Box<dyn AsyncWrite + Send + Unpin>, message: &[u8], component: &str) {
    let giving = async {
        stream.write_all(message).await?;
        stream.shutdown().await
    };
    match timeout(TAKE_MAX, giving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(component, %error, "a service does not take its credentials"),
        Err(_) => debug!(component, "a service does not take its credentials in time"),
    }
}

type Accepted = (Box<dyn AsyncWrite + Send + Unpin>, io::Result<u32>);

impl Listener {
    /// The next one who comes, and which user that is.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Socket(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map(|peer| peer.uid());
                Ok((Box::new(stream), user))
            }
            Listener::Port(listener) => {
                let (stream, peer) = listener.accept().await?;
                let user = peer::user(peer, stream.local_addr()?).await;
                Ok((Box::new(stream), user))
            }
        }
    }
}

#[cfg(test)]
mod tests;
