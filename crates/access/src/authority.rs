//! A certificate authority of our own, for servers that are given no certificate.
//!
//! It is made once in a store and lies there, its key sealed: all servers of the store share it, and agents
//! that trust it trust each of them. A server's own certificate is made anew at each start and before it ends;
//! its key is never stored.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fleet_service::config::value::Secret;
use fleet_store::{Error as StoreError, Store, Typed};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::create_once::{CreateError, create_once};
use crate::documents::{AUTHORITY, AUTHORITY_ID, AuthorityDocument};
use crate::random::{self, RandomError};
use crate::seal::{Context, Keyring, OpenError, SealError};
use crate::timestamp::Timestamp;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(86_400);

/// How long an authority lasts: ten years.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3_652 * DAY.as_secs());

/// How long a server's certificate lasts. Some clients accept no more than 398 days.
const SERVER_LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());

/// A server asks for another certificate when so much is left of the last one: time enough to notice that
/// this does not work.
const RENEW_BEFORE: Duration = Duration::from_secs(90 * DAY.as_secs());

/// Certificates are valid from a day ago: clocks of machines that were just set up are often slow.
const BACKDATE: Duration = DAY;

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The store failed.
    #[error("the certificate authority cannot be read or written")]
    Store(#[source] StoreError),
    /// Other servers change it without end, or the store loses every answer.
    #[error("the certificate authority changes at every look: try again")]
    Contended,
    /// The operating system gives no random bytes.
    #[error("no certificate can be made")]
    Random(#[source] RandomError),
    /// A new key cannot be sealed.
    #[error("the new certificate authority's key cannot be sealed")]
    Seal(#[source] SealError),
    /// The stored key cannot be opened.
    #[error("the certificate authority's key cannot be opened")]
    Open(#[source] OpenError),
    /// What is stored is no authority.
    #[error("the stored certificate authority is damaged: restore it from a backup")]
    Damaged(#[source] rcgen::Error),
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// A name that no certificate can carry.
    #[error("{name:?} cannot stand in a certificate: give a host name or an address")]
    BadName {
        /// The name.
        name: String,
    },
    /// There is no name at all.
    #[error("a server's certificate needs at least one name or address")]
    NoName,
    /// The authority's own time is over.
    #[error("the certificate authority ended at {0}: remove it from the store and give agents the new one")]
    Expired(Timestamp),
}

/// The authority of a store. Clones share it.
#[derive(Clone, Debug)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    certificate_pem: String,
    fingerprint: String,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// A server's certificate with its key.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The certificate, followed by the authority's.
    pub chain_pem: String,
    /// PKCS#8.
    pub key_pem: Secret,
    /// When it ends.
    pub not_after: Timestamp,
    /// When to ask for the next one.
    pub renew_at: Timestamp,
}

impl Authority {
    /// Opens the store's authority, or makes it if the store has none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn open(store: Arc<dyn Store>, keyring: &Keyring) -> Result<Authority, AuthorityError> {
        let documents = Typed::new(store, &AUTHORITY);
        let made = create_once(&documents, AUTHORITY_ID, || make(keyring, Timestamp::now())).await;
        let document = made.map_err(|error| match error {
            CreateError::Store(source) => AuthorityError::Store(source),
            CreateError::Make(error) => error,
            CreateError::Contended => AuthorityError::Contended,
        })?;
        let key = keyring.unseal_fresh(context(), &document.key).await.map_err(AuthorityError::Open)?;
        Authority::assemble(document, &key)
    }

    fn assemble(document: AuthorityDocument, key: &[u8]) -> Result<Authority, AuthorityError> {
        let damaged = AuthorityError::Damaged;
        let certificate = CertificateDer::from_pem_slice(document.certificate_pem.as_bytes())
            .map_err(|_| damaged(rcgen::Error::CouldNotParseCertificate))?;
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &PKCS_ECDSA_P256_SHA256)
                .map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(damaged)?;
        Ok(Authority {
            inner: Arc::new(Inner {
                fingerprint: hex::encode(digest(&SHA256, &certificate).as_ref()),
                certificate_pem: document.certificate_pem,
                not_after: document.not_after,
                issuer,
            }),
        })
    }

    /// The authority's certificate: what agents are given to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.inner.certificate_pem
    }

    /// SHA-256 of its certificate in lower-case hexadecimal digits without colons.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.inner.fingerprint
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.inner.not_after
    }

    /// A certificate with a new key for a server that is reached under these names and addresses. It lasts a
    /// year, or as long as the authority if that is shorter.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<ServerCertificate, AuthorityError> {
        if self.not_after() <= now {
            return Err(AuthorityError::Expired(self.not_after()));
        }
        let not_after = (now + SERVER_LIFE).min(self.not_after());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
        let mut params = server_params(names)?;
        params.not_before = date(now - BACKDATE);
        params.not_after = date(not_after);
        params.serial_number = Some(serial()?);
        let certificate = params.signed_by(&key, &self.inner.issuer).map_err(AuthorityError::Make)?;
        Ok(ServerCertificate {
            chain_pem: certificate.pem() + self.certificate_pem(),
            key_pem: Secret::new(key.serialize_pem()),
            not_after,
            renew_at: (not_after - RENEW_BEFORE).max(now + DAY),
        })
    }
}

fn server_params(names: &[String]) -> Result<CertificateParams, AuthorityError> {
    let first = names.first().ok_or(AuthorityError::NoName)?;
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(alternative_name(name)?);
    }
    params.distinguished_name = named(first);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, AuthorityError> {
    let bad = || AuthorityError::BadName { name: name.to_owned() };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let label = name.strip_prefix("*.").unwrap_or(name);
    rustls_pki_types::DnsName::try_from(label).map_err(|_| bad())?;
    name.try_into().map(SanType::DnsName).map_err(|_| bad())
}

fn make(keyring: &Keyring, now: Timestamp) -> Result<AuthorityDocument, AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Make)?;
    let not_after = now + AUTHORITY_LIFE;
    let mut params = CertificateParams::default();
    // A name of its own: clients mix up two authorities with the same one.
    let unique: String = hex::encode(random::bytes::<4>().map_err(AuthorityError::Random)?);
    params.distinguished_name = named(&format!("Fleet CA {unique}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(now - BACKDATE);
    params.not_after = date(not_after);
    params.serial_number = Some(serial()?);
    let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
    let key = keyring.seal(context(), key.serialized_der()).map_err(AuthorityError::Seal)?;
    Ok(AuthorityDocument { certificate_pem: certificate.pem(), key, created_at: now, not_after })
}

fn named(common_name: &str) -> DistinguishedName {
    // What X.520 allows; longer names stand among the alternative ones alone.
    const MAX_COMMON_NAME: usize = 64;
    let mut name = DistinguishedName::new();
    let common_name = if common_name.len() > MAX_COMMON_NAME { "Fleet server" } else { common_name };
    name.push(DnType::CommonName, common_name);
    name
}

/// A random serial number of 127 bits: positive whatever its first bit is.
fn serial() -> Result<rcgen::SerialNumber, AuthorityError> {
    let mut bytes = random::bytes::<16>().map_err(AuthorityError::Random)?;
    bytes[0] &= 0x7f;
    Ok(rcgen::SerialNumber::from_slice(&bytes))
}

fn context() -> Context<'static> {
    Context::new(AUTHORITY.name, AUTHORITY_ID, "key")
}

/// The moment as certificates have it.
fn date(moment: Timestamp) -> OffsetDateTime {
    // What the type holds is within the years of both.
    OffsetDateTime::from_unix_timestamp(moment.unix()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
