//! What a server is told of its TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::load::{Texts, authorities, certificates, certified_key, validity};
use super::{TlsError, names};
use crate::config::value::Secret;

/// A text in PEM form: in a file, or in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// In this file.
    File(PathBuf),
    /// Here; not shown in logs, for it may be a key.
    Inline(Secret),
}

impl Pem {
    /// Reads a setting that is either a file or the PEM itself, which starts with `-`, or has line breaks or
    /// `-----` in it.
    #[must_use]
    pub fn from_setting(text: &str) -> Pem {
        if text.starts_with('-') || text.contains('\n') || text.contains("-----") {
            Pem::Inline(Secret::new(text))
        } else {
            Pem::File(PathBuf::from(text))
        }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Pem::File(path) => Some(path),
            Pem::Inline(_) => None,
        }
    }
}

/// What opens an encrypted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passphrase {
    /// In this file, blanks and line breaks around it stripped.
    File(PathBuf),
    /// Here.
    Inline(Secret),
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// They are not.
    #[default]
    None,
    /// They are, and one that is sent must verify; who sends none is let in.
    Optional,
    /// They must send one that verifies.
    Required,
}

/// A server's TLS settings.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificate, with those of its intermediate authorities behind it.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// What the key is encrypted with.
    pub key_passphrase: Option<Passphrase>,
    /// Who signs clients' certificates. None, where clients are asked for one: the system's authorities.
    pub client_authorities: Vec<Pem>,
    /// Whether clients are asked for a certificate.
    pub client_authentication: ClientAuthentication,
    /// Versions by name; none: 1.2 and 1.3. See [`names::versions`].
    pub versions: Vec<String>,
    /// Cipher suites by name; none: all. See [`names::provider`].
    pub cipher_suites: Vec<String>,
    /// Curves by name; none: all. See [`names::provider`].
    pub curves: Vec<String>,
    /// The protocols offered, the preferred one first, such as `h2` and `http/1.1`.
    pub alpn: Vec<Vec<u8>>,
}

/// A configuration that is ready for use.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For an [`Acceptor`](super::Acceptor).
    pub config: Arc<ServerConfig>,
    /// When the server's certificate ends.
    pub not_after: OffsetDateTime,
}

impl ServerTls {
    /// A certificate and its key, all else as it goes without saying.
    #[must_use]
    pub fn new(certificate: Pem, key: Pem) -> ServerTls {
        ServerTls {
            certificate,
            key,
            key_passphrase: None,
            client_authorities: Vec::new(),
            client_authentication: ClientAuthentication::None,
            versions: Vec::new(),
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            alpn: Vec::new(),
        }
    }

    /// Reads the files and makes a configuration. Blocks for as long as the disk needs, and for the slow hash
    /// of a passphrase.
    ///
    /// # Errors
    /// [`TlsError`] names the setting and the fix.
    pub fn load(&self) -> Result<Loaded, TlsError> {
        self.build(&Texts::read(self)?, OffsetDateTime::now_utc())
    }

    /// A configuration of these texts, at this moment.
    pub(super) fn build(&self, texts: &Texts, now: OffsetDateTime) -> Result<Loaded, TlsError> {
        let provider = Arc::new(names::provider(&self.cipher_suites, &self.curves)?);
        let versions = names::versions(&self.versions)?;
        let chain = certificates(&texts.certificate)?;
        let not_after = validity(&chain, &texts.certificate.place, now)?;
        let key = certified_key(chain, texts, &provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(TlsError::Nothing)?;
        let builder = match self.client_authentication {
            ClientAuthentication::None => builder.with_no_client_auth(),
            asked => {
                let roots = Arc::new(authorities(&texts.client_authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match asked {
                    ClientAuthentication::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Verifier)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(OneKey(Arc::new(key))));
        config.alpn_protocols.clone_from(&self.alpn);
        // Sessions are resumed from tickets that clients keep: here, they cost no memory. Each configuration
        // has tickets of its own, so that what was agreed under an old one is not taken up under a new one.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsError::Nothing)?;
        // One ticket is enough for a client that comes back once; it is sent on every full handshake.
        config.send_tls13_tickets = 1;
        Ok(Loaded { config: Arc::new(config), not_after })
    }
}

/// The one certificate that this server has.
#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for OneKey {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
