//! What is passed to a process by systemd: sockets and `NOTIFY_SOCKET`. The environment belongs to a whole
//! process, so this test starts itself anew for each case, with the environment that systemd would give it.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::print_stdout, reason = "tells how it went, as other tests do")]

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use fleet_service::{listen, notify};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// Says which part a started process plays.
const PART: &str = "FLEET_TEST_PART";
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match std::env::var(PART).as_deref() {
        Ok("serve") => serve(),
        Ok("notify") => tell(),
        Ok("refuse") => refuse(),
        _ => {
            let cases: [(&str, fn()); 4] = [
                ("sockets_of_systemd_are_served", sockets_of_systemd_are_served),
                ("without_systemd_there_are_no_sockets", without_systemd_there_are_no_sockets),
                ("what_is_no_socket_is_refused", what_is_no_socket_is_refused),
                ("systemd_is_told", systemd_is_told),
            ];
            for (name, case) in cases {
                case();
                println!("test {name} ... ok");
            }
            ExitCode::SUCCESS
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn start(part: &str, stdin: Stdio, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.env(PART, part).envs(environment.iter().copied()).stdin(stdin).spawn().unwrap()
}

fn wait(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

/// Greets one connection on each socket that was passed, with the socket's address.
fn serve() -> ExitCode {
    let served = runtime().block_on(async {
        let listeners = listen::from_systemd().unwrap();
        for listener in &listeners {
            let mut stream = listener.accept().await;
            stream.write_all(listener.address().as_bytes()).await.unwrap();
        }
        assert_eq!(listen::from_systemd().unwrap().len(), 0, "they are taken once");
        listeners.len()
    });
    ExitCode::from(u8::try_from(served).unwrap())
}

fn refuse() -> ExitCode {
    let error = runtime().block_on(async { listen::from_systemd().unwrap_err().to_string() });
    assert!(error.starts_with("socket 0 that systemd passed is neither"), "{error}");
    ExitCode::SUCCESS
}

fn tell() -> ExitCode {
    runtime().block_on(async {
        notify::ready("serving");
        notify::reloading();
        notify::status("two\nlines");
        let token = CancellationToken::new();
        tokio::join!(notify::keep_watchdog(token.clone()), async {
            notify::stopping("draining");
            token.cancel();
        });
    });
    ExitCode::SUCCESS
}

/// The socket is passed as standard input: from there systemd's protocol would begin at 3, which only unsafe
/// code can arrange.
fn passed(socket: impl Into<OwnedFd>) -> Child {
    start("serve", Stdio::from(socket.into()), &[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")])
}

fn greeting(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn sockets_of_systemd_are_served() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut child = passed(tcp);
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(greeting(stream), address.to_string());
    assert_eq!(child.wait().unwrap().code(), Some(1));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.sock");
    let mut child = passed(UnixListener::bind(&path).unwrap());
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(greeting(stream), format!("unix:{}", path.display()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(path.exists(), "a socket of systemd's stays");
}

fn without_systemd_there_are_no_sockets() {
    wait(start("serve", Stdio::null(), &[]));
    wait(start("serve", Stdio::null(), &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]));
}

fn what_is_no_socket_is_refused() {
    let announced = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
    wait(start("refuse", Stdio::from(File::open("/dev/null").unwrap()), &announced));
    let datagrams = UnixDatagram::unbound().unwrap();
    wait(start("refuse", Stdio::from(OwnedFd::from(datagrams)), &announced));
}

fn systemd_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let path = path.to_str().unwrap();
    let child = start("notify", Stdio::null(), &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "60000000")]);
    let receive = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(receive(), "READY=1\nSTATUS=serving\n");
    let reloading = receive();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(receive(), "STATUS=two lines\n");
    assert_eq!(receive(), "WATCHDOG=1\n");
    assert_eq!(receive(), "STOPPING=1\nSTATUS=draining\n");
    wait(child);
}
