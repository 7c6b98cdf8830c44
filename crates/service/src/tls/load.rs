//! From texts to certificates and keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::TlsError;
use super::error::Place;
use super::material::{ClientAuthentication, Passphrase, Pem, ServerTls};
use crate::named_file::{self, NamedFileError};

/// A bundle of all authorities of the world has 250 KiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A text with the place it came from.
#[derive(PartialEq, Eq)]
pub(super) struct Text {
    setting: &'static str,
    pub(super) place: Place,
    content: Zeroizing<Vec<u8>>,
}

/// All texts that a server's settings name, as they were at one moment.
#[derive(PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) certificate: Text,
    key: Text,
    passphrase: Option<Zeroizing<Vec<u8>>>,
    pub(super) client_authorities: Vec<Text>,
}

impl Texts {
    pub(super) fn read(settings: &ServerTls) -> Result<Texts, TlsError> {
        let passphrase = settings.key_passphrase.as_ref().map(read_passphrase).transpose()?;
        let client_authorities = match settings.client_authentication {
            ClientAuthentication::None => Vec::new(),
            _ => {
                let read = |pem| Text::read("certificate_authorities", pem, false);
                settings.client_authorities.iter().map(read).collect::<Result<_, _>>()?
            }
        };
        Ok(Texts {
            certificate: Text::read("certificate", &settings.certificate, false)?,
            key: Text::read("key", &settings.key, true)?,
            passphrase,
            client_authorities,
        })
    }
}

impl Text {
    fn read(setting: &'static str, pem: &Pem, is_secret: bool) -> Result<Text, TlsError> {
        let content = match pem {
            Pem::File(path) => read_file(setting, path, is_secret)?,
            Pem::Inline(text) => Zeroizing::new(text.reveal().as_bytes().to_vec()),
        };
        Ok(Text { setting, place: Place(pem.file().map(Path::to_owned)), content })
    }
}

fn read_file(setting: &'static str, path: &Path, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let fault = |error: NamedFileError| match error {
        NamedFileError::Read { path, source } => TlsError::Read { setting, path, source },
        NamedFileError::Kind { path } => TlsError::NotRegular { setting, path },
        NamedFileError::TooLarge { path, most } => TlsError::TooLarge { setting, path, most },
    };
    let file = named_file::open(path).map_err(fault)?;
    let metadata =
        file.metadata().map_err(|source| TlsError::Read { setting, path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if is_secret && mode & 0o007 != 0 {
        return Err(TlsError::Exposed { setting, path: path.to_owned(), mode });
    }
    let mut content = Zeroizing::new(Vec::new());
    named_file::read_open(&file, path, MAX_FILE, &mut content).map_err(fault)?;
    Ok(content)
}

/// The certificates of a text: at least one.
pub(super) fn certificates(text: &Text) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (setting, place) = (text.setting, text.place.clone());
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text.content).collect();
    let found = found.map_err(|source| TlsError::NotPem { setting, place: place.clone(), source })?;
    if found.is_empty() { Err(TlsError::NoCertificate { setting, place }) } else { Ok(found) }
}

/// When the first certificate of the chain ends. It must have begun and not be over.
pub(super) fn validity(
    chain: &[CertificateDer<'static>],
    place: &Place,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, TlsError> {
    let bad = || TlsError::BadCertificate { setting: "certificate", place: place.clone() };
    let (_, leaf) = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok()).ok_or_else(bad)?;
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if now > not_after {
        return Err(TlsError::Expired { place: place.clone(), not_after });
    }
    if now < not_before {
        return Err(TlsError::NotYetValid { place: place.clone(), not_before });
    }
    Ok(not_after)
}

/// The chain with its key, which must fit.
pub(super) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    texts: &Texts,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let passphrase = texts.passphrase.as_ref().map(|text| text.as_slice());
    fit(chain, &texts.certificate.place, &texts.key, passphrase, provider)
}

fn fit(
    chain: Vec<CertificateDer<'static>>,
    certificate: &Place,
    key: &Text,
    passphrase: Option<&[u8]>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let place = key.place.clone();
    let key = private_key(key, passphrase)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key: place, certificate: certificate.clone() }
        }
        rustls::Error::InvalidCertificate(_) => {
            TlsError::BadCertificate { setting: "certificate", place: certificate.clone() }
        }
        source => TlsError::BadKey { place, source },
    })
}

