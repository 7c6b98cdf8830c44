//! Verifying servers in other ways than by name and authority.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::{ClientTls, Verification};
use super::error::TlsError;
use super::load::{self, Text};

/// Verifies servers as a [`ClientTls`] wants it.
#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    /// The authorities that are known beforehand.
    roots: Arc<RootCertStore>,
    /// Those of them whose key is pinned.
    pinned: Arc<RootCertStore>,
    fingerprints: Vec<[u8; 32]>,
    pins: Vec<[u8; 32]>,
    verification: Verification,
}

impl Verifier {
    pub(super) fn new(
        settings: &ClientTls,
        texts: &[Text],
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, TlsError> {
        let known = match settings.verification {
            Verification::None => Vec::new(),
            // With a fingerprint, the authority comes from the server.
            _ if texts.is_empty() && !settings.fingerprints.is_empty() => Vec::new(),
            _ => load::authority_certificates(texts)?,
        };
        let mut roots = RootCertStore::empty();
        let mut pinned = RootCertStore::empty();
        for certificate in known {
            if settings.pins.iter().any(|pin| Some(*pin) == key_hash(&certificate)) {
                pinned.add_parsable_certificates([certificate.clone()]);
            }
            roots.add_parsable_certificates([certificate]);
        }
        if roots.is_empty() && settings.fingerprints.is_empty() && settings.verification != Verification::None
        {
            return Err(TlsError::NoAuthority);
        }
        Ok(Verifier {
            provider,
            roots: Arc::new(roots),
            pinned: Arc::new(pinned),
            fingerprints: settings.fingerprints.clone(),
            pins: settings.pins.clone(),
            verification: settings.verification,
        })
    }

    /// Verifies against these authorities alone.
    fn check(&self, roots: Arc<RootCertStore>, chain: &Chain<'_>) -> Result<ServerCertVerified, Error> {
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider)).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        let Chain { leaf, others, name, ocsp, now } = *chain;
        match verifier.verify_server_cert(leaf, others, name, ocsp, now) {
            // The name is looked at last, when all else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verification == Verification::Certificate => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }
}

/// What a server showed.
#[derive(Clone, Copy)]
struct Chain<'a> {
    leaf: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

impl Chain<'_> {
    fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'_>> {
        std::iter::once(self.leaf).chain(self.others)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.verification == Verification::None {
            return Ok(ServerCertVerified::assertion());
        }
        let chain = Chain { leaf, others, name, ocsp, now };
        if !self.pinned.is_empty()
            && let Ok(verified) = self.check(Arc::clone(&self.pinned), &chain)
        {
            return Ok(verified);
        }
        let shows_pinned =
            || chain.certificates().any(|one| key_hash(one).is_some_and(|key| self.pins.contains(&key)));
        if !self.pins.is_empty() && !shows_pinned() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        let mut roots = RootCertStore::clone(&self.roots);
        let trusted = chain.certificates().filter(|one| self.fingerprints.contains(&sha256(one)));
        roots.add_parsable_certificates(trusted.cloned().map(CertificateDer::into_owned));
        self.check(Arc::new(roots), &chain)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// SHA-256 of a certificate's public key; `None`: it is no certificate.
fn key_hash(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(sha256(parsed.public_key().raw))
}
