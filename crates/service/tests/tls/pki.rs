//! Authorities and certificates that live for one test.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_service::tls::{Pem, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use time::OffsetDateTime;

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate_pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost`, and its key.
    pub(crate) fn issue(&self) -> (String, String) {
        self.sign(&CertificateParams::new(vec!["localhost".to_owned()]).unwrap())
    }

    /// A certificate for `localhost` and this key.
    pub(crate) fn certify(&self, key_pem: &str) -> String {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.signed_by(&KeyPair::from_pem(key_pem).unwrap(), &self.0).unwrap().pem()
    }

    /// One whose time is over, or has not come.
    pub(crate) fn issue_out_of_time(&self, past: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let (now, day) = (OffsetDateTime::now_utc(), Duration::from_secs(86_400));
        (params.not_before, params.not_after) =
            if past { (now - 2 * day, now - day) } else { (now + day, now + 2 * day) };
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        self.client_builder(versions).with_no_client_auth()
    }

    /// The same, with a certificate signed by `issuer`.
    pub(crate) fn client_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        issuer: &Authority,
    ) -> ClientConfig {
        let (certificate, key) = issuer.issue();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        self.client_builder(versions).with_client_auth_cert(vec![certificate], key).unwrap()
    }

    fn client_builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

/// A server's certificate and key in files of a temporary directory.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new(authority: &Authority) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        let (certificate, key) = authority.issue();
        files.write_certificate(&certificate);
        files.write_key(&key);
        files
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn settings(&self) -> ServerTls {
        let file = |name| Pem::File(self.path().join(name));
        ServerTls::new(file("certificate.pem"), file("key.pem"))
    }

    pub(crate) fn write_certificate(&self, pem: &str) {
        self.write("certificate.pem", pem, 0o644);
    }

    pub(crate) fn write_key(&self, pem: &str) {
        self.write("key.pem", pem, 0o600);
    }

    pub(crate) fn key(&self) -> String {
        fs::read_to_string(self.path().join("key.pem")).unwrap()
    }

    /// Replaces the file in one step, as whoever renews certificates should.
    pub(crate) fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let (path, draft) = (self.path().join(name), self.path().join(format!("{name}.new")));
        let mut file = OpenOptions::new().write(true).create(true).mode(mode).open(&draft).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        fs::set_permissions(&draft, Permissions::from_mode(mode)).unwrap();
        fs::rename(&draft, &path).unwrap();
        path
    }
}