/// A client's certificate with its key. One that is over is sent all the same: the server says so better.
pub(super) fn client_key(
    certificate: &Pem,
    key: &Pem,
    passphrase: Option<&Passphrase>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let certificate = Text::read("certificate", certificate, false)?;
    let key = Text::read("key", key, true)?;
    let passphrase = passphrase.map(read_passphrase).transpose()?;
    let chain = certificates(&certificate)?;
    fit(chain, &certificate.place, &key, passphrase.as_ref().map(|text| text.as_slice()), provider)
}

fn read_passphrase(passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    match passphrase {
        Passphrase::Inline(secret) => Ok(Zeroizing::new(secret.reveal().as_bytes().to_vec())),
        Passphrase::File(path) => {
            let content = read_file("key_passphrase_path", path, true)?;
            Ok(Zeroizing::new(content.trim_ascii().to_vec()))
        }
    }
}

fn private_key(text: &Text, passphrase: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let place = || text.place.clone();
    let not_pem = |source| TlsError::NotPem { setting: "key", place: place(), source };
    if is_encrypted_of_old(&text.content) {
        return Err(TlsError::LegacyEncryption { place: place() });
    }
    if let Some(encrypted) = encrypted_section(&text.content) {
        return decrypt(&encrypted, passphrase, place);
    }
    match PrivateKeyDer::from_pem_slice(&text.content) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { place: place() }),
        Err(source) => Err(not_pem(source)),
    }
}

/// Whether a key is encrypted as OpenSSL did before PKCS#8: by a header in the PEM (RFC 1421).
fn is_encrypted_of_old(content: &[u8]) -> bool {
    content
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
}

/// The content of the first `ENCRYPTED PRIVATE KEY`.
fn encrypted_section(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    let text = std::str::from_utf8(content).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    // The parser of PEM knows no encrypted keys; under the name of plain ones, it reads them as well.
    let plain = Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----{body}-----END PRIVATE KEY-----\n"));
    let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(plain.as_bytes()).ok()?;
    (kind == SectionKind::PrivateKey).then_some(Zeroizing::new(der))
}

fn decrypt(
    encrypted: &[u8],
    passphrase: Option<&[u8]>,
    place: impl Fn() -> Place,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let passphrase = passphrase.ok_or_else(|| TlsError::NoPassphrase { place: place() })?;
    let unsupported = |source| TlsError::UnsupportedEncryption { place: place(), source };
    let info = EncryptedPrivateKeyInfoRef::try_from(encrypted).map_err(unsupported)?;
    match info.decrypt(passphrase) {
        Ok(plain) => Ok(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec()).into()),
        // A wrong passphrase gives wrong padding, or, once in a while, right padding around nonsense.
        Err(
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_),
        ) => Err(TlsError::WrongPassphrase { place: place() }),
        Err(source) => Err(unsupported(source)),
    }
}

/// The texts of authorities that a client trusts.
pub(super) fn authority_texts(authorities: &[Pem]) -> Result<Vec<Text>, TlsError> {
    authorities.iter().map(|pem| Text::read("certificate_authorities", pem, false)).collect()
}

/// The authorities of clients: those given, or the system's.
pub(super) fn authorities(texts: &[Text]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for text in texts {
        for certificate in certificates(text)? {
            let bad = |source| TlsError::BadAuthority { place: text.place.clone(), source };
            roots.add(certificate).map_err(bad)?;
        }
    }
    if texts.is_empty() {
        // One unreadable file among the system's must not hide the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() { Err(TlsError::NoAuthority) } else { Ok(roots) }
}

/// The certificates themselves: those given, or the system's.
pub(super) fn authority_certificates(texts: &[Text]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if texts.is_empty() {
        return Ok(rustls_native_certs::load_native_certs().certs);
    }
    let found: Result<Vec<_>, _> = texts.iter().map(certificates).collect();
    Ok(found?.into_iter().flatten().collect())
}
