//! Who this machine is.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use fleet_cluster::documents::MachineId;
use fleet_cluster::environment::Environment;

/// Where the machine's id lies.
pub const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// Why the identity is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no machine id.
    #[error("read the machine id from {path}; `systemd-machine-id-setup` makes one")]
    MachineId {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} holds {content:?}, not 32 hexadecimal digits; `systemd-machine-id-setup` makes a machine id"
    )]
    NoMachineId {
        /// The file.
        path: String,
        /// Its first characters.
        content: String,
    },
    /// The token cannot be kept.
    #[error("keep the token of this boot in {path}; fleetd must be able to write there")]
    Token {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The machine's id.
pub fn machine_id(path: &Path) -> Result<MachineId, Error> {
    let text = fs::read_to_string(path)
        .map_err(|source| Error::MachineId { path: path.display().to_string(), source })?;
    let id = text.trim().to_ascii_lowercase();
    if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(MachineId(id));
    }
    let content = text.chars().take(40).collect();
    Err(Error::NoMachineId { path: path.display().to_string(), content })
}

/// The token of this boot: the file is gone after a reboot, because it lies in `/run`, and it belongs to one
/// machine id only.
pub fn token(directory: &Path, machine: &MachineId, environment: &Environment) -> Result<String, Error> {
    let path = directory.join("token");
    let failed = |source| Error::Token { path: path.display().to_string(), source };
    match fs::read_to_string(&path) {
        Ok(text) => {
            if let Some((id, token)) = text.trim().split_once(' ')
                && id == machine.0
                && token.len() == 32
            {
                return Ok(token.to_owned());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let token = environment.token();
    write_private(directory, &path, &format!("{machine} {token}\n")).map_err(failed)?;
    Ok(token)
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(directory: &Path, path: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let unfinished = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content.as_bytes())?;
    fs::rename(&unfinished, path)
}

/// The IPv4 address that others reach this machine at: the one that the default route goes out with. Empty
/// when there is none.
pub fn public_ip() -> String {
    // Connecting a UDP socket sends nothing: it only asks the kernel for the route, and with it the address.
    // The address asked for is one of TEST-NET-1, which is routed like any other that is not local.
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    match routed.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) if is_global_unicast(address) => address.to_string(),
        _ => String::new(),
    }
}

fn is_global_unicast(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_link_local()
        || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_for_one_machine_id() {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment::seeded(1);
        let one = MachineId("1".repeat(32));
        let first = token(directory.path(), &one, &environment).unwrap();
        assert_eq!(token(directory.path(), &one, &environment).unwrap(), first);
        let other = token(directory.path(), &MachineId("2".repeat(32)), &environment).unwrap();
        assert_ne!(other, first);
        let mode = fs::metadata(directory.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_torn_token_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("token"), "half").unwrap();
        let id = MachineId("1".repeat(32));
        assert_eq!(token(directory.path(), &id, &Environment::seeded(1)).unwrap().len(), 32);
    }

    #[test]
    fn what_is_no_machine_id_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("machine-id");
        assert!(machine_id(&path).unwrap_err().to_string().contains("systemd-machine-id-setup"));
        fs::write(&path, "uninitialized\n").unwrap();
        assert!(machine_id(&path).unwrap_err().to_string().contains("uninitialized"));
        fs::write(&path, "0123456789ABCDEF0123456789abcdef\n").unwrap();
        assert_eq!(machine_id(&path).unwrap().0, "0123456789abcdef0123456789abcdef");
    }
}
