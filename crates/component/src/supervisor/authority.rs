//! The authority of a supervisor, and the certificates of its components.
//!
//! The authority is made at each start and its key is never written. A component has one certificate, for both sides of
//! its connection: it shows it as a client, and is shown it as the server of its name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use uuid::Uuid;

use super::endpoint::Endpoint;
use crate::tls;

/// Who made the certificates.
const ORGANIZATION: &str = "fleet";

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate could not be made.
    #[error("a certificate for components cannot be made")]
    Make(#[source] rcgen::Error),
    /// It was made, and TLS does not take it.
    #[error("a certificate for components cannot be used")]
    Use(#[source] rustls::Error),
}

/// Makes certificates for components.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// What a component proves itself with, and knows its agent by.
pub(super) struct Identity {
    /// The name in both certificates.
    pub(super) server_name: String,
    /// In each message of the component.
    pub(super) token: String,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
    /// The same, as the server shows it.
    pub(super) certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Authority {
    pub(super) fn make() -> Result<Authority, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("localhost");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Authority { issuer: Issuer::new(params, key), certificate: der, pem })
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A name, a token and a certificate for one component.
    pub(super) fn identity(&self) -> Result<Identity, AuthorityError> {
        let server_name = Uuid::new_v4().simple().to_string();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
        let mut params = CertificateParams::new(vec![server_name.clone()]).map_err(AuthorityError::Make)?;
        params.distinguished_name = name(&server_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Make)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![certificate.der().clone()], der, &tls::provider())
            .map_err(AuthorityError::Use)?;
        Ok(Identity {
            server_name,
            token: Uuid::new_v4().to_string(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certified: Arc::new(certified),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name.push(DnType::CommonName, common);
    name
}

/// The components that may connect, by their names.
#[derive(Debug, Default)]
pub(super) struct Registry {
    endpoints: RwLock<HashMap<String, Arc<Endpoint>>>,
}

impl Registry {
    pub(super) fn add(&self, endpoint: Arc<Endpoint>) {
        let name = endpoint.identity.server_name.clone();
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).insert(name, endpoint);
    }

    pub(super) fn remove(&self, server_name: &str) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(server_name);
    }

    pub(super) fn find(&self, server_name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(server_name).cloned()
    }
}

/// A name that belongs to no component has no certificate: its handshake fails.
impl ResolvesServerCert for Registry {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let endpoint = self.find(hello.server_name()?)?;
        Some(Arc::clone(&endpoint.identity.certified))
    }
}
