//! Files of unix sockets.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Only the owner may connect: who can is root.
const MODE: u32 = 0o600;

/// The file of a socket that this process has bound. Dropping it removes the file, unless another process has
/// put its own there meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Ok(file) = fs::symlink_metadata(&self.path)
            && (file.dev(), file.ino()) == (self.device, self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove socket");
        }
    }
}

/// Binds a socket, under another name first: nobody can connect before it has its mode, and it replaces a file
/// that is there in one step.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    remove_if_there(&temporary)?;
    let socket = UnixListener::bind(&temporary)?;
    let finished = finish(&temporary, path);
    if finished.is_err() {
        remove_if_there(&temporary)?;
    }
    finished.map(|file| (socket, file))
}

fn finish(temporary: &Path, path: &Path) -> io::Result<SocketFile> {
    fs::set_permissions(temporary, Permissions::from_mode(MODE))?;
    let file = fs::symlink_metadata(temporary)?;
    refuse_other_files(path)?;
    fs::rename(temporary, path)?;
    Ok(SocketFile { path: path.to_owned(), device: file.dev(), inode: file.ino() })
}

/// Only a socket is replaced: a mistyped path must not cost a file.
fn refuse_other_files(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The printable address of a bound socket.
pub(super) fn address_of(socket: &std::os::unix::net::UnixListener) -> String {
    let address = socket.local_addr().ok();
    match address.as_ref().and_then(|address| address.as_pathname()) {
        Some(path) => format!("unix:{}", path.display()),
        None => "unix:(unnamed)".to_owned(),
    }
}
