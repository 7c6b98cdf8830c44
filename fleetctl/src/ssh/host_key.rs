//! Whether the machine at the far end is the one it should be.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::error::SshError;
use super::known_hosts::{KnownHosts, Verdict, names_of};
use crate::output::Console;

/// Checks host keys against a file, and asks the user about hosts that it does not know.
#[derive(Clone, Debug)]
pub(crate) struct HostKeyChecker {
    known: KnownHosts,
    console: Arc<Console>,
    /// While a person is thinking, no time limit runs.
    asking: Arc<AtomicBool>,
}

impl HostKeyChecker {
    /// A checker over `known`.
    pub(crate) fn new(known: KnownHosts, console: Arc<Console>) -> HostKeyChecker {
        HostKeyChecker { known, console, asking: Arc::new(AtomicBool::new(false)) }
    }

    /// Whether a question is open.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire)
    }

    /// The kinds of key to ask a host for, those that it is known by first: else a host with several keys
    /// could show one that is not known.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let offered = russh::Preferred::DEFAULT.key;
        let known =
            self.known.read().map(|entries| entries.algorithms(&names_of(host, port))).unwrap_or_default();
        let is_known = |algorithm: &&Algorithm| known.iter().any(|kind| same_kind(kind, algorithm));
        let first = offered.iter().filter(is_known);
        let rest = offered.iter().filter(|algorithm| !is_known(algorithm));
        first.chain(rest).cloned().collect()
    }

    /// Accepts or refuses the key that `host` shows.
    pub(crate) async fn check(&self, host: &str, port: u16, key: &PublicKey) -> Result<(), SshError> {
        let names = names_of(host, port);
        let entries = self
            .known
            .read()
            .map_err(|source| SshError::KnownHosts { path: self.known.path().to_owned(), source })?;
        for warning in &entries.warnings {
            self.console.warn(warning);
        }
        match entries.judge(&names, key) {
            Verdict::Known => Ok(()),
            Verdict::Revoked => {
                self.console.note(format_args!(
                    "The host key of '{}' is marked as revoked in {}.",
                    names[0],
                    self.known.path().display()
                ));
                Err(SshError::Revoked)
            }
            Verdict::Mismatch => {
                self.console.note(self.mismatch(key));
                Err(SshError::Mismatch)
            }
            Verdict::Unknown => self.ask(&names[0], key).await,
        }
    }

    async fn ask(&self, name: &str, key: &PublicKey) -> Result<(), SshError> {
        let kind = kind_of(key);
        self.console.ask(format_args!(
            "The authenticity of host '{name}' can't be established.\n{kind} key fingerprint is {}.\n\
             Are you sure you want to continue connecting (yes/no)? ",
            key.fingerprint(HashAlg::Sha256)
        ));
        self.asking.store(true, Ordering::Release);
        let answer = tokio::task::spawn_blocking(read_answer).await.unwrap_or_default();
        self.asking.store(false, Ordering::Release);
        if !matches!(answer.trim().to_lowercase().as_str(), "yes" | "y") {
            self.console.note("Host key verification failed.");
            return Err(SshError::Untrusted);
        }
        match self.known.add(name, key) {
            Ok(()) => self.console.note(format_args!(
                "Warning: Permanently added '{name}' ({kind}) to the list of known hosts."
            )),
            Err(error) => self.console.note(format_args!(
                "Failed to add the host to the list of known hosts ({}): {error}",
                self.known.path().display()
            )),
        }
        Ok(())
    }

    fn mismatch(&self, key: &PublicKey) -> String {
        let rule = "@".repeat(59);
        format!(
            "{rule}\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n{rule}\n\
             IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n\
             Someone could be eavesdropping on you right now (man-in-the-middle attack)!\n\
             It is also possible that a host key has just been changed.\n\
             The fingerprint for the {} key sent by the remote host is\n{}.\n\
             Please contact your system administrator.\n\
             Add correct host key in {} to get rid of this message.\n\
             Host key verification failed.",
            kind_of(key),
            key.fingerprint(HashAlg::Sha256),
            self.known.path().display()
        )
    }
}

/// One line of standard input; nothing when it has ended.
fn read_answer() -> String {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(_) => line,
        Err(error) => {
            tracing::debug!(%error, "no answer can be read");
            String::new()
        }
    }
}

/// Whether a key of one kind can be asked for by the other's name: RSA keys have several names.
fn same_kind(key: &Algorithm, offered: &Algorithm) -> bool {
    match (key, offered) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        _ => key == offered,
    }
}

fn kind_of(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Dsa => "DSA".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        Algorithm::Ed25519 => "ED25519".to_owned(),
        other => other.to_string(),
    }
}
