//! The API over TLS: the server is verified, always.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;

use crate::fleetctl;
use crate::server::Server;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Signs a certificate, and writes it and its key as `NAME.pem` and `NAME-key.pem`.
    fn sign(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.path(name).display())
    }
}

fn for_localhost() -> CertificateParams {
    CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap()
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// Serves with the certificate `server` of the authority; asks for a client's if `demanding`.
async fn serve(authority: &Authority, demanding: bool) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if demanding {
        let mut roots = RootCertStore::empty();
        roots.add(certificates(&authority.path("ca.pem")).remove(0)).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = certificates(&authority.path("server.pem"));
    let key = PrivateKeyDer::from_pem_file(authority.path("server-key.pem")).unwrap();
    let config = builder.with_single_cert(chain, key).unwrap();
    Server::tls(Arc::new(config), |_| (200, "{}".to_owned())).await
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_only() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("server", &for_localhost());
    let server = serve(&authority, false).await;
    let run =
        fleetctl(&["--endpoint", &server.endpoint, &authority.flag("ca-file", "ca.pem"), "list-units"]).await;
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let run =
        fleetctl(&["--endpoint", &server.endpoint, &other.flag("ca-file", "ca.pem"), "list-units"]).await;
    assert_eq!(run.code, 1);
    assert!(run.err.contains("TLS with 127.0.0.1: invalid peer certificate"), "{run}");
    let run = fleetctl(&["--endpoint", &server.endpoint, "list-units"]).await;
    assert_eq!(run.code, 1, "without an authority of ours the system's count: {run}");
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let authority = Authority::new();
    authority.sign("server", &CertificateParams::new(vec!["example.com".to_owned()]).unwrap());
    let server = serve(&authority, false).await;
    let run =
        fleetctl(&["--endpoint", &server.endpoint, &authority.flag("ca-file", "ca.pem"), "list-units"]).await;
    assert_eq!(run.code, 1);
    assert!(run.err.contains("not valid for name"), "{run}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let mut params = for_localhost();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    authority.sign("server", &params);
    let server = serve(&authority, false).await;
    let run =
        fleetctl(&["--endpoint", &server.endpoint, &authority.flag("ca-file", "ca.pem"), "list-units"]).await;
    assert_eq!(run.code, 1);
    assert!(run.err.contains("expired"), "{run}");
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    authority.sign("server", &for_localhost());
    authority.sign("client", &CertificateParams::new(vec!["client".to_owned()]).unwrap());
    let server = serve(&authority, true).await;
    let (ca, cert, key) = (
        authority.flag("ca-file", "ca.pem"),
        authority.flag("cert-file", "client.pem"),
        authority.flag("key-file", "client-key.pem"),
    );
    let run = fleetctl(&["--endpoint", &server.endpoint, &ca, &cert, &key, "list-units"]).await;
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let run = fleetctl(&["--endpoint", &server.endpoint, &ca, "list-units"]).await;
    assert_eq!(run.code, 1, "{run}");
    let run = fleetctl(&["--endpoint", &server.endpoint, &ca, &cert, "list-units"]).await;
    assert!(run.err.contains("--cert-file and --key-file go together: --key-file is missing"), "{run}");
}
