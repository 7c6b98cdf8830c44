//! TLS of both halves: each knows the other by a certificate of the supervisor's own authority.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// gRPC is HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

/// What TLS needs and does not have.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates or the key are not PEM.
    #[error("{what} cannot be read")]
    Pem {
        /// What was read.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// There is no certificate.
    #[error("there is no certificate in {what}")]
    Empty {
        /// What was read.
        what: &'static str,
    },
    /// TLS does not take them.
    #[error("{what} cannot be used")]
    Unusable {
        /// What was used.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Clients' certificates cannot be checked.
    #[error("certificates of clients cannot be checked")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// A component's side: it trusts `authority` alone, and shows `certificate`.
pub(crate) fn client(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<ClientConfig, TlsError> {
    let roots = roots(certificates("the authority", authority)?)?;
    let identity = certificates("the certificate", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|source| TlsError::Pem { what: "the key of the certificate", source })?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable { what: "TLS 1.2 and 1.3", source })?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity, key)
        .map_err(|source| TlsError::Unusable { what: "the certificate", source })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The supervisor's side: it shows what `resolver` finds, and asks for a certificate of `authority`.
pub(crate) fn server(
    authority: CertificateDer<'static>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    let roots = Arc::new(roots(vec![authority])?);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, provider()).build().map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable { what: "TLS 1.2 and 1.3", source })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|source| TlsError::Pem { what, source })?;
    if found.is_empty() { Err(TlsError::Empty { what }) } else { Ok(found) }
}

fn roots(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Unusable { what: "the certificate of the authority", source })?;
    }
    Ok(roots)
}
