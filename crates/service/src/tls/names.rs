//! Versions, cipher suites and curves by the names, or IANA numbers, that configuration files use.

use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use super::TlsError;

/// A cipher suite: its IANA number, the names it goes by, the first of them for messages.
struct Suite(u16, &'static [&'static str], SupportedCipherSuite);

#[rustfmt::skip]
const SUITES: &[Suite] = &[
    Suite(0x1301, &["TLS-AES-128-GCM-SHA256"], cipher_suite::TLS13_AES_128_GCM_SHA256),
    Suite(0x1302, &["TLS-AES-256-GCM-SHA384"], cipher_suite::TLS13_AES_256_GCM_SHA384),
    Suite(0x1303, &["TLS-CHACHA20-POLY1305-SHA256"], cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    Suite(0xc02b, &["ECDHE-ECDSA-AES-128-GCM-SHA256"], cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    Suite(0xc02c, &["ECDHE-ECDSA-AES-256-GCM-SHA384"], cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    Suite(0xc02f, &["ECDHE-RSA-AES-128-GCM-SHA256"], cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    Suite(0xc030, &["ECDHE-RSA-AES-256-GCM-SHA384"], cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    // The original misspells the RSA one; files that work with it must work here.
    Suite(0xcca8, &["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1205"],
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    Suite(0xcca9, &["ECDHE-ECDSA-CHACHA20-POLY1305"], cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Parts of the names of suites that exist and are refused on purpose.
const UNSAFE_SUITES: &[&str] = &["CBC", "RC4", "3DES", "RSA-AES-"];

const CURVES: &[(u16, &str, &dyn SupportedKxGroup)] = &[
    (23, "P-256", kx_group::SECP256R1),
    (24, "P-384", kx_group::SECP384R1),
    (29, "X25519", kx_group::X25519),
];

/// Curves that exist, and which our provider of cryptography does not have.
const MISSING_CURVES: &[(u16, &str)] =
    &[(25, "P-521"), (4587, "SecP256r1MLKEM768"), (4588, "X25519MLKEM768"), (4589, "SecP384r1MLKEM1024")];

/// Our provider, with what these names leave of it. No names: all that it has.
///
/// A list that names no suite of TLS 1.3 leaves them all, as the original does: there, the list is about
/// TLS 1.2 alone.
///
/// # Errors
/// [`TlsError::Unsupported`].
pub fn provider(suites: &[String], curves: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if !suites.is_empty() {
        let wanted: Vec<SupportedCipherSuite> =
            suites.iter().map(|name| suite(name)).collect::<Result<_, _>>()?;
        let any_tls13 = wanted.iter().any(|suite| suite.tls13().is_some());
        provider
            .cipher_suites
            .retain(|suite| wanted.contains(suite) || (!any_tls13 && suite.tls13().is_some()));
    }
    if !curves.is_empty() {
        // In the order given: it is that of preference.
        provider.kx_groups = curves.iter().map(|name| curve(name)).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

/// The versions from the lowest to the highest that is named. No names: 1.2 and 1.3.
///
/// # Errors
/// [`TlsError::Unsupported`].
pub fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let mut wanted = Vec::with_capacity(names.len());
    for name in names {
        wanted.push(match (name.trim(), number(name)) {
            ("TLSv1.2", _) | (_, Some(0x0303)) => &version::TLS12,
            ("TLSv1.3", _) | (_, Some(0x0304)) => &version::TLS13,
            ("TLSv1" | "TLSv1.0" | "TLSv1.1", _) | (_, Some(0x0301 | 0x0302)) => {
                return Err(unsupported_version(name, "is not safe and not supported"));
            }
            _ => return Err(unsupported_version(name, "is unknown")),
        });
    }
    if wanted.is_empty() {
        wanted = vec![&version::TLS12, &version::TLS13];
    }
    Ok(wanted)
}

fn unsupported_version(name: &str, why: &'static str) -> TlsError {
    let known = "TLSv1.2 or TLSv1.3".to_owned();
    TlsError::Unsupported { setting: "supported_protocols", name: name.to_owned(), why, known }
}

fn suite(name: &str) -> Result<SupportedCipherSuite, TlsError> {
    let plain = plain(name);
    let number = number(name);
    let found = SUITES.iter().find(|Suite(id, names, _)| {
        number == Some(*id) || names.iter().any(|known| self::plain(known) == plain)
    });
    if let Some(Suite(_, _, suite)) = found {
        return Ok(*suite);
    }
    let is_unsafe = UNSAFE_SUITES.iter().any(|part| name.to_uppercase().replace('_', "-").contains(part));
    let names: Vec<&str> = SUITES.iter().filter_map(|Suite(_, names, _)| names.first().copied()).collect();
    Err(TlsError::Unsupported {
        setting: "cipher_suites",
        name: name.to_owned(),
        why: if is_unsafe { "is not safe and not supported" } else { "is unknown" },
        known: names.join(", "),
    })
}

/// A suite's name without what differs between spellings: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`,
/// `ECDHE-RSA-AES-128-GCM-SHA256` and OpenSSL's `ECDHE-RSA-AES128-GCM-SHA256` are one.
fn plain(name: &str) -> String {
    let name = name.trim().to_uppercase().replace(['-', '_'], "");
    let name = name.strip_prefix("TLS").unwrap_or(&name).replace("WITH", "");
    // Where the hash goes without saying, some say it.
    name.strip_suffix("POLY1305SHA256").map(|start| format!("{start}POLY1305")).unwrap_or(name)
}

fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, TlsError> {
    let number = number(name);
    let is = |id: u16, known: &str| number == Some(id) || known.eq_ignore_ascii_case(name.trim());
    if let Some((_, _, group)) = CURVES.iter().find(|(id, known, _)| is(*id, known)) {
        return Ok(*group);
    }
    let is_missing = MISSING_CURVES.iter().any(|(id, known)| is(*id, known));
    let names: Vec<&str> = CURVES.iter().map(|(_, known, _)| *known).collect();
    Err(TlsError::Unsupported {
        setting: "curve_types",
        name: name.to_owned(),
        why: if is_missing { "is not supported" } else { "is unknown" },
        known: names.join(", "),
    })
}

/// A decimal or `0x…` number.
fn number(text: &str) -> Option<u16> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_suite_has_its_spellings_and_its_number() {
        for spelling in [
            "ECDHE-RSA-AES-128-GCM-SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            " ecdhe-rsa-aes-128-gcm-sha256",
            "49199",
            "0xC02F",
        ] {
            assert_eq!(suite(spelling).unwrap(), cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        }
        for Suite(id, known, expected) in SUITES {
            assert_eq!(u16::from(expected.suite()), *id);
            assert_eq!(suite(&id.to_string()).unwrap(), *expected);
            for name in *known {
                assert_eq!(suite(name).unwrap(), *expected, "{name}");
            }
            // rustls writes the version into the names of TLS 1.3, which nobody else does.
            let iana = expected.suite().as_str().unwrap().replace("TLS13_", "TLS_");
            assert_eq!(suite(&iana).unwrap(), *expected);
        }
        let rsa = suite("ECDHE-RSA-CHACHA20-POLY1205").unwrap();
        assert_eq!(rsa, cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256);
    }

    #[test]
    fn a_list_of_old_suites_leaves_the_new_version_alone() {
        let only = provider(&names(&["ECDHE-RSA-AES-128-GCM-SHA256"]), &[]).unwrap().cipher_suites;
        assert_eq!(only.iter().filter(|suite| suite.tls13().is_some()).count(), 3);
        assert_eq!(only.len(), 4);
        let both = names(&["ECDHE-RSA-AES-128-GCM-SHA256", "TLS-AES-128-GCM-SHA256"]);
        assert_eq!(provider(&both, &[]).unwrap().cipher_suites.len(), 2);
        assert_eq!(provider(&[], &[]).unwrap().cipher_suites.len(), SUITES.len());
    }

    #[test]
    fn curves_keep_their_order() {
        let groups = provider(&[], &names(&["p-384", "29"])).unwrap().kx_groups;
        let names: Vec<u16> = groups.iter().map(|group| u16::from(group.name())).collect();
        assert_eq!(names, [24, 29]);
    }

    #[test]
    fn what_is_not_supported_says_what_is() {
        let text = |error: TlsError| error.to_string();
        let error = text(provider(&names(&["ECDHE-RSA-AES-128-CBC-SHA"]), &[]).unwrap_err());
        let start =
            "cipher_suites: \"ECDHE-RSA-AES-128-CBC-SHA\" is not safe and not supported: use TLS-AES-";
        assert!(error.starts_with(start), "{error}");
        let error = text(provider(&names(&["AES"]), &[]).unwrap_err());
        assert!(error.contains("is unknown"), "{error}");
        let error = text(provider(&[], &names(&["P-521"])).unwrap_err());
        assert_eq!(error, "curve_types: \"P-521\" is not supported: use P-256, P-384, X25519");
        let error = text(provider(&[], &names(&["X448"])).unwrap_err());
        assert_eq!(error, "curve_types: \"X448\" is unknown: use P-256, P-384, X25519");
        let error = text(versions(&names(&["TLSv1.1", "TLSv1.2"])).unwrap_err());
        assert!(error.starts_with("supported_protocols: \"TLSv1.1\" is not safe"), "{error}");
        assert!(text(versions(&names(&["SSLv3"])).unwrap_err()).contains("is unknown"));
    }

    #[test]
    fn versions_have_names_and_numbers() {
        assert_eq!(versions(&[]).unwrap(), [&version::TLS12, &version::TLS13]);
        assert_eq!(versions(&names(&["TLSv1.3"])).unwrap(), [&version::TLS13]);
        assert_eq!(versions(&names(&["771", "0x304"])).unwrap(), [&version::TLS12, &version::TLS13]);
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(name in ".{0,40}") {
            let _ = (suite(&name), curve(&name), versions(&[name]));
        }
    }
}
