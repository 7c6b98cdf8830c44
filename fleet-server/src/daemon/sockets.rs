//! The sockets that are listened on.
//!
//! They stay open while a server makes way for another one in the same process: who connects in between waits for
//! the next one and is not refused.

use std::io;

use tokio::net::TcpListener;

use super::Error;

/// The sockets of a process, by what was asked for.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    host: String,
    port: u16,
    listener: std::net::TcpListener,
    is_used: bool,
}

impl Sockets {
    /// The ones of the server that was are closed unless they are asked for again until [`Sockets::close_others`].
    pub(super) fn begin(&mut self) {
        self.held.iter_mut().for_each(|held| held.is_used = false);
    }

    /// Closes what was not asked for since [`Sockets::begin`].
    pub(super) fn close_others(&mut self) {
        self.held.retain(|held| held.is_used);
    }

    /// A socket of this address, the one of before if there is one.
    pub(super) async fn listen(&mut self, host: &str, port: u16) -> Result<TcpListener, Error> {
        let failed = |source| Error::Bind { address: format!("{host}:{port}"), source };
        let is_same = |held: &&mut Held| !held.is_used && held.host == host && held.port == port;
        if let Some(held) = self.held.iter_mut().find(is_same) {
            held.is_used = true;
            return held.listener.try_clone().and_then(TcpListener::from_std).map_err(failed);
        }
        let bound = TcpListener::bind((host, port)).await.map_err(failed)?;
        let (listener, copy) = share(bound).map_err(failed)?;
        self.held.push(Held { host: host.to_owned(), port, listener, is_used: true });
        Ok(copy)
    }
}

fn share(listener: TcpListener) -> io::Result<(std::net::TcpListener, TcpListener)> {
    let listener = listener.into_std()?;
    let copy = TcpListener::from_std(listener.try_clone()?)?;
    Ok((listener, copy))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_outlives_whoever_listens_on_it() {
        let mut sockets = Sockets::default();
        let first = sockets.listen("127.0.0.1", 0).await.unwrap();
        let address = first.local_addr().unwrap();
        drop(first);
        let waiting = TcpStream::connect(address).await.unwrap();
        sockets.begin();
        let second = sockets.listen("127.0.0.1", 0).await.unwrap();
        sockets.close_others();
        assert_eq!(second.local_addr().unwrap(), address);
        let (_, peer) = second.accept().await.unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_is_not_asked_for_is_closed() {
        let mut sockets = Sockets::default();
        let address = sockets.listen("127.0.0.1", 0).await.unwrap().local_addr().unwrap();
        sockets.begin();
        sockets.close_others();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn two_that_ask_for_any_port_get_two() {
        let mut sockets = Sockets::default();
        let first = sockets.listen("127.0.0.1", 0).await.unwrap().local_addr().unwrap();
        let second = sockets.listen("127.0.0.1", 0).await.unwrap().local_addr().unwrap();
        assert_ne!(first, second);
    }
}
