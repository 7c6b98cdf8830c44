//! What a new process is told on its standard input, and a service where it asks: one message, to the end of it.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Agent;
use crate::wire;

/// More than this is no such message, in bytes.
const LARGEST: u64 = 1 << 20;
/// An agent that is there has told it by then.
const FETCH_MAX: Duration = Duration::from_secs(10);

/// Why a component does not know where its agent is.
#[derive(Debug, thiserror::Error)]
pub enum StartUpError {
    /// The standard input cannot be read.
    #[error("what the agent says on the standard input cannot be read")]
    Read(#[source] io::Error),
    /// Nobody tells it at this address.
    #[error("the agent cannot be asked at {address} how it is reached")]
    Fetch {
        /// The address.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing was there: nobody has started this as a component.
    #[error("there is nothing on the standard input: this is to be started by an agent")]
    Nothing,
    /// There is something else.
    #[error("what is on the standard input is not from an agent")]
    Decode(#[source] prost::DecodeError),
    /// The agent does not speak what this speaks.
    #[error("the agent does not offer check-ins of version 2: it is too old")]
    TooOld,
    /// The address is none.
    #[error("the agent's address {address:?} is not host:port or unix:///path")]
    Address {
        /// What it is.
        address: String,
    },
}

/// Where the agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// At a socket in the file system.
    Unix(PathBuf),
}

/// `host:port` or `unix:///path`.
impl FromStr for Address {
    type Err = StartUpError;

    fn from_str(text: &str) -> Result<Address, StartUpError> {
        let wrong = || StartUpError::Address { address: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Address::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        Ok(Address::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Address {
    /// Connects to it.
    pub(super) async fn open(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        let stream: Box<dyn Stream> = match self {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(stream)
    }
}

/// What a new process is told.
#[derive(Clone)]
pub struct StartUp {
    /// Where the agent is.
    pub address: Address,
    /// What the agent's certificate is for.
    pub server_name: String,
    /// What the component says who it is with.
    pub token: String,
    /// The agent's authority, PEM.
    pub authority: Vec<u8>,
    /// The component's certificate, PEM.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Vec<u8>,
    /// Whether the agent takes large messages in pieces.
    pub takes_chunks: bool,
    /// The largest message in bytes.
    pub max_message_size: usize,
    /// What the agent was when the process was started.
    pub agent: Agent,
}

impl fmt::Debug for StartUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartUp")
            .field("address", &self.address)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl StartUp {
    /// Reads the standard input to its end. Waits for that: not for a thread that others wait for.
    ///
    /// # Errors
    /// It is not from an agent, or from one that is too old.
    pub fn read() -> Result<StartUp, StartUpError> {
        let mut bytes = Vec::new();
        Read::take(io::stdin().lock(), LARGEST).read_to_end(&mut bytes).map_err(StartUpError::Read)?;
        StartUp::decode(&bytes)
    }

    /// Asks where the agent waits for its service.
    ///
    /// # Errors
    /// There is no agent, or one that is too old.
    pub async fn fetch(address: &Address) -> Result<StartUp, StartUpError> {
        let failed = |source| StartUpError::Fetch { address: address.clone(), source };
        let fetching = async {
            let mut bytes = Vec::new();
            address.open().await?.take(LARGEST).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        let bytes = timeout(FETCH_MAX, fetching).await.map_err(|late| failed(late.into()))?;
        StartUp::decode(&bytes.map_err(failed)?)
    }

    /// The same of a message that was read already.
    ///
    /// # Errors
    /// It is not from an agent, or from one that is too old.
    pub fn decode(bytes: &[u8]) -> Result<StartUp, StartUpError> {
        if bytes.is_empty() {
            return Err(StartUpError::Nothing);
        }
        let message = wire::StartUp::decode(bytes).map_err(StartUpError::Decode)?;
        if !message.services.contains(&wire::Service::CheckinV2.into()) {
            return Err(StartUpError::TooOld);
        }
        let max = usize::try_from(message.max_message_size).unwrap_or_default();
        Ok(StartUp {
            address: message.address.parse()?,
            takes_chunks: message.supports.contains(&wire::Feature::Chunks.into()),
            max_message_size: if max == 0 { crate::MAX_MESSAGE_SIZE } else { max },
            agent: message.agent.as_ref().map(Agent::from_wire).unwrap_or_default(),
            server_name: message.server_name,
            token: message.token,
            authority: message.authority,
            certificate: message.certificate,
            key: message.key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> wire::StartUp {
        wire::StartUp {
            address: "localhost:6789".to_owned(),
            services: vec![wire::Service::CheckinV2.into()],
            supports: vec![wire::Feature::Chunks.into()],
            ..wire::StartUp::default()
        }
    }

    #[test]
    fn what_an_agent_says_is_read() {
        let start_up = StartUp::decode(&message().encode_to_vec()).expect("a message");
        assert_eq!(start_up.address, Address::Tcp { host: "localhost".to_owned(), port: 6789 });
        assert_eq!(start_up.max_message_size, crate::MAX_MESSAGE_SIZE);
        assert!(start_up.takes_chunks);
    }

    #[test]
    fn addresses_have_two_forms() {
        let parse = |text: &str| text.parse::<Address>().ok();
        assert_eq!(parse("unix:///run/x.sock"), Some(Address::Unix("/run/x.sock".into())));
        assert_eq!(parse("[::1]:80"), Some(Address::Tcp { host: "::1".to_owned(), port: 80 }));
        for broken in ["", "localhost", ":80", "localhost:x", "localhost:99999", "unix://x", "npipe:///x"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
        for written in ["unix:///run/x.sock", "[::1]:80", "localhost:6789"] {
            assert_eq!(parse(written).map(|address| address.to_string()).as_deref(), Some(written));
        }
    }

    #[test]
    fn what_is_not_from_an_agent_is_refused() {
        assert!(matches!(StartUp::decode(b""), Err(StartUpError::Nothing)));
        assert!(matches!(StartUp::decode(b"\xff\xff\xff"), Err(StartUpError::Decode(_))));
        let old = wire::StartUp { services: Vec::new(), ..message() };
        assert!(matches!(StartUp::decode(&old.encode_to_vec()), Err(StartUpError::TooOld)));
    }
}
