//! `unix`: messages over a socket in the file system, as a stream or as datagrams.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::{UnixDatagram, UnixListener, UnixStream};

use super::connection::Reading;
use super::datagram::{self, Ended, Socket};
use super::listener::{self, Listener, Service};
use super::message::Shape;
use super::shared::Shared;
use super::{listens, options};
use crate::config::{Config, Mistake};
use crate::input::{Context, Input};

/// The system's limit on paths of sockets.
const LONGEST_PATH: usize = 107;
/// Datagrams of Unix sockets are not longer than the system's buffers.
const LONGEST_DATAGRAM: usize = 1 << 20;
/// Nothing has to be looked at.
const NEVER: Duration = Duration::from_secs(86_400);

/// Messages over a Unix socket.
#[derive(Debug)]
pub(super) struct Unix {
    path: PathBuf,
    datagrams: bool,
    mode: Option<u32>,
    group: Option<String>,
    reading: Reading,
    connections: usize,
    shape: Arc<Shape>,
}

impl Unix {
    pub(super) fn read(config: &Config, shape: Shape) -> Result<Unix, Mistake> {
        options::allow(config);
        let path = config.text("path")?.filter(|path| !path.is_empty());
        let missing = || config.mistake("path", "is missing: say where the socket is to be");
        let path = config.or(String::new(), path.ok_or_else(missing))?;
        if path.len() > LONGEST_PATH || path.contains('\0') {
            let problem =
                format!("is longer than {LONGEST_PATH} bytes, which no socket's path may be: choose another");
            config.or((), Err(config.mistake("path", problem)))?;
        }
        let datagrams = match config.text("socket_type")?.as_deref() {
            None | Some("stream") => false,
            Some("datagram") => true,
            Some(_) => config.or(false, Err(config.mistake("socket_type", "must be stream or datagram")))?,
        };
        let mode = config.text("mode")?.map(|text| u32::from_str_radix(text.trim_start_matches("0o"), 8));
        let mode = mode.transpose().ok().filter(|mode| mode.is_none_or(|mode| mode <= 0o777));
        let wrong = || config.mistake("mode", "must be an octal mode, such as \"0660\"");
        let mode = config.or(None, mode.ok_or_else(wrong))?;
        Ok(Unix {
            path: path.into(),
            datagrams,
            mode,
            group: config.text("group")?.filter(|group| !group.is_empty()),
            reading: options::reading(config)?,
            connections: options::connections(config)?,
            shape: Arc::new(shape),
        })
    }

    /// Gives the socket to those who may write to it.
    fn open_up(&self) -> Result<(), String> {
        let path = self.path.display();
        if let Some(mode) = self.mode {
            fs::set_permissions(&self.path, Permissions::from_mode(mode))
                .map_err(|error| format!("mode: cannot set that of {path}: {error}"))?;
        }
        if let Some(name) = &self.group {
            let groups = fs::read_to_string("/etc/group").map_err(|error| format!("group: {error}"))?;
            let group =
                group_id(&groups, name).ok_or_else(|| format!("group: there is no group {name:?}"))?;
            std::os::unix::fs::chown(&self.path, None, Some(group))
                .map_err(|error| format!("group: cannot give {path} to {name}: {error}"))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Input for Unix {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let path = self.path.display().to_string();
        let wrong = |error: io::Error| super::cannot_listen("unix", &path, &error);
        clear(&self.path).await.map_err(wrong)?;
        let shared = Shared::new(context, &self.shape, self.reading.most);
        let ended = if self.datagrams {
            let socket = UnixDatagram::bind(&self.path).map_err(wrong)?;
            let _file = Remove(&self.path);
            self.open_up()?;
            listens(context, "unix", &path, "");
            let most = self.reading.most.min(LONGEST_DATAGRAM);
            datagram::serve(&Socket::Unix(socket, path.clone()), most, &shared, NEVER, || {}).await
        } else {
            let listener = UnixListener::bind(&self.path).map_err(wrong)?;
            let _file = Remove(&self.path);
            self.open_up()?;
            listens(context, "unix", &path, "");
            let service = Service { reading: self.reading.clone(), tls: None, connections: self.connections };
            listener::serve(&Listener::Unix(listener, path.clone()), service, &shared).await;
            Ended::Stopped
        };
        match ended {
            Ended::Stopped => Ok(()),
            Ended::Broken(error) => Err(format!("unix://{path} cannot be read: {error}")),
        }
    }
}

/// Takes the socket's file away when nobody reads it any more.
struct Remove<'a>(&'a Path);

impl Drop for Remove<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

/// Removes what an earlier run left; a socket that somebody reads, and what is no socket, stays.
async fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("there is something that is no socket"));
    }
    let stream = UnixStream::connect(path).await.err().map(|error| error.kind());
    let datagram = UnixDatagram::unbound()?.connect(path).err().map(|error| error.kind());
    // Of both kinds of sockets, the wrong one is refused for another reason.
    if stream == Some(io::ErrorKind::ConnectionRefused) || datagram == Some(io::ErrorKind::ConnectionRefused)
    {
        return fs::remove_file(path);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The number of a group in `/etc/group`'s form; a number is one itself.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok())?
    };
    groups.lines().find_map(number).or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names_and_numbers() {
        let groups = "root:x:0:\nadm:x:4:syslog,ubuntu\n";
        assert_eq!(
            (group_id(groups, "adm"), group_id(groups, "7"), group_id(groups, "no")),
            (Some(4), Some(7), None)
        );
    }
}
