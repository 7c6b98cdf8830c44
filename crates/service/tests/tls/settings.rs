//! What is wrong with a server's settings is said with the fix.

use fleet_service::config::value::Secret;
use fleet_service::tls::{ClientAuthentication, Passphrase, Pem, TlsError};
use proptest::prelude::*;

use crate::pki::{Authority, Files};

/// One key in several forms; see `keys/README.md`.
const PLAIN: &str = include_str!("keys/plain.pem");

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    files.write_certificate(&authority.certify(PLAIN));
    let inline = |text: &str| Some(Passphrase::Inline(Secret::new(text)));
    for key in [
        include_str!("keys/aes-256.pem"),
        include_str!("keys/aes-128.pem"),
        include_str!("keys/sha1.pem"),
        include_str!("keys/scrypt.pem"),
    ] {
        files.write_key(key);
        let mut settings = files.settings();
        let error = settings.load().unwrap_err();
        assert!(matches!(error, TlsError::NoPassphrase { .. }), "{error}");
        settings.key_passphrase = inline("wrong");
        let error = settings.load().unwrap_err();
        assert!(matches!(error, TlsError::WrongPassphrase { .. }), "{error}");
        assert!(error.to_string().contains("key_passphrase_path"), "{error}");
        settings.key_passphrase = inline("correct horse");
        settings.load().unwrap();
        // The same from a file, and with the key in the configuration.
        settings.key_passphrase = Some(Passphrase::File(files.write("pass", " correct horse\n", 0o600)));
        settings.key = Pem::from_setting(key);
        settings.load().unwrap();
        files.write("pass", "correct horse", 0o604);
        assert!(matches!(settings.load().unwrap_err(), TlsError::Exposed { .. }));
        // And a passphrase for a key that needs none does no harm.
        files.write("pass", "correct horse", 0o640);
        settings.key = Pem::from_setting(PLAIN);
        settings.load().unwrap();
    }
}

#[test]
fn keys_encrypted_in_ways_that_are_not_safe_are_refused_with_the_fix() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    files.write_certificate(&authority.certify(PLAIN));
    let mut settings = files.settings();
    settings.key_passphrase = Some(Passphrase::Inline(Secret::new("correct horse")));
    files.write_key(include_str!("keys/des3.pem"));
    let des3 = settings.load().unwrap_err();
    assert!(matches!(des3, TlsError::UnsupportedEncryption { .. }), "{des3}");
    files.write_key(include_str!("keys/legacy.pem"));
    let legacy = settings.load().unwrap_err();
    assert!(matches!(legacy, TlsError::LegacyEncryption { .. }), "{legacy}");
    for error in [des3, legacy] {
        assert!(error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    }
}

#[test]
fn what_is_wrong_with_the_files_is_named() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let settings = files.settings();
    let refused = |expected: &str| {
        let error = settings.load().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(files.path().to_str().unwrap()), "{error}");
    };
    let (certificate, key) = authority.issue();
    files.write_certificate(&certificate);
    refused("does not fit certificate");
    files.write_certificate(&key);
    refused("holds no certificate");
    files.write_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused("holds a certificate that cannot be read");
    files.write_certificate("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    refused("is not in PEM form");
    files.write_certificate(&certificate);
    files.write_key(&certificate);
    refused("holds no private key");
    files.write_key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    refused("cannot be used");
    files.write("key.pem", &key, 0o644);
    refused("can be read by everybody (mode 0644): run chmod o-rwx");
    files.write("key.pem", &key, 0o640);
    settings.load().unwrap();
    for (past, expected) in [(true, "expired at"), (false, "is not valid before")] {
        let (certificate, key) = authority.issue_out_of_time(past);
        files.write_certificate(&certificate);
        files.write_key(&key);
        refused(expected);
    }
    std::fs::remove_file(files.path().join("certificate.pem")).unwrap();
    refused("cannot be read");
    std::fs::create_dir(files.path().join("certificate.pem")).unwrap();
    refused("is not a regular file");
    std::fs::remove_dir(files.path().join("certificate.pem")).unwrap();
    let pipe = files.path().join("certificate.pem");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    refused("is not a regular file");
}

#[test]
fn authorities_of_clients_are_read_only_where_they_are_used() {
    let files = Files::new(&Authority::new());
    let mut settings = files.settings();
    settings.client_authorities = vec![Pem::from_setting("/nowhere/ca.pem")];
    settings.load().unwrap();
    settings.client_authentication = ClientAuthentication::Required;
    let error = settings.load().unwrap_err().to_string();
    assert_eq!(error, "certificate_authorities /nowhere/ca.pem cannot be read");
}

#[test]
fn a_setting_is_a_file_or_the_text_itself() {
    assert_eq!(Pem::from_setting("/etc/cert.pem").file().unwrap().to_str(), Some("/etc/cert.pem"));
    for text in ["-----BEGIN X", "a\nb", "x-----BEGIN"] {
        assert_eq!(Pem::from_setting(text).file(), None);
        assert!(!format!("{:?}", Pem::from_setting(text)).contains("BEGIN"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused(
        certificate in pem_like("CERTIFICATE"),
        key in pem_like("ENCRYPTED PRIVATE KEY"),
        passphrase in ".{0,20}",
    ) {
        let mut settings = fleet_service::tls::ServerTls::new(inline(&certificate), inline(PLAIN));
        settings.load().unwrap_err();
        let own = Authority::new().certify(PLAIN);
        settings = fleet_service::tls::ServerTls::new(inline(&own), inline(&key));
        settings.key_passphrase = Some(Passphrase::Inline(Secret::new(passphrase)));
        settings.load().unwrap_err();
    }
}

fn inline(text: &str) -> Pem {
    Pem::Inline(Secret::new(text))
}

/// Nonsense, or nonsense between the right lines.
fn pem_like(label: &'static str) -> impl Strategy<Value = String> {
    let framed = "[A-Za-z0-9+/=\n]{0,200}"
        .prop_map(move |body| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"));
    prop_oneof![".{0,200}", framed]
}
