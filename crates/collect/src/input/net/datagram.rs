//! Messages of which each comes in a datagram.

use std::io;
use std::time::Duration;

use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::{Instant, MissedTickBehavior};

use super::shared::Shared;
use crate::outlet::Closed;

/// So many datagrams are taken before those that came with them are handed over.
const BURST: usize = 1000;

/// A socket that takes datagrams.
#[derive(Debug)]
pub(super) enum Socket {
    Udp(UdpSocket),
    /// With its path, for senders that have none of their own.
    Unix(UnixDatagram, String),
}

impl Socket {
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, String)> {
        match self {
            Socket::Udp(socket) => {
                socket.recv_from(buffer).await.map(|(size, peer)| (size, peer.to_string()))
            }
            Socket::Unix(socket, path) => {
                let (size, peer) = socket.recv_from(buffer).await?;
                Ok((size, sender(&peer, path)))
            }
        }
    }

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<(usize, String)> {
        match self {
            Socket::Udp(socket) => socket.try_recv_from(buffer).map(|(size, peer)| (size, peer.to_string())),
            Socket::Unix(socket, path) => {
                let (size, peer) = socket.try_recv_from(buffer)?;
                Ok((size, sender(&peer, path)))
            }
        }
    }
}

fn sender(peer: &tokio::net::unix::SocketAddr, path: &str) -> String {
    peer.as_pathname().map_or_else(|| path.to_owned(), |peer| peer.display().to_string())
}

/// Why no more datagrams come.
#[derive(Debug)]
pub(super) enum Ended {
    /// The input stops.
    Stopped,
    /// The socket broke.
    Broken(io::Error),
}

/// Reads until the input is to stop. While the output has no room nothing is read: of UDP the kernel keeps what fits
/// into the socket's buffer and drops the rest, on a Unix socket senders wait. `look` is called at each interval.
pub(super) async fn serve(
    socket: &Socket,
    most: usize,
    shared: &Shared,
    interval: Duration,
    mut look: impl FnMut(),
) -> Ended {
    // One byte more than allowed tells a datagram that was longer from one that was just as long.
    let mut buffer = vec![0; most + 1];
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let received = tokio::select! {
            biased;
            () = shared.context.stop.cancelled() => return Ended::Stopped,
            _ = ticks.tick() => {
                look();
                continue;
            }
            received = socket.receive(&mut buffer) => received,
        };
        let first = match received {
            Ok(first) => first,
            Err(error) => return Ended::Broken(error),
        };
        match burst(socket, &mut buffer, first, shared).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Broken(error),
            Err(Closed) => return Ended::Stopped,
        }
    }
}

/// Takes what is there.
async fn burst(
    socket: &Socket,
    buffer: &mut [u8],
    first: (usize, String),
    shared: &Shared,
) -> Result<io::Result<()>, Closed> {
    let most = buffer.len() - 1;
    let mut batch = shared.context.batch();
    let mut next = first;
    for left in (0..BURST).rev() {
        let (size, source) = &next;
        let bytes = buffer.get(..(*size).min(most)).unwrap_or_default();
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        shared.push(&mut batch, text, *size > most, source).await?;
        if left == 0 {
            break;
        }
        next = match socket.receive_now(buffer) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                shared.flush(&mut batch).await?;
                return Ok(Err(error));
            }
        };
    }
    shared.flush(&mut batch).await?;
    Ok(Ok(()))
}
