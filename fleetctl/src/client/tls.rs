//! TLS settings: the server is verified (a fleet-server may be excepted, by a flag that says so), the client
//! shows a certificate when it has one.
//!
//! Without `--ca-file` the roots are those that this system trusts: an operator's own authority is
//! installed there, and a bundle compiled in would age.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;

/// The files of `--ca-file`, `--cert-file` and `--key-file`.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Take whatever certificate the server shows: only where the user said so in so many words.
    pub(crate) skip_verify: bool,
}

/// TLS files that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("cannot read {flag} {}", path.display())]
    File {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{flag} {} holds no certificate", path.display())]
    Empty { flag: &'static str, path: PathBuf },
    #[error("--cert-file and --key-file go together: {missing} is missing")]
    Half { missing: &'static str },
    #[error("this system has no trusted certificates: give the server's authority with --ca-file")]
    NoRoots,
    #[error("cannot use --ca-file {}", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("--cert-file and --key-file cannot be used")]
    Client {
        #[source]
        source: rustls::Error,
    },
    #[error("TLS cannot be set up")]
    Setup {
        #[source]
        source: rustls::Error,
    },
}

/// The settings of a client's side.
pub(crate) fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source })?;
    let builder = if files.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(schemes)))
    } else {
        builder.with_root_certificates(roots(files)?)
    };
    let config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates("--cert-file", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
                flag: "--key-file",
                path: key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|source| TlsError::Client { source })?
        }
        (Some(_), None) => return Err(TlsError::Half { missing: "--key-file" }),
        (None, Some(_)) => return Err(TlsError::Half { missing: "--cert-file" }),
    };
    Ok(Arc::new(config))
}

/// Takes any certificate, but checks that the server has its key.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        for certificate in certificates("--ca-file", path)? {
            roots.add(certificate).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
        }
        return Ok(roots);
    }
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn certificates(flag: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { flag, path: path.clone(), source };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(TlsError::Empty { flag, path: path.clone() }) } else { Ok(chain) }
}
