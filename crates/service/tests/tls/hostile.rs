//! Clients that break off, forge, or talk nonsense.

use std::io;
use std::sync::Arc;

use fleet_service::tls::{AcceptError, Acceptor};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use crate::pki::{Authority, Files};

type Client = tokio_rustls::client::TlsStream<DuplexStream>;
type Server = tokio_rustls::server::TlsStream<DuplexStream>;

struct World {
    acceptor: Acceptor,
    client: Arc<ClientConfig>,
}

impl World {
    fn new(version: &'static SupportedProtocolVersion) -> World {
        let authority = Authority::new();
        let config = Files::new(&authority).settings().load().unwrap().config;
        World { acceptor: Acceptor::new(config), client: Arc::new(authority.client(&[version])) }
    }

    /// A connection over a wire that takes so many bytes at a time.
    async fn connect(&self, wire: usize) -> (Client, Server) {
        let (near, far) = duplex(wire);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let (client, server) = tokio::join!(connector.connect(name, near), self.acceptor.accept(far));
        (client.unwrap(), server.unwrap())
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_connection_that_is_cut_off_is_no_end() {
    for version in VERSIONS {
        let (mut client, mut server) = World::new(version).connect(4096).await;
        client.write_all(b"half of").await.unwrap();
        client.flush().await.unwrap();
        drop(client);
        let mut read = Vec::new();
        let error = server.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read, b"half of");
    }
}

#[tokio::test]
async fn a_forged_record_ends_the_connection_and_the_client_is_told() {
    for version in VERSIONS {
        let (client, mut server) = World::new(version).connect(4096).await;
        let (mut wire, _) = client.into_inner();
        // Application data of the right form, whose tag cannot be right.
        wire.write_all(&[&[23, 3, 3, 0, 64][..], &[7; 64]].concat()).await.unwrap();
        let error = server.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.get_ref().unwrap().is::<rustls::Error>());
        let mut alert = [0; 5];
        wire.read_exact(&mut alert).await.unwrap();
        // In TLS 1.3, alerts are dressed as application data.
        assert_eq!(alert[0], if version.version == rustls::ProtocolVersion::TLSv1_2 { 21 } else { 23 });
    }
}

#[tokio::test]
async fn a_handshake_of_nonsense_is_refused_and_a_short_one_is_cut_off() {
    let world = World::new(&rustls::version::TLS13);
    for (said, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], io::ErrorKind::InvalidData),
        (&[22, 3, 1, 0, 200, 1, 0, 0], io::ErrorKind::UnexpectedEof),
        (&[], io::ErrorKind::UnexpectedEof),
    ] {
        let (mut near, far) = duplex(4096);
        near.write_all(said).await.unwrap();
        near.shutdown().await.unwrap();
        let AcceptError::Handshake(error) = world.acceptor.accept(far).await.unwrap_err() else {
            unreachable!("there is time enough");
        };
        assert_eq!(error.kind(), expected, "{error}");
    }
}

#[tokio::test]
async fn a_first_message_without_end_is_refused() {
    let world = World::new(&rustls::version::TLS13);
    let (mut near, far) = duplex(4096);
    let flood = async {
        // A ClientHello that says it has 16 MB, in records of 16 KB.
        let mut hello = vec![1, 0xff, 0xff, 0xff];
        hello.resize(16_000, 0);
        for _ in 0..1000 {
            let record =
                [&[22, 3, 1, (16_000_u32 >> 8) as u8, (16_000_u32 & 0xff) as u8][..], &hello].concat();
            if near.write_all(&record).await.is_err() {
                return true;
            }
        }
        false
    };
    let (was_cut_off, accepted) = tokio::join!(flood, world.acceptor.accept(far));
    assert!(accepted.is_err() && was_cut_off);
}
