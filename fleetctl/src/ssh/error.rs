//! What can go wrong between here and a remote machine.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no SSH connection, or why it broke.
#[derive(Debug, Error)]
pub(crate) enum SshError {
    #[error(
        "SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running, or that there is an \
         unencrypted key in ~/.ssh (id_ed25519, id_ecdsa, id_rsa)"
    )]
    NoKeys,
    #[error("cannot reach the ssh-agent at {}", path.display())]
    Agent {
        path: PathBuf,
        #[source]
        source: russh::keys::Error,
    },
    #[error("{address:?} is not the address of an SSH server: use HOST or HOST:PORT")]
    Address { address: String },
    #[error("dial tcp {address}: connect")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup { host: String },
    #[error("timed out while initiating SSH connection")]
    Timeout,
    #[error("cannot read known_hosts file {}", path.display())]
    KnownHosts {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("unauthorized host")]
    Untrusted,
    #[error("host key mismatch")]
    Mismatch,
    #[error("host key is revoked")]
    Revoked,
    #[error(
        "ssh: unable to authenticate as {user:?} at {host}: none of {keys} keys is accepted. Is one of them \
         in that user's authorized_keys? --ssh-username names another user"
    )]
    Authentication { user: String, host: String, keys: usize },
    #[error("the far end refuses to forward to {target}")]
    Forward {
        target: String,
        #[source]
        source: russh::Error,
    },
    #[error("the remote command ended without an exit status")]
    NoStatus,
    #[error("the terminal cannot be set up")]
    Terminal {
        #[source]
        source: io::Error,
    },
    #[error("ssh")]
    Protocol {
        #[from]
        source: russh::Error,
    },
    #[error("the ssh-agent does not sign")]
    Signing {
        #[from]
        source: russh::AgentAuthError,
    },
}
