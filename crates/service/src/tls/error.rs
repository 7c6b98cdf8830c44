//! What can be wrong with a server's TLS settings.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// The settings do not make a TLS configuration. Each variant names the setting, its file, and the fix.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting} {} cannot be read", path.display())]
    Read {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path is that of a directory, a pipe, a device.
    #[error("{setting} {} is not a regular file: name one", path.display())]
    NotRegular {
        /// The setting.
        setting: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A file is larger than any certificate or key.
    #[error("{setting} {} is larger than {most} bytes: is it the right file?", path.display())]
    TooLarge {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is read at most.
        most: u64,
    },
    /// Anybody on the machine can read a secret.
    #[error(
        "{setting} {} can be read by everybody (mode {mode:04o}): run chmod o-rwx {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is there is not PEM.
    #[error("{setting}{place} is not in PEM form")]
    NotPem {
        /// The setting.
        setting: &'static str,
        /// The file, if it is one.
        place: Place,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// PEM without a certificate.
    #[error("{setting}{place} holds no certificate: give it in PEM form")]
    NoCertificate {
        /// The setting.
        setting: &'static str,
        /// The file, if it is one.
        place: Place,
    },
    /// A certificate that cannot be read.
    #[error("{setting}{place} holds a certificate that cannot be read")]
    BadCertificate {
        /// The setting.
        setting: &'static str,
        /// The file, if it is one.
        place: Place,
    },
    /// The server's certificate is over.
    #[error("certificate{place} expired at {not_after}: renew it, or mend this machine's clock")]
    Expired {
        /// The file, if it is one.
        place: Place,
        /// When it ended.
        not_after: time::OffsetDateTime,
    },
    /// The server's certificate has not begun.
    #[error("certificate{place} is not valid before {not_before}: mend this machine's clock")]
    NotYetValid {
        /// The file, if it is one.
        place: Place,
        /// When it begins.
        not_before: time::OffsetDateTime,
    },
    /// PEM without a private key.
    #[error("key{place} holds no private key: give it in PEM form")]
    NoKey {
        /// The file, if it is one.
        place: Place,
    },
    /// A private key of a kind that is not supported, or a damaged one.
    #[error("key{place} cannot be used: give an RSA (2048 bits or more), ECDSA or Ed25519 key")]
    BadKey {
        /// The file, if it is one.
        place: Place,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Encrypted in the form of old.
    #[error(
        "key{place} is encrypted in the legacy form (\"Proc-Type: 4,ENCRYPTED\"), which is not safe: convert it \
         with openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW"
    )]
    LegacyEncryption {
        /// The file, if it is one.
        place: Place,
    },
    /// Encrypted, and nobody said with what.
    #[error("key{place} is encrypted: set key_passphrase or key_passphrase_path")]
    NoPassphrase {
        /// The file, if it is one.
        place: Place,
    },
    /// Encrypted with something else.
    #[error(
        "key{place} does not open with the passphrase given: check key_passphrase or key_passphrase_path"
    )]
    WrongPassphrase {
        /// The file, if it is one.
        place: Place,
    },
    /// Encrypted in a way that is not supported.
    #[error(
        "key{place} is encrypted in a way that is not supported: convert it with openssl pkcs8 -topk8 -v2 \
         aes-256-cbc -in OLD -out NEW"
    )]
    UnsupportedEncryption {
        /// The file, if it is one.
        place: Place,
        /// Why.
        #[source]
        source: pkcs8::Error,
    },
    /// Certificate and key are of two pairs.
    #[error("key{key} does not fit certificate{certificate}: give the pair")]
    Mismatch {
        /// The key's file, if it is one.
        key: Place,
        /// The certificate's file, if it is one.
        certificate: Place,
    },
    /// An authority that cannot be one.
    #[error("certificate_authorities{place} holds no usable authority")]
    BadAuthority {
        /// The file, if it is one.
        place: Place,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Clients are asked for certificates, and no authority is known.
    #[error(
        "client_authentication is on, but this system has no certificate authorities: name those of the \
         clients in certificate_authorities"
    )]
    NoAuthority,
    /// Clients' certificates cannot be verified.
    #[error("clients' certificates cannot be verified with certificate_authorities")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// A name that is known nowhere, or not supported here.
    #[error("{setting}: {name:?} {why}: use {known}")]
    Unsupported {
        /// The setting.
        setting: &'static str,
        /// The name.
        name: String,
        /// `is unknown` or `is not supported`, with the reason.
        why: &'static str,
        /// What can be used.
        known: String,
    },
    /// Versions, suites and curves leave nothing in common.
    #[error(
        "supported_protocols, cipher_suites and curve_types leave no way to speak TLS: remove one of them"
    )]
    Nothing(#[source] rustls::Error),
}

/// Where a text came from: a blank and the file's name, or nothing for one that stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub Option<PathBuf>);

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(formatter, " {}", path.display()),
            None => Ok(()),
        }
    }
}
