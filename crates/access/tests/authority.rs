//! The authority's certificates, as clients see them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use fleet_access::authority::{Authority, AuthorityError, ServerCertificate};
use fleet_access::master_key::MasterKey;
use fleet_access::seal::Keyring;
use fleet_access::timestamp::Timestamp;
use fleet_service::tls::{Pem, ServerTls, TlsError};
use fleet_store::Store;
use fleet_store::embedded::Embedded;
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);

async fn authority() -> (tempfile::TempDir, Authority) {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store.db")).unwrap());
    let keyring = Keyring::open(Arc::clone(&store), MasterKey::generate().unwrap()).await.unwrap();
    let authority = Authority::open(store, &keyring).await.unwrap();
    (directory, authority)
}

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn first_der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A handshake with a server that has this certificate, by a client that trusts this authority.
fn handshake(certificate: &ServerCertificate, ca_pem: &str, name: &str) -> Result<(), rustls::Error> {
    let inline = |text: &str| Pem::from_setting(text);
    let settings = ServerTls::new(inline(&certificate.chain_pem), inline(certificate.key_pem.reveal()));
    let mut server = ServerConnection::new(settings.load().unwrap().config).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(first_der(ca_pem)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_trust_the_authority_reach_the_server_under_each_of_its_names() {
    let (_directory, authority) = authority().await;
    let (_other_directory, other) = self::authority().await;
    let wanted = names(&["fleet.example.com", "*.fleet.internal", "10.1.2.3", "[fd00::1]", "localhost"]);
    let certificate = authority.issue(&wanted, Timestamp::now()).unwrap();
    let ca = authority.certificate_pem();
    for name in ["fleet.example.com", "a.fleet.internal", "10.1.2.3", "fd00::1", "localhost"] {
        handshake(&certificate, ca, name).unwrap();
    }
    for name in ["fleet.example.org", "10.1.2.4"] {
        assert!(matches!(handshake(&certificate, ca, name), Err(rustls::Error::InvalidCertificate(_))));
    }
    let stranger = handshake(&certificate, other.certificate_pem(), "localhost");
    assert!(matches!(stranger, Err(rustls::Error::InvalidCertificate(_))));
    assert_ne!(authority.fingerprint(), other.fingerprint());
}

#[tokio::test]
async fn the_fingerprint_is_that_of_the_certificate() {
    let (_directory, authority) = authority().await;
    let der = first_der(authority.certificate_pem());
    let hex: String = digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(authority.fingerprint(), hex);
}

#[tokio::test]
async fn the_authority_is_one_for_ten_years_and_signs_nothing_but_servers() {
    let (_directory, authority) = authority().await;
    let der = first_der(authority.certificate_pem());
    let (_, ca) = X509Certificate::from_der(&der).unwrap();
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
    let years = (ca.validity().not_after.timestamp() - Timestamp::now().unix()) / (365 * 86_400);
    assert_eq!(years, 10);
    assert_eq!(ca.validity().not_after.timestamp(), authority.not_after().unix());

    let now = Timestamp::now();
    let certificate = authority.issue(&names(&["a.example"]), now).unwrap();
    let der = first_der(&certificate.chain_pem);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert!(!leaf.is_ca());
    assert_eq!(leaf.issuer(), ca.subject());
    assert!(leaf.verify_signature(Some(ca.public_key())).is_ok());
    assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
    // Some clients refuse what lasts longer than 398 days.
    let days = leaf.validity().time_to_expiration().unwrap().whole_days();
    assert!((363..=365).contains(&days), "{days}");
    assert_eq!(leaf.validity().not_before.timestamp(), (now - DAY).unix());
}

#[tokio::test]
async fn a_certificate_is_renewed_long_before_it_ends() {
    let (_directory, authority) = authority().await;
    let now = Timestamp::now();
    let first = authority.issue(&names(&["localhost"]), now).unwrap();
    assert!(first.renew_at > now && first.renew_at < (first.not_after - 30 * DAY));
    let second = authority.issue(&names(&["localhost"]), first.renew_at).unwrap();
    assert!(second.not_after > first.not_after);
    assert_ne!(first.key_pem, second.key_pem);
}

#[tokio::test]
async fn no_certificate_outlives_the_authority() {
    let (_directory, authority) = authority().await;
    let end = authority.not_after();
    let last = authority.issue(&names(&["localhost"]), end - 10 * DAY).unwrap();
    assert_eq!(last.not_after, end);
    // It is asked for again, but not at once: that would never end.
    assert_eq!(last.renew_at, (end - 9 * DAY));
    let error = authority.issue(&names(&["localhost"]), end).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired(_)));
}

#[tokio::test]
async fn an_expired_certificate_is_not_served() {
    let (_directory, authority) = authority().await;
    let old = authority.issue(&names(&["localhost"]), Timestamp::now() - 400 * DAY).unwrap();
    let settings = ServerTls::new(Pem::from_setting(&old.chain_pem), Pem::from_setting(old.key_pem.reveal()));
    let error = settings.load().unwrap_err();
    assert!(matches!(error, TlsError::Expired { .. }), "{error}");
}

#[tokio::test]
async fn names_that_no_certificate_can_carry_are_refused() {
    let (_directory, authority) = authority().await;
    for bad in ["", "a b", "https://a", "a:8220", "exämple.com", "*.*.a", "*", "[::1"] {
        let error = authority.issue(&names(&["localhost", bad]), Timestamp::now()).unwrap_err();
        assert!(matches!(&error, AuthorityError::BadName { name } if name == bad), "{bad}: {error}");
    }
    assert!(matches!(authority.issue(&[], Timestamp::now()), Err(AuthorityError::NoName)));
    let long = format!("{}.example.com", "a".repeat(60));
    let certificate = authority.issue(std::slice::from_ref(&long), Timestamp::now()).unwrap();
    handshake(&certificate, authority.certificate_pem(), &long).unwrap();
}
