//! TLS for requests to others.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;

use super::error::TlsError;
use super::load;
use super::material::Pem;

/// A configuration that trusts the authorities of the system and speaks HTTP/1.1. Reads files: not for a thread
/// that others wait for.
///
/// # Errors
/// The system has no authorities.
pub fn system() -> Result<Arc<ClientConfig>, TlsError> {
    trusting(&[])
}

/// The same, but it trusts these authorities alone, if there are any.
///
/// # Errors
/// A file of them cannot be read, or holds no certificate.
pub fn trusting(authorities: &[Pem]) -> Result<Arc<ClientConfig>, TlsError> {
    let texts = load::authority_texts(authorities)?;
    let roots = load::authorities(&texts)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Nothing)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
