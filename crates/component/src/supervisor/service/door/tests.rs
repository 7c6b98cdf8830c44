use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("door.sock");
    (folder, path)
}

async fn open(path: &Path) -> Result<Door, DoorError> {
    let place = Place::Socket(path.to_owned());
    Door::open(&place, "x", Arc::new(|| b"a secret".to_vec())).await
}

async fn taken(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).await.expect("somebody listens");
    let mut told = String::new();
    stream.read_to_string(&mut told).await.expect("a message");
    told
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[tokio::test]
async fn whoever_may_is_told_as_often_as_he_comes() {
    let (_folder, path) = folder();
    let _door = open(&path).await.expect("a door");
    assert_eq!(fs::symlink_metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    for _ in 0..3 {
        assert_eq!(taken(&path).await, "a secret");
    }
}

#[tokio::test]
async fn who_takes_nothing_keeps_nobody_else_away() {
    let (_folder, path) = folder();
    let place = Place::Socket(path.clone());
    // More than a connection holds: it cannot be given to somebody who does not read.
    let grant: Grant = Arc::new(|| vec![b'x'; 8 << 20]);
    let _door = Door::open(&place, "x", grant).await.expect("a door");
    let mut idle = Vec::new();
    for _ in 0..MOST_AT_ONCE - 1 {
        idle.push(UnixStream::connect(&path).await.expect("somebody listens"));
    }
    assert_eq!(taken(&path).await.len(), 8 << 20);
}

#[tokio::test]
async fn what_a_killed_agent_has_left_is_removed() {
    let (_folder, path) = folder();
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let _door = open(&path).await.expect("a door");
    assert_eq!(taken(&path).await, "a secret");
}

#[tokio::test]
async fn a_door_that_is_closed_leaves_nothing_and_can_be_opened_again() {
    let (_folder, path) = folder();
    for _ in 0..2 {
        let door = open(&path).await.expect("a door");
        assert_eq!(taken(&path).await, "a secret");
        drop(door);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn two_services_do_not_share_a_socket() {
    let (_folder, path) = folder();
    let _first = open(&path).await.expect("a door");
    let second = open(&path).await;
    assert!(matches!(second, Err(DoorError::Taken { .. })), "{second:?}");
    assert_eq!(taken(&path).await, "a secret");
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let (_folder, path) = folder();
    fs::write(&path, "precious").expect("a file");
    assert!(matches!(open(&path).await, Err(DoorError::NoSocket { .. })));
    assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
}

#[tokio::test]
async fn a_directory_that_others_can_write_is_refused() {
    let (folder, path) = folder();
    for open_mode in [0o777, 0o1777, 0o770] {
        mode(folder.path(), open_mode);
        let refused = open(&path).await.expect_err("a refusal");
        assert!(refused.to_string().contains("chmod go-w"), "{refused}");
    }
    mode(folder.path(), 0o755);
    open(&path).await.expect("a door");
    let nowhere = open(&folder.path().join("no/where")).await;
    assert!(matches!(nowhere, Err(DoorError::Folder { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn a_path_that_is_too_long_is_told_with_the_fix() {
    let (folder, _) = folder();
    let long = folder.path().join("x".repeat(100));
    let refused = open(&long).await.expect_err("a refusal");
    assert!(refused.to_string().contains("give csocket a shorter one"), "{refused}");
    // The longest one there may be.
    let room = 107 - folder.path().as_os_str().len() - 1;
    open(&folder.path().join("x".repeat(room))).await.expect("a door");
}

#[tokio::test]
async fn a_port_serves_the_same_user() {
    let (_door, place, address) = at_a_free_port().await;
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let mut told = String::new();
    stream.read_to_string(&mut told).await.expect("a message");
    assert_eq!(told, "a secret");
    let second = Door::open(&place, "y", Arc::new(Vec::new)).await;
    assert!(matches!(second, Err(DoorError::Listen { .. })), "{second:?}");
}

/// A door at a port that nobody else has. Between looking for one and opening it, somebody may take it.
async fn at_a_free_port() -> (Door, Place, SocketAddr) {
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let place = Place::Port(free.port());
        if let Ok(door) = Door::open(&place, "x", Arc::new(|| b"a secret".to_vec())).await {
            return (door, place, free);
        }
    }
    panic!("each free port is taken at once");
}

#[test]
fn credentials_are_for_root_and_the_agents_own_user() {
    let own = rustix::process::geteuid().as_raw();
    assert!(may_have(0) && may_have(own));
    assert!(!may_have(own + 1));
}
