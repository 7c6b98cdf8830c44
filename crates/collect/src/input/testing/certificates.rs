//! An authority with a certificate for both ends of a connection.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The files of them, in PEM form.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    /// For `localhost`.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them, in a directory of this name.
    pub(crate) fn make(directory: &Path, name: &str) -> Certificates {
        let directory = directory.join(name);
        std::fs::create_dir(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority);
        let made = Certificates {
            authority: directory.join("ca.pem"),
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        };
        std::fs::write(&made.authority, authority.pem()).unwrap();
        std::fs::write(&made.certificate, certificate.unwrap().pem()).unwrap();
        std::fs::write(&made.key, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&made.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        made
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority).unwrap()).unwrap();
        roots
    }

    fn own(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_file(&self.certificate).unwrap();
        (vec![certificate], PrivateKeyDer::from_pem_file(&self.key).unwrap())
    }

    /// A client that trusts the authority, and shows the certificate of one if it is given.
    pub(crate) fn client(&self, shows: Option<&Certificates>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(self.roots());
        match shows.map(Certificates::own) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        }
    }

    /// A server that asks clients for a certificate of the authority.
    pub(crate) fn strict_server(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let (chain, key) = self.own();
        let builder = builder.unwrap().with_client_cert_verifier(clients.build().unwrap());
        builder.with_single_cert(chain, key).unwrap()
    }
}
