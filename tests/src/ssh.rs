//! SSH keys and an agent that holds them.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::command::Run;
use crate::error::HarnessError;
use crate::wait::{NotYet, wait_for};

/// A key pair in a file of its own.
#[derive(Debug, Clone)]
pub struct SshIdentity(PathBuf);

impl SshIdentity {
    /// Makes a new Ed25519 pair at `path`, in place of what is there.
    pub(crate) async fn generate(path: &Path) -> Result<Self, HarnessError> {
        for old in [path.to_owned(), path.with_extension("pub")] {
            if old.exists() {
                std::fs::remove_file(&old).map_err(HarnessError::file("remove", &old))?;
            }
        }
        let target = path.display().to_string();
        let argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet-tests", "-f", &target];
        Run::new(argv).output().await?.success()?;
        Ok(Self(path.to_owned()))
    }

    /// Where the private key lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The private key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn private(&self) -> Result<String, HarnessError> {
        std::fs::read_to_string(&self.0).map_err(HarnessError::file("read", &self.0))
    }

    /// The public key, as a line of `authorized_keys`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn public(&self) -> Result<String, HarnessError> {
        let path = self.0.with_extension("pub");
        std::fs::read_to_string(&path).map_err(HarnessError::file("read", &path))
    }
}

/// An ssh-agent with one key.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: PathBuf,
    process: Child,
}

impl Agent {
    /// Starts an agent in the slot's cgroup, which ends it, and gives it the key.
    pub(crate) async fn start(slot: u8, folder: &Path, identity: &SshIdentity) -> Result<Self, HarnessError> {
        let socket = folder.join("agent");
        let enter = Cgroup::make(slot, "ssh-agent")?.enter();
        let mut words = enter.iter();
        let process = Command::new(words.next().map_or("sh", String::as_str))
            .args(words)
            .args(["ssh-agent", "-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| HarnessError::Spawn { command: "ssh-agent".to_owned(), source })?;
        let key = identity.path().display().to_string();
        wait_for("ssh-agent takes a key", Duration::from_secs(10), async || {
            let add = Run::new(["ssh-add", "-q", &key]).env("SSH_AUTH_SOCK", &socket);
            add.output().await?.success().map(drop).map_err(NotYet::from)
        })
        .await?;
        Ok(Self { socket, process })
    }

    /// What `SSH_AUTH_SOCK` has to say.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.try_wait().ok();
    }
}
