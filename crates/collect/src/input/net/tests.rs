use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::*;
use crate::input::testing::{Rig, SOON};
use crate::state::State;

const ROOM: u32 = 1 << 20;

fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["message"].as_str().unwrap()).collect()
}

async fn send(address: &str, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

#[tokio::test]
async fn lines_over_tcp_become_events() {
    let rig = Rig::new(ROOM);
    let input = rig.start(&DEFINITION, "tcp", &json!({"host": "127.0.0.1:0", "tags": ["x"]})).unwrap();
    let address = rig.address().await;
    let socket = send(&address, b"one\r\n\ntwo\nthr").await;
    let source = socket.local_addr().unwrap().to_string();
    let events = rig.events(2).await;
    assert_eq!(messages(&events), ["one", "two"]);
    assert_eq!(events[0]["log"], json!({"source": {"address": source}}));
    assert_eq!((&events[0]["input"]["type"], &events[0]["tags"]), (&json!("tcp"), &json!(["x"])));
    // What stands without its end when the client is done is an event too.
    drop(socket);
    assert_eq!(messages(&rig.events(1).await), ["thr"]);
    input.stop().await.unwrap();
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn long_messages_are_cut_and_say_so() {
    let rig = Rig::new(ROOM);
    let settings = json!({"host": "127.0.0.1:0", "max_message_size": 5, "framing": "rfc6587"});
    let input = rig.start(&DEFINITION, "tcp", &settings).unwrap();
    let _socket = send(&rig.address().await, b"9 1234567893 abc<1234567\n").await;
    let events = rig.events(3).await;
    assert_eq!(messages(&events), ["12345", "abc", "<1234"]);
    assert_eq!(events[0]["log"]["flags"], json!(["truncated"]));
    assert_eq!(events[1]["log"].get("flags"), None);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn while_the_output_has_no_room_the_sender_waits() {
    let rig = Rig::new(64 * 1024);
    let input = rig.start(&DEFINITION, "tcp", &json!({"host": "127.0.0.1:0"})).unwrap();
    let mut socket = TcpStream::connect(rig.address().await).await.unwrap();
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    let mut sent = 0_usize;
    // Until the buffers of the system are full, too.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), socket.write(&line)).await {
        sent += written.unwrap();
        assert!(sent < 100 << 20, "nothing held the sender up");
    }
    let left = line.len() - sent % line.len();
    let end = tokio::spawn(async move {
        socket.write_all(&b"x".repeat(left - 1)).await.unwrap();
        socket.write_all(b"\n").await.unwrap();
    });
    let events = rig.events(sent / line.len() + 1).await;
    assert!(events.iter().all(|event| event["message"].as_str().unwrap().len() == 999));
    end.await.unwrap();
    input.stop().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_idle_ones_are_closed() {
    let rig = Rig::new(ROOM);
    let settings = json!({"host": "127.0.0.1:0", "max_connections": 1, "timeout": "200ms"});
    let input = rig.start(&DEFINITION, "tcp", &settings).unwrap();
    let address = rig.address().await;
    let _first = send(&address, b"first\n").await;
    let _second = send(&address, b"second\n").await;
    assert_eq!(messages(&rig.events(1).await), ["first"]);
    // Only when the first has been quiet for too long.
    assert_eq!(messages(&rig.events(1).await), ["second"]);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_told_with_its_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let rig = Rig::new(ROOM);
    let settings = json!({ "host": address });
    let problem = rig.start(&DEFINITION, "tcp", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.starts_with(&format!("cannot listen on tcp://{address}: ")), "{problem}");
    assert!(problem.ends_with("another program or input has it; stop that one, or choose another address"));
    drop(taken);
    let input = rig.start(&DEFINITION, "tcp", &settings).unwrap();
    assert_eq!(rig.address().await, address);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn datagrams_become_events() {
    let rig = Rig::new(ROOM);
    let settings = json!({"host": "127.0.0.1:0", "max_message_size": "1KiB", "read_buffer": "64KiB"});
    let input = rig.start(&DEFINITION, "udp", &settings).unwrap();
    let address = rig.address().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in
        [b"one\n".to_vec(), Vec::new(), b"two\nlines\n".to_vec(), b"x".repeat(1024), b"y".repeat(1025)]
    {
        socket.send_to(&datagram, &address).await.unwrap();
    }
    let events = rig.events(4).await;
    assert_eq!(messages(&events)[..2], ["one", "two\nlines"]);
    assert_eq!(events[0]["log"]["source"]["address"], socket.local_addr().unwrap().to_string());
    assert_eq!((events[2]["log"].get("flags"), &events[3]["log"]["flags"]), (None, &json!(["truncated"])));
    assert_eq!(events[3]["message"].as_str().unwrap().len(), 1024);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn datagrams_that_the_system_drops_are_counted_and_told() {
    let rig = Rig::new(1);
    let settings = json!({"host": "127.0.0.1:0", "read_buffer": 4096});
    let input = rig.start(&DEFINITION, "udp", &settings).unwrap();
    let address = rig.address().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..500 {
        socket.send_to(&[b'x'; 512], &address).await.unwrap();
    }
    // The output takes what has come, so that the input can look at its socket again.
    let drain = async {
        loop {
            for batch in rig.batches().await {
                batch.settle();
            }
        }
    };
    let status = tokio::select! {
        () = drain => unreachable!("it goes on for ever"),
        status = rig.state(|status| status.state == State::Degraded) => status,
    };
    assert!(status.message.contains("dropped"), "{}", status.message);
    assert!(input.counters.datagrams_dropped.get() > 0);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_is_made_used_and_taken_away() {
    use std::os::unix::fs::PermissionsExt;

    let rig = Rig::new(ROOM);
    let path = rig.directory.path().join("log.sock");
    let settings = json!({"path": path, "mode": "0600"});
    // One that nobody reads any more is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let input = rig.start(&DEFINITION, "unix", &settings).unwrap();
    rig.address().await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut socket = UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"one\ntwo\n").await.unwrap();
    let events = rig.events(2).await;
    assert_eq!(messages(&events), ["one", "two"]);
    assert_eq!(events[0]["log"]["source"]["address"], path.to_str().unwrap());
    // Another one must not take it over.
    let problem = rig.start(&DEFINITION, "unix", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("another program or input has it"), "{problem}");
    input.stop().await.unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "a file of somebody").unwrap();
    let problem = rig.start(&DEFINITION, "unix", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("no socket"), "{problem}");
}

#[tokio::test]
async fn datagrams_of_a_unix_socket_become_events() {
    let rig = Rig::new(ROOM);
    let path = rig.directory.path().join("log.sock");
    let settings = json!({"path": path, "socket_type": "datagram"});
    drop(UnixDatagram::bind(&path).unwrap());
    let input = rig.start(&DEFINITION, "unix", &settings).unwrap();
    rig.address().await;
    let socket = UnixDatagram::unbound().unwrap();
    for text in ["one", "two"] {
        socket.send_to(text.as_bytes(), &path).await.unwrap();
    }
    assert_eq!(messages(&rig.events(2).await), ["one", "two"]);
    let problem = rig.start(&DEFINITION, "unix", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("another program or input has it"), "{problem}");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn syslog_is_taken_apart() {
    let rig = Rig::new(ROOM);
    let settings = json!({"format": "auto", "timezone": "UTC", "protocol.udp": {"host": "127.0.0.1:0"}});
    let input = rig.start(&SYSLOG, "syslog", &settings).unwrap();
    let address = rig.address().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for text in [
        "<165>1 2022-01-11T22:14:15.003Z web app 12 id [a b=\"c\"] hello",
        "<13>Oct 11 22:14:15 web su: hi",
        "?",
    ] {
        socket.send_to(text.as_bytes(), &address).await.unwrap();
    }
    let events = rig.events(3).await;
    assert_eq!(messages(&events), ["hello", "hi", "?"]);
    assert_eq!(events[0]["@timestamp"], "2022-01-11T22:14:15.003Z");
    assert_eq!(events[0]["log"]["syslog"]["structured_data"], json!({"a": {"b": "c"}}));
    assert_eq!(events[0]["process"], json!({"name": "app", "pid": 12}));
    assert_eq!(events[0]["host"], json!({"name": "here", "hostname": "web"}));
    assert_eq!(events[1]["event"]["severity"], 5);
    assert!(events[1]["log"]["source"]["address"].is_string());
    assert!(events[2]["error"]["message"].as_str().unwrap().starts_with("no syslog: "));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_syslog_is_named() {
    let rig = Rig::new(ROOM);
    let error = |settings: Value| rig.start(&SYSLOG, "syslog", &settings).err().unwrap().to_string();
    assert!(error(json!({})).starts_with("protocol: is missing"));
    assert!(
        error(json!({"protocol": {"tcp": {"host": ":1"}, "udp": {"host": ":1"}}}))
            .starts_with("protocol: must have one")
    );
    assert!(error(json!({"protocol.tcp": {}})).starts_with("protocol.tcp.host: is missing"));
    assert!(error(json!({"format": "rfc1", "protocol.tcp.host": ":1"})).starts_with("format: must be"));
    assert!(error(json!({"timezone": "X/Y", "protocol.tcp.host": ":1"})).starts_with("timezone: "));
}

mod tls {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::input::testing::Certificates;

    /// Sends a line with a client's certificate or without.
    async fn say(address: &str, ours: &Certificates, shows: bool, line: &[u8]) -> std::io::Result<()> {
        let config = ours.client(shows.then_some(ours));
        let socket = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        stream.write_all(line).await?;
        stream.shutdown().await
    }

    #[tokio::test]
    async fn clients_need_the_certificate_that_is_asked_for() {
        let rig = Rig::new(ROOM);
        let files = Certificates::make(rig.directory.path(), "ours");
        for (authentication, bare_is_let_in) in [("none", true), ("optional", true), ("required", false)] {
            let settings = json!({"host": "127.0.0.1:0", "ssl": {
                "certificate": files.certificate, "key": files.key, "certificate_authorities": [files.authority],
                "client_authentication": authentication,
            }});
            let input = rig.start(&DEFINITION, "tcp", &settings).unwrap();
            let status = rig.state(|status| status.message.contains("listens on tls://")).await;
            let address = status.payload["address"].as_str().unwrap();
            // A refusal may reach the client only after it has sent its line.
            let _ = say(address, &files, false, b"bare\n").await;
            say(address, &files, true, b"with\n").await.unwrap();
            let expected: &[&str] = if bare_is_let_in { &["bare", "with"] } else { &["with"] };
            assert_eq!(messages(&rig.events(expected.len()).await), expected, "{authentication}");
            // Nothing of someone without TLS.
            drop(send(address, b"plain\n").await);
            say(address, &files, true, b"last\n").await.unwrap();
            assert_eq!(messages(&rig.events(1).await), ["last"]);
            input.stop().await.unwrap();
            rig.board.stream("input", "stream", crate::state::Status::new(State::Stopped, ""));
        }
    }

    #[tokio::test]
    async fn a_bad_certificate_is_told_with_its_reason() {
        let rig = Rig::new(ROOM);
        let settings =
            json!({"host": "127.0.0.1:0", "ssl": {"certificate": "/no/such.pem", "key": "/no/such.key"}});
        let problem = rig.start(&DEFINITION, "tcp", &settings).unwrap().ended().await.unwrap_err();
        assert!(problem.starts_with("ssl: certificate /no/such.pem cannot be read"), "{problem}");
    }
}

#[tokio::test]
async fn many_messages_that_never_end_do_not_take_the_memory() {
    let rig = Rig::new(ROOM);
    let settings = json!({"host": "127.0.0.1:0", "max_message_size": "60MiB"});
    let input = rig.start(&DEFINITION, "tcp", &settings).unwrap();
    let address = rig.address().await;
    let mut closed = 0;
    let chunk = vec![b'x'; 1 << 20];
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        for _ in 0..50 {
            if tokio::time::timeout(SOON, socket.write_all(&chunk)).await.unwrap().is_err() {
                closed += 1;
                break;
            }
        }
        sockets.push(socket);
    }
    assert!(closed > 0, "200 MB are held");
    input.stop().await.unwrap();
}
