//! What a connection costs that only waits. A file of its own, because it measures its process.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, Read, Write};
use std::sync::Arc;

use fleet_service::config::value::Secret;
use fleet_service::tls::{Pem, ServerTls};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection, SideData,
};

/// The most that one may cost, in bytes: half of what is planned for an agent, with all that belongs to it.
/// Of the 7.5 KB that were measured, 4 KB are the buffer into which rustls reads.
const MOST: usize = 8 * 1024;

const CONNECTIONS: usize = 3000;

/// What goes through a connection before it waits: more than any buffer holds.
const PAYLOAD: usize = 100 * 1024;

#[test]
fn a_connection_that_waits_is_small_whatever_went_through_it_before() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let inline = |pem| Pem::Inline(Secret::new(pem));
    let settings = ServerTls::new(inline(own.cert.pem()), inline(own.signing_key.serialize_pem()));
    let server = settings.load().unwrap().config;
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    // All are held to the end: what one round frees would serve the next.
    let mut all = Vec::with_capacity(3 * CONNECTIONS);
    for version in [&TLS13, &TLS12] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let client = Arc::new(client);
        let held = |count| (0..count).map(|_| parked(&client, &server)).collect::<Vec<_>>();
        all.extend(held(200));
        let before = resident();
        all.extend(held(CONNECTIONS));
        let each = resident().saturating_sub(before) / CONNECTIONS;
        println!("{version:?}: {each} bytes");
        assert!((1024..=MOST).contains(&each), "{version:?}: {each} bytes");
    }
}

/// A server's connection that has waited in vain for more to read; its client is gone.
fn parked(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Box<ServerConnection> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = Box::new(ServerConnection::new(Arc::clone(server)).unwrap());
    let payload = vec![7; PAYLOAD];
    let (mut to_server, mut to_client) = (&payload[..], &payload[..]);
    let (mut at_server, mut at_client) = (0, 0);
    while at_server < PAYLOAD || at_client < PAYLOAD {
        if !client.is_handshaking() {
            let sent = client.writer().write(to_server).unwrap();
            to_server = &to_server[sent..];
        }
        at_server += carry(&mut client, &mut server);
        if !server.is_handshaking() {
            let sent = server.writer().write(to_client).unwrap();
            to_client = &to_client[sent..];
        }
        at_client += carry(&mut server, &mut client);
    }
    let waited = server.read_tls(&mut Nothing).unwrap_err();
    assert_eq!(waited.kind(), io::ErrorKind::WouldBlock);
    server
}

/// Carries what one has to say to the other, which reads it all. Answers how much that was.
fn carry<A: SideData, B: SideData>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> usize {
    let (mut wire, mut read) = (Vec::new(), Vec::new());
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets().unwrap();
        // Until there is no more for now.
        let ended = to.reader().read_to_end(&mut read);
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    read.len()
}

/// A socket on which nothing has arrived.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
