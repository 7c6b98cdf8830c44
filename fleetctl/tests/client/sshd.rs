//! A real OpenSSH server. It is started for each connection, with the connection as its standard input, so
//! that no port has to be guessed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::TcpListener;

const SSHD: &str = "/usr/sbin/sshd";

/// A server with host keys of two kinds, that lets the user in who runs the tests.
pub(crate) struct Sshd {
    pub(crate) directory: TempDir,
    pub(crate) port: u16,
    connections: Arc<Mutex<Vec<std::process::Child>>>,
}

/// Whether there is a server to test with. Under `CI=true` its absence is a failure.
pub(crate) fn is_there() -> bool {
    let there = Path::new(SSHD).exists();
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{SSHD} is missing: install openssh-server");
        eprintln!("SKIPPED: {SSHD} is missing: install openssh-server");
    }
    there
}

/// The user who runs the tests.
pub(crate) fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// Makes a key file of a kind without a passphrase.
pub(crate) fn keygen(path: &Path, kind: &str) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "test", "-t", kind, "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

impl Sshd {
    /// Starts a server. Programs in `bin` of its directory come first in its sessions' `PATH`, then those
    /// beside the client.
    pub(crate) async fn start() -> Sshd {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        keygen(&path("host_ed25519"), "ed25519");
        keygen(&path("host_rsa"), "rsa");
        std::fs::write(path("authorized_keys"), "").unwrap();
        std::fs::create_dir(path("bin")).unwrap();
        let client = Path::new(env!("CARGO_BIN_EXE_fleetctl")).parent().unwrap().display().to_string();
        let search = format!("{}:{client}:/usr/bin:/bin", path("bin").display());
        std::fs::create_dir(path("home")).unwrap();
        let config = format!(
            "HostKey {0}/host_ed25519\nHostKey {0}/host_rsa\nAuthorizedKeysFile {0}/authorized_keys\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n\
             KbdInteractiveAuthentication no\nSetEnv PATH={search} HOME={0}/home\n",
            directory.path().display(),
        );
        std::fs::write(path("config"), config).unwrap();
        if user() == "root" {
            // Where the part that talks to strangers is locked up.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sshd = Sshd { port, connections: Arc::default(), directory };
        let (config, connections) = (sshd.path("config"), Arc::clone(&sshd.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let (input, output) = (OwnedFd::from(stream.try_clone().unwrap()), OwnedFd::from(stream));
                let child = Command::new(SSHD)
                    .args(["-i", "-e", "-f"])
                    .arg(&config)
                    .stdin(Stdio::from(input))
                    .stdout(Stdio::from(output))
                    .stderr(Stdio::null())
                    .spawn();
                connections.lock().unwrap().push(child.unwrap());
            }
        });
        sshd
    }

    /// A file of the server's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets the owner of a key in.
    pub(crate) fn authorize(&self, key: &Path) {
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let file = self.path("authorized_keys");
        let known = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, known + &public).unwrap();
    }

    /// A program that the server's sessions find.
    pub(crate) fn program(&self, name: &str, script: &str) {
        install(&self.path("bin"), name, script);
    }

    /// The server's host key of a kind, as it stands in files of known hosts.
    pub(crate) fn host_key(&self, kind: &str) -> String {
        let public = std::fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        public.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// What the client calls the server.
    pub(crate) fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for child in self.connections.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes an executable script.
pub(crate) fn install(directory: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
