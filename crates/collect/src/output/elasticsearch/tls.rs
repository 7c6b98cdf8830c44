//! The connection's TLS, as `ssl.*` says.

use std::sync::Arc;

use fleet_service::error::chain;
use fleet_service::named_file;
use fleet_service::tls::Pem;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::{Config, Mistake};

/// A bundle of all authorities of the world has 250 KiB.
const LARGEST: u64 = 4 << 20;

/// How far the engine's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Signed by a known authority, for this name.
    Full,
    /// Signed by a known authority, whatever its name.
    Certificate,
    /// Not at all.
    None,
}

/// `ssl.*`, read but not loaded.
pub(crate) struct Tls {
    authorities: Vec<String>,
    fingerprint: Option<Vec<u8>>,
    mode: Mode,
    identity: Option<(String, String)>,
}

impl Tls {
    pub(crate) fn read(config: &Config) -> Result<Tls, Mistake> {
        let ssl = config.section("ssl")?;
        ssl.allow(&[
            "enabled",
            "supported_protocols",
            "cipher_suites",
            "curve_types",
            "renegotiation",
            "ca_sha256",
        ]);
        let mode = match ssl.text("verification_mode")?.as_deref() {
            None | Some("full" | "strict" | "") => Mode::Full,
            Some("certificate") => Mode::Certificate,
            Some("none") => Mode::None,
            Some(other) => {
                let problem = format!("{other:?} is unknown: use full, strict, certificate or none");
                ssl.or(Mode::Full, Err(ssl.mistake("verification_mode", problem)))?
            }
        };
        let fingerprint = ssl.text("ca_trusted_fingerprint")?.filter(|text| !text.is_empty());
        let fingerprint = fingerprint.map(|text| {
            digest_of(&text).ok_or_else(|| {
                ssl.mistake(
                    "ca_trusted_fingerprint",
                    "must be the SHA-256 of a certificate in hexadecimal, 64 letters",
                )
            })
        });
        if ssl.text("key_passphrase")?.is_some_and(|text| !text.is_empty()) {
            let problem = "is not supported: give a key that is not encrypted";
            ssl.or((), Err(ssl.mistake("key_passphrase", problem)))?;
        }
        let identity = match (ssl.text("certificate")?, ssl.text("key")?) {
            (Some(certificate), Some(key)) if !certificate.is_empty() => Some((certificate, key)),
            (Some(certificate), None) if !certificate.is_empty() => {
                ssl.or(None, Err(ssl.mistake("key", "is missing: give the certificate's key")))?
            }
            _ => None,
        };
        Ok(Tls {
            authorities: ssl.texts("certificate_authorities")?,
            fingerprint: fingerprint.transpose()?,
            mode,
            identity,
        })
    }

    /// Loads certificates and keys. Blocks.
    pub(crate) fn client(&self) -> Result<ClientConfig, Mistake> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Mistake::new("ssl", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => {
                let chain = certificates("ssl.certificate", certificate)?;
                let text = pem("ssl.key", key)?;
                let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
                    Mistake::new("ssl.key", "holds no private key that can be used: give it in PEM form")
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    Mistake::new("ssl.certificate", format!("does not go with its key: {error}"))
                })
            }
        }
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, Mistake> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            for certificate in certificates("ssl.certificate_authorities", authority)? {
                roots
                    .add(certificate)
                    .map_err(|error| Mistake::new("ssl.certificate_authorities", error.to_string()))?;
            }
        }
        if self.authorities.is_empty() && self.mode != Mode::None && self.fingerprint.is_none() {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // One that cannot be used is of no use to anybody, and no reason to stop.
                let _ = roots.add(certificate);
            }
        }
        let chain = if roots.is_empty() {
            None
        } else {
            let roots = Arc::new(roots);
            Some(
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                    .build()
                    .map_err(|error| Mistake::new("ssl.certificate_authorities", error.to_string()))?,
            )
        };
        Ok(Verifier {
            chain,
            fingerprint: self.fingerprint.clone(),
            mode: self.mode,
            provider: Arc::clone(provider),
        })
    }
}

fn pem(field: &str, text: &str) -> Result<Vec<u8>, Mistake> {
    match Pem::from_setting(text) {
        Pem::Inline(secret) => Ok(secret.reveal().as_bytes().to_vec()),
        Pem::File(path) => {
            named_file::read(&path, LARGEST).map_err(|error| Mistake::new(field, chain(&error)))
        }
    }
}

fn certificates(field: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let text = pem(field, text)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Mistake::new(field, "holds no certificate: give it in PEM form")),
    }
}

/// A SHA-256 digest in hexadecimal, with or without colons between its bytes.
fn digest_of(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.replace(':', "")).ok().filter(|digest| digest.len() == SHA256_OUTPUT_LEN)
}

/// Verifies as far as it is told, and trusts an authority that the engine sends if it has the known fingerprint.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    fingerprint: Option<Vec<u8>>,
    mode: Mode,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn with(
        &self,
        verifier: &WebPkiServerVerifier,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match verifier.verify_server_cert(end, rest, name, ocsp, now) {
            // The chain is verified before the name is.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode == Mode::Certificate => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.mode == Mode::None {
            return Ok(ServerCertVerified::assertion());
        }
        let known = |certificate: &&CertificateDer<'_>| {
            self.fingerprint.as_deref() == Some(digest(&SHA256, certificate).as_ref())
        };
        if let Some(authority) = std::iter::once(end).chain(rest).find(known) {
            let mut roots = RootCertStore::empty();
            roots.add(authority.clone().into_owned())?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                    .build()
                    .map_err(|error| Error::General(error.to_string()))?;
            return self.with(&verifier, end, rest, name, ocsp, now);
        }
        match &self.chain {
            Some(verifier) => self.with(verifier, end, rest, name, ocsp, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
