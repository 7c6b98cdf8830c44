//! What stands in front of several servers, as a load balancer does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::Server;

/// Hands each connection to the next server in turn; one that does not take it is passed over. It ends when
/// this is dropped, and every connection with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    _running: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn before(servers: &[&Server]) -> Proxy {
        let ports: Arc<[u16]> = servers.iter().map(|server| server.agents_port()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, ports));
        Proxy { port, _running: running }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: TcpListener, ports: Arc<[u16]>) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (ports, next) = (Arc::clone(&ports), Arc::clone(&next));
        connections.spawn(pass(client, ports, next));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, ports: Arc<[u16]>, next: Arc<AtomicUsize>) {
    for _ in 0..ports.len() {
        let port = ports[next.fetch_add(1, Ordering::Relaxed) % ports.len()];
        if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
            // A server that is killed in the middle of it is what this is for.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
