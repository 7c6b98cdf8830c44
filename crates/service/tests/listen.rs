//! Listeners: real sockets, unix and TCP.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleet_service::listen::{Address, ListenError, Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

async fn bind(path: &Path) -> Result<Listener, ListenError> {
    Listener::bind(&Address::Unix(path.to_owned())).await
}

/// Answers one connection with what it says, reversed.
async fn serve_one(listener: &Listener) -> Stream {
    let mut stream = listener.accept().await;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    text.reverse();
    stream.write_all(&text).await.unwrap();
    stream.shutdown().await.unwrap();
    stream
}

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn unix_and_tcp_are_served_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.sock");
    let unix = bind(&path).await.unwrap();
    assert_eq!(unix.address(), format!("unix:{}", path.display()));
    let (served, answer) =
        tokio::join!(serve_one(&unix), async { ask(UnixStream::connect(&path).await.unwrap()).await });
    assert_eq!((served.peer().as_str(), answer.as_str()), ("unix", "cba"));

    let tcp = Listener::bind(&Address::Tcp("127.0.0.1:0".into())).await.unwrap();
    assert!(tcp.address().starts_with("127.0.0.1:") && !tcp.address().ends_with(":0"), "{}", tcp.address());
    let (served, answer) =
        tokio::join!(serve_one(&tcp), async { ask(TcpStream::connect(tcp.address()).await.unwrap()).await });
    assert!(served.peer().starts_with("127.0.0.1:"), "{}", served.peer());
    assert_eq!(answer, "cba");
}

#[tokio::test]
async fn only_the_owner_can_use_a_socket_and_its_file_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.sock");
    let listener = bind(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its file");
    let living = bind(&path).await.unwrap();
    assert!(matches!(bind(&path).await, Err(ListenError::InUse { .. })));
    assert!(path.exists());
    drop(living);
}

#[tokio::test]
async fn dropping_a_listener_leaves_the_file_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.sock");
    let first = bind(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = bind(&path).await.unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn other_files_are_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "text").unwrap();
    let error = bind(&path).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on unix:{}", path.display()));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "there is a file that is no socket");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = Listener::bind(&Address::Tcp("127.0.0.1:0".into())).await.unwrap();
    let address = Address::Tcp(taken.address().to_owned());
    let error = Listener::bind(&address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
}
