//! Who the user is: the keys of the ssh-agent, else key files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, load_secret_key};
use tokio::net::UnixStream;

use super::connection::Peer;
use super::error::SshError;

/// The names of key files in `~/.ssh`, in the order they are tried.
const KEY_FILES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Where keys come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySources {
    /// The agent's socket (`SSH_AUTH_SOCK`).
    pub(crate) agent: Option<PathBuf>,
    /// The directory of key files (`~/.ssh`).
    pub(crate) directory: Option<PathBuf>,
}

/// Keys that can be shown to a server.
pub(crate) enum Keys {
    /// Those of an agent, which signs for us.
    Agent(AgentClient<UnixStream>, Vec<AgentIdentity>),
    /// Those of files.
    Files(Vec<Arc<PrivateKey>>),
}

impl Keys {
    /// Collects the keys there are. An agent that has some is preferred; files that cannot be used (a
    /// passphrase) are passed over.
    pub(crate) async fn collect(sources: &KeySources) -> Result<Keys, SshError> {
        let mut agent_failure = None;
        if let Some(path) = &sources.agent {
            match ask_agent(path).await {
                Ok((agent, identities)) if !identities.is_empty() => {
                    return Ok(Keys::Agent(agent, identities));
                }
                Ok(_) => tracing::debug!("the ssh-agent holds no keys"),
                Err(error) => agent_failure = Some(error),
            }
        }
        let files = sources.directory.as_deref().map(read_files).unwrap_or_default();
        match (files.is_empty(), agent_failure) {
            (false, _) => Ok(Keys::Files(files)),
            (true, Some(error)) => Err(error),
            (true, None) => Err(SshError::NoKeys),
        }
    }

    /// Shows the keys to the server, one by one, until it accepts one.
    pub(crate) async fn authenticate(
        self,
        session: &mut Handle<Peer>,
        user: &str,
        host: &str,
    ) -> Result<(), SshError> {
        let count = match &self {
            Keys::Agent(_, identities) => identities.len(),
            Keys::Files(files) => files.len(),
        };
        let accepted = match self {
            Keys::Agent(agent, identities) => with_agent(session, user, agent, identities).await?,
            Keys::Files(files) => with_files(session, user, files).await?,
        };
        if accepted {
            Ok(())
        } else {
            Err(SshError::Authentication { user: user.to_owned(), host: host.to_owned(), keys: count })
        }
    }
}

async fn ask_agent(path: &Path) -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), SshError> {
    let failed = |source| SshError::Agent { path: path.to_owned(), source };
    let mut agent = AgentClient::connect_uds(path).await.map_err(failed)?;
    let identities = agent.request_identities().await.map_err(failed)?;
    Ok((agent, identities))
}

fn read_files(directory: &Path) -> Vec<Arc<PrivateKey>> {
    KEY_FILES
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| path.exists())
        .filter_map(|path| match load_secret_key(&path, None) {
            Ok(key) => Some(Arc::new(key)),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the key file cannot be used");
                None
            }
        })
        .collect()
}

async fn with_agent(
    session: &mut Handle<Peer>,
    user: &str,
    mut agent: AgentClient<UnixStream>,
    identities: Vec<AgentIdentity>,
) -> Result<bool, SshError> {
    for identity in identities {
        let result = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                let hash = if key.algorithm().is_rsa() { rsa_hash(session).await? } else { None };
                session.authenticate_publickey_with(user, key, hash, &mut agent).await?
            }
            AgentIdentity::Certificate { certificate, .. } => {
                let hash = if certificate.algorithm().is_rsa() { rsa_hash(session).await? } else { None };
                session.authenticate_certificate_with(user, certificate, hash, &mut agent).await?
            }
        };
        if accepted(&result) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn with_files(
    session: &mut Handle<Peer>,
    user: &str,
    files: Vec<Arc<PrivateKey>>,
) -> Result<bool, SshError> {
    for key in files {
        let hash = if key.algorithm().is_rsa() { rsa_hash(session).await? } else { None };
        let result = session.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, hash)).await?;
        if accepted(&result) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The hash for an RSA signature: the best the server names, SHA-512 when it names none (RFC 8332).
async fn rsa_hash(session: &Handle<Peer>) -> Result<Option<HashAlg>, SshError> {
    Ok(session.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha512)))
}

fn accepted(result: &AuthResult) -> bool {
    if let AuthResult::Failure { remaining_methods, partial_success } = result {
        tracing::debug!(?remaining_methods, partial_success, "the server refuses a key");
    }
    result.success()
}
