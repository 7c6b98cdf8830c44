//! A socket in the file system that nobody but its owner can connect to, from its first moment on.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen as begin, socket_with,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Duration, timeout};

use super::DoorError;
use crate::supervisor::service::is_ours;

/// What the system has for the path, less the zero at its end.
const LONGEST_PATH: usize = 107;
/// Connections that may wait.
const BACKLOG: i32 = 8;
/// Somebody who listens is there in this time.
const TRY_MAX: Duration = Duration::from_secs(1);

/// Listens at a path, where nobody else does.
pub(super) async fn listen(path: &Path) -> Result<UnixListener, DoorError> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(DoorError::TooLong { path: path.to_owned(), length, most: LONGEST_PATH });
    }
    check_folder(path)?;
    make_room(path).await?;
    let refused = |source| DoorError::Listen { place: format!("unix://{}", path.display()), source };
    make(path).map_err(refused)
}

/// Whoever can write its directory could put a socket of their own in the place of this one, and be the service's agent.
fn check_folder(path: &Path) -> Result<(), DoorError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let unknown = |source| DoorError::Folder { path: path.to_owned(), folder: folder.to_owned(), source };
    let metadata = std::fs::metadata(folder).map_err(unknown)?;
    if !is_ours(&metadata) {
        return Err(DoorError::OpenFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    Ok(())
}

/// Removes what an agent has left that was killed.
async fn make_room(path: &Path) -> Result<(), DoorError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(DoorError::NoSocket { path: path.to_owned() });
        }
        _ => {}
    }
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    match timeout(TRY_MAX, UnixStream::connect(path)).await {
        Ok(Err(error)) if is_refused(&error) => {
            let refused = |source| DoorError::Listen { place: format!("unix://{}", path.display()), source };
            std::fs::remove_file(path).map_err(refused)
        }
        // Somebody lets us in, or is too busy to, or does not want us.
        _ => Err(DoorError::Taken { path: path.to_owned() }),
    }
}

fn make(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Its file gets the mode that it has when it is bound, less the mask: changed afterwards, it would be open to
    // others for a moment.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let mode = std::fs::symlink_metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::remove_file(path)?;
        return Err(io::Error::other("the system makes sockets that others can connect to"));
    }
    // Nobody is let in before this.
    begin(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}
