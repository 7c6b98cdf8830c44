//! SSH connections: straight to a machine, or through another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Config, Handle, Msg, Session};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelStream, Disconnect, Preferred};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::error::SshError;
use super::host_key::HostKeyChecker;
use super::keys::{KeySources, Keys};
use crate::client::split_port;

/// How often the far end is asked whether it is still there, so that a dead connection ends.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The address of an SSH server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// How to open connections.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// The user to be over there.
    pub(crate) user: String,
    /// How long opening may take.
    pub(crate) timeout: Duration,
    /// Who checks host keys; `None` accepts any.
    pub(crate) checker: Option<HostKeyChecker>,
    /// Where the user's keys are.
    pub(crate) keys: KeySources,
}

/// An open connection.
pub(crate) struct Connection {
    handle: Handle<Peer>,
    /// The connection that this one goes through: it must live as long.
    bastion: Option<Box<Connection>>,
    /// Whether the far end may use the agent; asked for once.
    forwards_agent: bool,
}

/// What we do when the far end asks for something.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Address,
    checker: Option<HostKeyChecker>,
    agent: Option<PathBuf>,
}

impl Address {
    /// Reads `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Address, SshError> {
        let wrong = || SshError::Address { address: text.to_owned() };
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Address { host: text.to_owned(), port: default_port });
        }
        let (host, port) = split_port(text).map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Address { host, port: port.unwrap_or(default_port) }) }
    }
}

impl Connector {
    /// Opens a connection to `target`. With `forward_agent` the far end may use the user's agent.
    pub(crate) async fn connect(
        &self,
        target: &Address,
        forward_agent: bool,
    ) -> Result<Connection, SshError> {
        let keys = Keys::collect(&self.keys).await?;
        self.limited(async {
            let stream = connect_tcp(target).await?;
            let config = self.config(target);
            let handle = client::connect_stream(config, stream, self.peer(target, forward_agent)).await?;
            self.authenticate(handle, keys, target, None, forward_agent).await
        })
        .await
    }

    /// Opens a connection to `target` through `bastion`.
    pub(crate) async fn connect_through(
        &self,
        bastion: Connection,
        target: &Address,
        forward_agent: bool,
    ) -> Result<Connection, SshError> {
        let keys = Keys::collect(&self.keys).await?;
        self.limited(async {
            let stream = bastion.tcp(target).await?;
            let config = self.config(target);
            let handle = client::connect_stream(config, stream, self.peer(target, forward_agent)).await?;
            self.authenticate(handle, keys, target, Some(bastion), forward_agent).await
        })
        .await
    }

    async fn authenticate(
        &self,
        mut handle: Handle<Peer>,
        keys: Keys,
        target: &Address,
        bastion: Option<Connection>,
        forwards_agent: bool,
    ) -> Result<Connection, SshError> {
        keys.authenticate(&mut handle, &self.user, &target.host).await?;
        Ok(Connection {
            handle,
            bastion: bastion.map(Box::new),
            forwards_agent: forwards_agent && self.keys.agent.is_some(),
        })
    }

    /// Bounds the time of `opening`; the time that a person takes to answer a question does not count.
    async fn limited(
        &self,
        opening: impl Future<Output = Result<Connection, SshError>>,
    ) -> Result<Connection, SshError> {
        let mut opening = std::pin::pin!(opening);
        loop {
            match tokio::time::timeout(self.timeout, &mut opening).await {
                Ok(result) => return result,
                Err(_) if self.checker.as_ref().is_some_and(HostKeyChecker::is_asking) => {}
                Err(_) => return Err(SshError::Timeout),
            }
        }
    }

    fn config(&self, target: &Address) -> Arc<Config> {
        let mut preferred = Preferred::DEFAULT;
        if let Some(checker) = &self.checker {
            preferred.key = checker.algorithms(&target.host, target.port).into();
        }
        Arc::new(Config {
            preferred,
            keepalive_interval: Some(KEEPALIVE),
            nodelay: true,
            ..Config::default()
        })
    }

    fn peer(&self, target: &Address, forward_agent: bool) -> Peer {
        Peer {
            address: target.clone(),
            checker: self.checker.clone(),
            agent: if forward_agent { self.keys.agent.clone() } else { None },
        }
    }
}

impl Connection {
    /// A channel for a shell or a command.
    pub(crate) async fn session(&mut self) -> Result<Channel<Msg>, SshError> {
        let channel = self.handle.channel_open_session().await?;
        // Asked for twice on one connection, servers answer with a failure.
        if std::mem::take(&mut self.forwards_agent) {
            channel.agent_forward(false).await?;
        }
        Ok(channel)
    }

    /// A TCP connection that the far end makes for us.
    pub(crate) async fn tcp(&self, target: &Address) -> Result<ChannelStream<Msg>, SshError> {
        let channel = self
            .handle
            .channel_open_direct_tcpip(target.host.clone(), u32::from(target.port), "127.0.0.1", 0)
            .await
            .map_err(|source| SshError::Forward {
                target: format!("{}:{}", target.host, target.port),
                source,
            })?;
        Ok(channel.into_stream())
    }

    /// Says goodbye. The far end learns of it anyway, so errors do not matter.
    pub(crate) async fn close(self) {
        let mut next = Some(self);
        while let Some(connection) = next {
            if let Err(error) = connection.handle.disconnect(Disconnect::ByApplication, "", "en").await {
                tracing::debug!(%error, "the SSH connection was gone already");
            }
            next = connection.bastion.map(|bastion| *bastion);
        }
    }
}

impl client::Handler for Peer {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let Some(checker) = &self.checker else { return Ok(true) };
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => {
                PublicKey::from(certificate.public_key().clone())
            }
        };
        tracing::debug!(fingerprint = %key.fingerprint(HashAlg::Sha256), host = self.address.host, "host key");
        checker.check(&self.address.host, self.address.port, &key).await?;
        Ok(true)
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        let Some(path) = self.agent.clone() else {
            reply.reject(russh::ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            let copied = async {
                let mut agent = UnixStream::connect(&path).await?;
                tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut agent).await
            };
            if let Err(error) = copied.await {
                tracing::debug!(%error, "forwarding the agent ended");
            }
        });
        Ok(())
    }
}

async fn connect_tcp(target: &Address) -> Result<TcpStream, SshError> {
    let unknown = || SshError::Lookup { host: target.host.clone() };
    let addresses = lookup_host((target.host.as_str(), target.port)).await.map_err(|_| unknown())?;
    let mut failure = unknown();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(source) => failure = SshError::Connect { address: address.to_string(), source },
        }
    }
    Err(failure)
}
