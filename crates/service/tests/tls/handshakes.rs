//! Real handshakes over real sockets, with certificates made for the occasion.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pki::{Authority, Files};
use fleet_service::tls::reload::{Look, Reload};
use fleet_service::tls::{AcceptError, Acceptor, ClientAuthentication, Pem, TlsError};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// A server that answers each byte with the same byte, until the test ends.
async fn echo(acceptor: Acceptor) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    address
}

/// Connects, and has one byte answered: only then is a TLS 1.3 handshake surely accepted by both.
async fn connect(
    address: std::net::SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, socket).await?;
    exchange(&mut stream).await?;
    Ok(stream)
}

async fn exchange(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(b"x").await?;
    stream.flush().await?;
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    assert_eq!(byte, *b"x");
    Ok(())
}

fn acceptor(files: &Files) -> Acceptor {
    Acceptor::new(files.settings().load().unwrap().config)
}

#[tokio::test]
async fn both_versions_and_protocols_are_agreed_on() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let mut settings = files.settings();
    settings.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let address = echo(Acceptor::new(settings.load().unwrap().config)).await;
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        for protocol in [&b"h2"[..], b"http/1.1"] {
            let mut config = authority.client(&[version]);
            config.alpn_protocols = vec![protocol.to_vec()];
            let stream = connect(address, Arc::new(config)).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        }
    }
}

#[tokio::test]
async fn versions_suites_and_curves_are_restricted_to_those_named() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let mut settings = files.settings();
    settings.versions = vec!["TLSv1.2".to_owned()];
    settings.cipher_suites = vec!["ECDHE-ECDSA-AES-256-GCM-SHA384".to_owned()];
    settings.curves = vec!["P-384".to_owned()];
    let address = echo(Acceptor::new(settings.load().unwrap().config)).await;
    let stream = connect(address, Arc::new(authority.client(rustls::ALL_VERSIONS))).await.unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
    let group = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::secp384r1);
    let tls13 = authority.client(&[&rustls::version::TLS13]);
    assert!(connect(address, Arc::new(tls13)).await.is_err());

    settings.versions = vec!["TLSv1.3".to_owned()];
    settings.cipher_suites = vec!["TLS-AES-128-GCM-SHA256".to_owned()];
    assert!(settings.load().is_ok());
    settings.versions = vec!["TLSv1.2".to_owned()];
    assert!(matches!(settings.load().unwrap_err(), TlsError::Nothing(_)));
}

#[tokio::test]
async fn a_session_is_resumed_from_the_clients_ticket() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let acceptor = acceptor(&files);
    let address = echo(acceptor.clone()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(authority.client(&[version]));
        let first = connect(address, Arc::clone(&config)).await.unwrap();
        assert_ne!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        let second = connect(address, Arc::clone(&config)).await.unwrap();
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        // What was agreed under one configuration is not taken up under another.
        acceptor.swap(files.settings().load().unwrap().config);
        let third = connect(address, config).await.unwrap();
        assert_ne!(third.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_asked_for() {
    let (authority, others) = (Authority::new(), Authority::new());
    let files = Files::new(&authority);
    let mut settings = files.settings();
    settings.client_authorities = vec![Pem::from_setting(&authority.certificate_pem())];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (mode, anonymous_is_let_in, stranger_is_let_in) in [
            (ClientAuthentication::None, true, true),
            (ClientAuthentication::Optional, true, false),
            (ClientAuthentication::Required, false, false),
        ] {
            settings.client_authentication = mode;
            let address = echo(Acceptor::new(settings.load().unwrap().config)).await;
            let connected = async |config| connect(address, Arc::new(config)).await.is_ok();
            assert!(connected(authority.client_with(&[version], &authority)).await, "{mode:?}");
            assert_eq!(connected(authority.client(&[version])).await, anonymous_is_let_in, "{mode:?}");
            let stranger = authority.client_with(&[version], &others);
            assert_eq!(connected(stranger).await, stranger_is_let_in, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn new_files_serve_new_connections_while_old_ones_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new(&old);
    let (acceptor, mut reload) = Reload::start(files.settings()).unwrap();
    assert!(matches!(reload.look(), Look::Same));
    let address = echo(acceptor.clone()).await;
    let (trusts_old, trusts_new) =
        (Arc::new(old.client(rustls::ALL_VERSIONS)), Arc::new(new.client(rustls::ALL_VERSIONS)));
    let mut held = connect(address, Arc::clone(&trusts_old)).await.unwrap();

    // A certificate without its key yet is not taken up; what was there serves on.
    let in_use = acceptor.config();
    let (certificate, key) = new.issue();
    files.write_certificate(&certificate);
    assert!(matches!(reload.look(), Look::Bad { is_news: true, error: TlsError::Mismatch { .. } }));
    assert!(matches!(reload.look(), Look::Same));
    std::fs::remove_file(files.path().join("key.pem")).unwrap();
    assert!(matches!(reload.look(), Look::Bad { is_news: true, error: TlsError::Read { .. } }));
    assert!(matches!(reload.look(), Look::Bad { is_news: false, .. }));
    assert!(Arc::ptr_eq(&in_use, &acceptor.config()));
    connect(address, Arc::clone(&trusts_old)).await.unwrap();

    files.write_key(&key);
    let token = CancellationToken::new();
    let task = tokio::spawn(reload.run(Duration::from_millis(5), token.clone()));
    let swapped = async {
        while Arc::ptr_eq(&in_use, &acceptor.config()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swapped).await.unwrap();
    connect(address, trusts_new).await.unwrap();
    assert!(connect(address, trusts_old).await.is_err());
    exchange(&mut held).await.unwrap();

    token.cancel();
    task.await.unwrap();
}

#[test]
fn files_that_come_back_are_taken_up_again() {
    let files = Files::new(&Authority::new());
    let (acceptor, mut reload) = Reload::start(files.settings()).unwrap();
    let (first, key) = (acceptor.config(), files.key());
    for bad in ["", "nonsense"] {
        files.write_key(bad);
        assert!(matches!(reload.look(), Look::Bad { is_news: true, .. }));
        files.write_key(&key);
        assert!(matches!(reload.look(), Look::Swapped { .. }));
        assert!(matches!(reload.look(), Look::Same));
    }
    assert!(!Arc::ptr_eq(&first, &acceptor.config()));
    files.write_key("");
    assert!(matches!(Reload::start(files.settings()), Err(TlsError::NoKey { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_sent_away_in_time() {
    let authority = Authority::new();
    let acceptor = acceptor(&Files::new(&authority)).with_limit(Duration::from_secs(3));
    let (_silent, server) = tokio::io::duplex(64);
    let begun = tokio::time::Instant::now();
    let error = acceptor.accept(server).await.unwrap_err();
    assert!(matches!(error, AcceptError::TooSlow { .. }));
    assert_eq!(error.to_string(), "no TLS handshake within 3s");
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_sent_away() {
    let authority = Authority::new();
    let (mut client, server) = tokio::io::duplex(64);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let error = acceptor(&Files::new(&authority)).accept(server).await.unwrap_err();
    assert!(matches!(error, AcceptError::Handshake(_)));
}
