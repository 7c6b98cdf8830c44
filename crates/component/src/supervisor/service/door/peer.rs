//! Which user is at the other end of a connection of this machine, as the system's table of connections has it.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Of a line: the number, the local address, the remote one, the state, four counters, and the user.
const LOCAL: usize = 1;
const REMOTE: usize = 2;
const USER: usize = 7;
/// The tables: sockets of version 6 may have connections of version 4.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// Before an address of version 4 in the second one.
const MAPPED: &str = "0000000000000000FFFF0000";

/// The user whose connection goes from `peer` to `here`.
pub(super) async fn user(peer: SocketAddr, here: SocketAddr) -> io::Result<u32> {
    for table in TABLES {
        let found = match tokio::fs::read_to_string(table).await {
            Ok(table) => find(&table, peer, here),
            // A system without version 6 has no such table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(user) = found {
            return Ok(user);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("the connection from {peer} is in no table")))
}

fn find(table: &str, peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    let (peer, here) = (written(peer)?, written(here)?);
    let is = |field: &str, address: &str| field.strip_prefix(MAPPED).unwrap_or(field) == address;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = is(fields.get(LOCAL)?, &peer) && is(fields.get(REMOTE)?, &here);
        if is_it { fields.get(USER)?.parse().ok() } else { None }
    })
}

/// An address of version 4 as the tables have it.
fn written(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    // The bytes as they lie in memory, read as a number of this machine.
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   1: 0100007F:C350 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
   2: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:0050 01 0:0 00:0 0  33        0 3
   3: broken
";

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_user_of_the_other_end_is_found() {
        assert_eq!(find(TABLE, at(50000), at(80)), Some(1000));
        assert_eq!(find(TABLE, at(50001), at(80)), Some(33));
        assert_eq!(find(TABLE, at(50002), at(80)), None);
        assert_eq!(find("", at(50000), at(80)), None);
    }
}
