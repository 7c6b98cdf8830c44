//! Reaching the agent.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::StartUp;
use super::start_up::Address;
use crate::tls::{self, TlsError};
use crate::wire::elastic_agent_client::ElasticAgentClient;

/// What gRPC calls the other side; the connection is made by other means.
const ORIGIN: &str = "http://agent";

/// Why a component cannot reach its agent, ever.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates are of no use.
    #[error("the agent's certificates cannot be used")]
    Tls(#[source] TlsError),
    /// The agent's name is none.
    #[error("the agent's name {name:?} is not one that certificates have")]
    Name {
        /// What it is.
        name: String,
    },
}

/// The agent, to be reached again and again.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    address: Address,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    max_message_size: usize,
}

impl Connector {
    pub(super) fn new(start_up: &StartUp) -> Result<Connector, ConnectError> {
        let tls = tls::client(&start_up.authority, &start_up.certificate, &start_up.key);
        let name = ServerName::try_from(start_up.server_name.clone());
        Ok(Connector {
            address: start_up.address.clone(),
            name: name.map_err(|_| ConnectError::Name { name: start_up.server_name.clone() })?,
            tls: Arc::new(tls.map_err(ConnectError::Tls)?),
            max_message_size: start_up.max_message_size,
        })
    }

    pub(super) async fn connect(&self) -> Result<ElasticAgentClient<Channel>, tonic::transport::Error> {
        let connector = self.clone();
        let service = service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move { connector.open().await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static(ORIGIN).connect_with_connector(service).await?;
        Ok(ElasticAgentClient::new(channel)
            .max_decoding_message_size(self.max_message_size)
            .max_encoding_message_size(self.max_message_size))
    }

    async fn open(
        &self,
    ) -> io::Result<tokio_rustls::client::TlsStream<impl AsyncRead + AsyncWrite + Unpin + Send + use<>>> {
        let stream = self.address.open().await?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), stream).await
    }
}
