//! TLS for requests to others.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;

use super::error::TlsError;
use super::load;
use super::material::{Passphrase, Pem};
use super::verify::Verifier;

/// How a client makes sure of whom it talks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// The chain ends at a trusted authority, and the certificate is for the name that was asked for.
    #[default]
    Full,
    /// The chain alone counts, whatever name the certificate is for.
    Certificate,
    /// Nobody is checked: only for trying things out.
    None,
}

/// A certificate of the client's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with those of its intermediate authorities behind it.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// What the key is encrypted with.
    pub key_passphrase: Option<Passphrase>,
}

/// A client's TLS settings. The default trusts the authorities of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Whom it trusts; none: the authorities of the system.
    pub authorities: Vec<Pem>,
    /// SHA-256 of certificates of authorities: one of them that the server sends is trusted too.
    pub fingerprints: Vec<[u8; 32]>,
    /// SHA-256 of public keys (`SubjectPublicKeyInfo`) of authorities: if there are any, a chain must hold one.
    pub pins: Vec<[u8; 32]>,
    /// Its own certificate, for servers that ask for one.
    pub identity: Option<Identity>,
    /// What is verified.
    pub verification: Verification,
}

impl ClientTls {
    /// Reads the files and makes a configuration that speaks HTTP/1.1. Blocks for as long as the disk needs.
    ///
    /// # Errors
    /// [`TlsError`] names the setting and the fix.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Nothing)?;
        let texts = load::authority_texts(&self.authorities)?;
        let plain = self.fingerprints.is_empty() && self.pins.is_empty();
        let builder = if plain && self.verification == Verification::Full {
            builder.with_root_certificates(load::authorities(&texts)?)
        } else {
            let verifier = Verifier::new(self, &texts, Arc::clone(&provider))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(resolver(identity, &provider)?),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn resolver(
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<Arc<rustls::sign::SingleCertAndKey>, TlsError> {
    let passphrase = identity.key_passphrase.as_ref();
    let key = load::client_key(&identity.certificate, &identity.key, passphrase, provider)?;
    Ok(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
}

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
    ClientTls { authorities: authorities.to_vec(), ..ClientTls::default() }.load()
}
