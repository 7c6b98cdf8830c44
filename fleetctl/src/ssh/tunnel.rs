//! Ways to the API through a remote machine.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::connection::{Address, Connection};
use crate::client::{Dial, DialError, Stream};
use crate::output::Console;

/// What may wait between the two sides.
const BUFFER: usize = 64 * 1024;

/// sshd allows ten sessions on one connection (`MaxSessions`); some are left for others.
const MAX_SESSIONS: usize = 4;

/// To a unix socket of the remote machine, by `fleetctl fd-forward` over there.
pub(crate) struct CommandTunnel {
    pub(crate) connection: Arc<Mutex<Connection>>,
    pub(crate) socket: String,
    pub(crate) console: Arc<Console>,
}

/// To a TCP port that the remote machine can reach.
pub(crate) struct TcpTunnel {
    pub(crate) connection: Arc<Mutex<Connection>>,
    pub(crate) target: Address,
}

impl fmt::Debug for CommandTunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommandTunnel").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl fmt::Debug for TcpTunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TcpTunnel").field("target", &self.target).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl Dial for CommandTunnel {
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let failed = |source| DialError::Tunnel { source: Box::new(source) };
        let channel = self.connection.lock().await.session().await.map_err(failed)?;
        let command = format!("fleetctl fd-forward {}", quote(&self.socket));
        tracing::debug!(command, "opening a way through the tunnel");
        channel.exec(false, command).await.map_err(|source| failed(source.into()))?;
        let (near, far) = tokio::io::duplex(BUFFER);
        let pump = tokio::spawn(pump(channel, far, Arc::clone(&self.console)));
        Ok(Box::new(Tunnelled { near, pump }))
    }

    fn limit(&self) -> usize {
        MAX_SESSIONS
    }
}

#[async_trait::async_trait]
impl Dial for TcpTunnel {
    async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        let stream = self.connection.lock().await.tcp(&self.target).await;
        Ok(Box::new(stream.map_err(|source| DialError::Tunnel { source: Box::new(source) })?))
    }
}

/// Our end of a tunnel. When it is dropped the carrying ends.
struct Tunnelled {
    near: DuplexStream,
    pump: JoinHandle<()>,
}

impl Drop for Tunnelled {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Carries data between the command and us. What the command says on its standard error is for the user:
/// it tells why there is no way (`fleetctl: command not found`).
async fn pump(mut channel: Channel<Msg>, far: DuplexStream, console: Arc<Console>) {
    let (mut from_us, mut to_us) = tokio::io::split(far);
    let mut buffer = vec![0; BUFFER];
    loop {
        tokio::select! {
            message = channel.wait() => match message {
                Some(ChannelMsg::Data { data }) => {
                    if to_us.write_all(&data).await.is_err() {
                        break;
                    }
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => console.pass_error(&data),
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            },
            read = from_us.read(&mut buffer) => match read {
                Ok(count) if count > 0 => {
                    if channel.data(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                _ => break,
            },
        }
    }
    if let Err(error) = channel.close().await {
        tracing::debug!(%error, "the tunnel was gone already");
    }
}

impl AsyncRead for Tunnelled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tunnelled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(context)
    }
}

/// A word as a POSIX shell reads it back.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@=,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quote("/var/run/fleet.sock"), "/var/run/fleet.sock");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote("foo\\x2d.service"), "'foo\\x2d.service'");
        assert_eq!(quote(""), "''");
    }
}
