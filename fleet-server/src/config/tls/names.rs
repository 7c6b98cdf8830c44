//! Names of versions, cipher suites and curves.
//!
//! A name that is right, but that our TLS does not do because it is not safe any more, reads as `None`.

use fleet_service::config::document::Scalar;
use fleet_service::config::value::Expected;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl Version {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
    }
}

/// A cipher suite, by its number in the registry of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite(pub u16);

/// A curve for the exchange of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256
    P256,
    /// NIST P-384
    P384,
    /// Curve25519
    X25519,
}

impl Curve {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::X25519 => "X25519",
        }
    }
}

pub(super) fn version(scalar: &Scalar) -> Result<Option<Version>, Expected> {
    match scalar.text().trim() {
        "TLSv1.1" | "770" | "0x0302" => Ok(None),
        "TLSv1.2" | "771" | "0x0303" => Ok(Some(Version::Tls12)),
        "TLSv1.3" | "772" | "0x0304" => Ok(Some(Version::Tls13)),
        _ => Err(Expected::new("TLSv1.2 or TLSv1.3")),
    }
}

pub(super) fn curve(scalar: &Scalar) -> Result<Option<Curve>, Expected> {
    match scalar.text().trim() {
        "P-256" | "23" => Ok(Some(Curve::P256)),
        "P-384" | "24" => Ok(Some(Curve::P384)),
        "X25519" | "29" => Ok(Some(Curve::X25519)),
        "P-521" | "25" | "X25519MLKEM768" | "4588" => Ok(None),
        "SecP256r1MLKEM768" | "4587" | "SecP384r1MLKEM1024" | "4589" => Ok(None),
        _ => Err(Expected::new("P-256, P-384 or X25519")),
    }
}

/// The suites that our TLS does, and the ones that it does not.
const SUITES: [(&str, u16, bool); 27] = [
    ("TLS-AES-128-GCM-SHA256", 0x1301, true),
    ("TLS-AES-256-GCM-SHA384", 0x1302, true),
    ("TLS-CHACHA20-POLY1305-SHA256", 0x1303, true),
    ("ECDHE-ECDSA-AES-128-GCM-SHA256", 0xc02b, true),
    ("ECDHE-ECDSA-AES-256-GCM-SHA384", 0xc02c, true),
    ("ECDHE-RSA-AES-128-GCM-SHA256", 0xc02f, true),
    ("ECDHE-RSA-AES-256-GCM-SHA384", 0xc030, true),
    ("ECDHE-RSA-CHACHA20-POLY1305", 0xcca8, true),
    // The original spells it so.
    ("ECDHE-RSA-CHACHA20-POLY1205", 0xcca8, true),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9, true),
    ("ECDHE-ECDSA-AES-128-CBC-SHA", 0xc009, false),
    ("ECDHE-ECDSA-AES-128-CBC-SHA256", 0xc023, false),
    ("ECDHE-ECDSA-AES-256-CBC-SHA", 0xc00a, false),
    ("ECDHE-ECDSA-RC4-128-SHA", 0xc007, false),
    ("ECDHE-RSA-3DES-CBC3-SHA", 0xc012, false),
    ("ECDHE-RSA-AES-128-CBC-SHA", 0xc013, false),
    ("ECDHE-RSA-AES-128-CBC-SHA256", 0xc027, false),
    ("ECDHE-RSA-AES-256-CBC-SHA", 0xc014, false),
    ("ECDHE-RSA-RC4-128-SHA", 0xc011, false),
    ("RSA-3DES-CBC3-SHA", 0x000a, false),
    ("RSA-AES-128-CBC-SHA", 0x002f, false),
    ("RSA-AES-128-CBC-SHA256", 0x003c, false),
    ("RSA-AES-128-GCM-SHA256", 0x009c, false),
    ("RSA-AES-256-CBC-SHA", 0x0035, false),
    ("RSA-AES-256-CBC-SHA256", 0x003d, false),
    ("RSA-AES-256-GCM-SHA384", 0x009d, false),
    ("RSA-RC4-128-SHA", 0x0005, false),
];

pub(super) fn cipher_suite(scalar: &Scalar) -> Result<Option<CipherSuite>, Expected> {
    let text = scalar.text().trim();
    let number =
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u16::from_str_radix(hex, 16).ok());
    let found = SUITES.iter().find(|(name, suite, _)| *name == text || Some(*suite) == number);
    match found {
        Some((_, suite, true)) => Ok(Some(CipherSuite(*suite))),
        Some((_, _, false)) => Ok(None),
        None => Err(Expected::new("the name of a cipher suite, such as ECDHE-RSA-AES-128-GCM-SHA256")),
    }
}
