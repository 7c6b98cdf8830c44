//! `ssl`: certificates, keys, and whom to trust.
//!
//! The keys are the same on both sides of a connection, but for a few. Names are turned into ours; what
//! material says is for whoever builds a TLS configuration of it, but a file that cannot be read, or a key
//! that others can, is a mistake here already.

use std::time::Duration;

use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::Expected;
use fleet_service::tls::Pem;

mod names;
mod roles;

pub use fleet_service::tls::{ClientAuthentication, Passphrase};
pub use names::{CipherSuite, Curve, Version};
pub use roles::{ClientTls, ListenerTls, Renegotiation, ServerTls};

pub(super) use roles::{read_client, read_listener};

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and its chain.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// What the key is encrypted with.
    pub passphrase: Option<Passphrase>,
}

/// How much of the other side's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The chain, and the name. On a server: the chain.
    Full,
    /// The same, and the name must be among the alternative names.
    Strict,
    /// The chain alone.
    Certificate,
    /// Nothing.
    None,
}

/// What both sides of a connection have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// How much of the other side's certificate is checked.
    pub verification: Verification,
    /// The oldest version of the protocol.
    pub oldest: Version,
    /// The newest.
    pub newest: Version,
    /// In the order given. Empty: the default ones.
    pub cipher_suites: Vec<CipherSuite>,
    /// In the order given. Empty: the default ones.
    pub curves: Vec<Curve>,
    /// The authorities to trust. `None`: the system's.
    pub authorities: Option<Vec<Pem>>,
    /// SHA-256 of the public keys of authorities, one of which must be in the chain. Empty: any may.
    pub ca_sha256: Vec<[u8; 32]>,
    /// Refuse keys that are encrypted in the old form of PKCS#1.
    pub disable_legacy_pem: bool,
    /// How often files are looked at again; `None`: never.
    pub reload: Option<Duration>,
}

fn read_common(section: &Section<'_>) -> Common {
    let (oldest, newest) = versions(section);
    let reload = section.get("certificate_reload.enabled", true, read::boolean);
    let key = "certificate_reload.reload_interval";
    let interval = super::duration_or(section, key, Duration::from_secs(5));
    Common {
        verification: section.get("verification_mode", Verification::Full, verification),
        oldest,
        newest,
        cipher_suites: usable(section, "cipher_suites", names::cipher_suite),
        curves: usable(section, "curve_types", names::curve),
        authorities: authorities(section, reload),
        ca_sha256: section.list("ca_sha256", Vec::new(), public_key_hash),
        disable_legacy_pem: section.get("disable_legacy_pem_support", false, read::boolean),
        reload: reload.then_some(interval),
    }
}

fn verification(scalar: &Scalar) -> Result<Verification, Expected> {
    match scalar.text().trim().to_ascii_lowercase().as_str() {
        "full" | "0" => Ok(Verification::Full),
        "none" | "1" => Ok(Verification::None),
        "certificate" | "2" => Ok(Verification::Certificate),
        "strict" | "3" => Ok(Verification::Strict),
        _ => Err(Expected::new("full, certificate, strict or none")),
    }
}

/// The range from the oldest that is named to the newest.
fn versions(section: &Section<'_>) -> (Version, Version) {
    let given = usable(section, "supported_protocols", names::version);
    let oldest = given.iter().min().copied().unwrap_or(Version::Tls12);
    (oldest, given.iter().max().copied().unwrap_or(Version::Tls13))
}

/// The names of a list that we can do. One that only others can is told; a list of nothing else is a mistake.
fn usable<T>(
    section: &Section<'_>,
    key: &str,
    read: impl Fn(&Scalar) -> Result<Option<T>, Expected>,
) -> Vec<T> {
    let refused = std::cell::RefCell::new(Vec::new());
    let usable: Vec<T> = section
        .list(key, Vec::new(), |scalar| {
            let name = read(scalar)?;
            if name.is_none() {
                refused.borrow_mut().push(scalar.text().trim().to_owned());
            }
            Ok(name)
        })
        .into_iter()
        .flatten()
        .collect();
    let refused = refused.into_inner();
    if !refused.is_empty() {
        let what = format!("{}: {} cannot be used here", section.full_key(key), refused.join(", "));
        if usable.is_empty() {
            section.mistake(key, format!("{what}, and nothing else is given"));
        } else {
            section.warning(key, format!("{what}; the others are"));
        }
    }
    usable
}

/// As in the original, one that cannot be read is a mistake only if there is no other, or if nobody looks
/// again later.
fn authorities(section: &Section<'_>, reload: bool) -> Option<Vec<Pem>> {
    let key = "certificate_authorities";
    let given = section.has(key);
    let authorities = section.list(key, Vec::new(), pem);
    let problems: Vec<String> = authorities.iter().filter_map(unreadable).collect();
    let some_left = problems.len() < authorities.len();
    for problem in problems {
        let text = format!("{}: {problem}", section.full_key(key));
        if reload && some_left {
            section.warning(key, format!("{text}; the others are used"));
        } else {
            section.mistake(key, text);
        }
    }
    given.then_some(authorities)
}

/// The certificate and key, if there are any and they can be read.
fn identity(section: &Section<'_>) -> Option<Identity> {
    let certificate = section.optional("certificate", pem);
    let key = section.secret("key").map(|text| Pem::from_setting(text.reveal().trim()));
    let passphrase = passphrase(section);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let problem = unreadable(&certificate);
            if let Some(problem) = &problem {
                section.mistake("certificate", format!("{}: {problem}", section.full_key("certificate")));
            }
            // Only looked at, to tell early: whoever reads it does so again.
            let key_is_good = key.file().is_none_or(|path| section.secret_file("key", path).is_some());
            (problem.is_none() && key_is_good).then_some(Identity { certificate, key, passphrase })
        }
        (Some(_), None) => {
            section.mistake("certificate", needs(section, "certificate", "key"));
            None
        }
        (None, Some(_)) => {
            section.mistake("key", needs(section, "key", "certificate"));
            None
        }
        (None, None) => None,
    }
}

/// A file stays one, so that a new passphrase is seen together with the new key.
fn passphrase(section: &Section<'_>) -> Option<Passphrase> {
    let text = section.secret_or_file("key_passphrase", "key_passphrase_path", TextFile::Trimmed)?;
    match section.optional("key_passphrase_path", read::path) {
        Some(path) if !section.has("key_passphrase") => Some(Passphrase::File(path)),
        _ => Some(Passphrase::Inline(text)),
    }
}

fn needs(section: &Section<'_>, key: &str, other: &str) -> String {
    format!("{} needs {}: give both or none", section.full_key(key), section.full_key(other))
}

/// What keeps a file from being read.
fn unreadable(pem: &Pem) -> Option<String> {
    let path = pem.file()?;
    let error = std::fs::metadata(path).and_then(|_| std::fs::File::open(path)).err()?;
    Some(format!("the file {} cannot be read: {error}", path.display()))
}

fn pem(scalar: &Scalar) -> Result<Pem, Expected> {
    Ok(Pem::from_setting(scalar.text().trim()))
}

fn public_key_hash(scalar: &Scalar) -> Result<[u8; 32], Expected> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(scalar.text().trim()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Expected::new("the SHA-256 of a public key in base64 (44 letters)"))
}
