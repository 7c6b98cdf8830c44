//! Certificates for tests: an authority, servers, clients, and expired ones.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};

use crate::error::HarnessError;

/// A certificate authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(name: &str) -> Result<Self, HarnessError> {
        let failed = |source| HarnessError::Certificate { name: name.to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Self { issuer })
    }

    /// The authority's own certificate, for `etcd_cafile` and its like.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server at these addresses, which may also act as a client, as etcd's members do.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn server(&self, name: &str, addresses: &[IpAddr]) -> Result<Certificate, HarnessError> {
        let mut params = named(name);
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, &params)
    }

    /// A certificate for a client.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn client(&self, name: &str) -> Result<Certificate, HarnessError> {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, &params)
    }

    /// A client's certificate that ran out long ago.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn expired_client(&self, name: &str) -> Result<Certificate, HarnessError> {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2015, 1, 1);
        params.not_after = date_time_ymd(2016, 1, 1);
        self.sign(name, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Result<Certificate, HarnessError> {
        let failed = |source| HarnessError::Certificate { name: name.to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Certificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
