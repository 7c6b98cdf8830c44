//! `ssl`, of listeners and of clients.

use std::time::Duration;

use fleet_server::config::tls::{
    CipherSuite, ClientAuthentication, Curve, ListenerTls, Passphrase, ServerTls, Verification, Version,
};
use fleet_service::config::value::Secret;
use fleet_service::tls::Pem;

use crate::{Material, World, yaml};

const PAIR: &str = "inputs.0.server.ssl.certificate: $cert\ninputs.0.server.ssl.key: $key\n";

fn world(material: &Material, more: &str) -> World {
    yaml(&material.fill(&format!("{PAIR}{more}")))
}

fn given(material: &Material, more: &str) -> ServerTls {
    match world(material, more).config().server.tls {
        ListenerTls::Given(tls) => *tls,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_listener_has_one_of_three() {
    let material = Material::new();
    assert!(matches!(yaml("").config().server.tls, ListenerTls::Own));
    assert!(matches!(yaml("inputs.0.server.ssl:").config().server.tls, ListenerTls::Own));
    assert!(matches!(world(&material, "").config().server.tls, ListenerTls::Given(_)));
    let off = yaml("inputs.0.server.ssl.enabled: false");
    assert!(matches!(off.config().server.tls, ListenerTls::Off));
    assert!(off.warnings()[0].contains("can be read on the way"), "{:?}", off.warnings());
    let off = world(&material, "inputs.0.server.ssl.enabled: false");
    assert!(matches!(off.config().server.tls, ListenerTls::Off));
    assert!(matches!(yaml("management.ssl.enabled: false").config().management.tls, ListenerTls::Off));
}

#[test]
fn certificate_and_key_are_a_pair() {
    let material = Material::new();
    let cases = [
        ("certificate: $cert", "certificate needs inputs.0.server.ssl.key: give both or none"),
        ("key: $key", "key needs inputs.0.server.ssl.certificate: give both or none"),
        (
            "verification_mode: full",
            "certificate and inputs.0.server.ssl.key are missing: give both, or leave out the section, and the \
             server makes a certificate itself",
        ),
    ];
    for (text, expected) in cases {
        let mistakes = yaml(&material.fill(&format!("inputs.0.server.ssl.{text}"))).mistakes();
        assert_eq!(mistakes, [format!("test.yml:1: inputs.0.server.ssl.{expected}")]);
    }
    // A client needs neither.
    let client = "store: etcd\nstore.etcd.endpoints: https://a\nstore.etcd.ssl";
    assert_eq!(yaml(&format!("{client}.verification_mode: full")).warnings(), Vec::<String>::new());
    let mistakes = yaml(&material.fill(&format!("{client}.key: $key"))).mistakes();
    assert_eq!(
        mistakes,
        ["test.yml:3: store.etcd.ssl.key needs store.etcd.ssl.certificate: give both or none"]
    );
}

#[test]
fn material_may_stand_in_the_file() {
    let material = Material::new();
    let (certificate, key) = (material.inline("cert.pem"), material.inline("key.pem"));
    let text = format!(
        "inputs.0.server.ssl: {{certificate: {certificate}, key: {key}, key_passphrase: hidden}}\n\
         management.ssl.certificate: {certificate}\nmanagement.ssl.key: {key}"
    );
    let config = yaml(&text).config();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hidden") && !shown.contains("PRIVATE KEY"), "{shown}");
    let ListenerTls::Given(tls) = config.server.tls else { panic!("not given") };
    assert!(tls.identity.certificate.file().is_none());
    let Pem::Inline(key) = tls.identity.key else { panic!("a file") };
    assert!(key.reveal().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(tls.identity.passphrase, Some(Passphrase::Inline(Secret::new("hidden"))));
}

#[test]
fn what_is_given_is_what_listeners_take() {
    let material = Material::new();
    let ssl = "inputs.0.server.ssl";
    let text = format!(
        "{ssl}.certificate_authorities: $ca\n{ssl}.client_authentication: optional\n{ssl}.key_passphrase_path: $secret\n\
         {ssl}.supported_protocols: TLSv1.3\n{ssl}.cipher_suites: TLS-AES-128-GCM-SHA256\n{ssl}.curve_types: X25519"
    );
    let settings = given(&material, &text).settings(vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(settings.certificate.file(), Some(material.path("cert.pem").as_ref()));
    assert_eq!(settings.key_passphrase, Some(Passphrase::File(material.path("secret").into())));
    assert_eq!(settings.client_authorities.len(), 1);
    assert_eq!(settings.client_authentication, ClientAuthentication::Optional);
    assert_eq!(settings.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(settings.versions, ["TLSv1.3", "TLSv1.3"]);
    let loaded = settings.load().unwrap();
    assert_eq!(loaded.config.alpn_protocols.len(), 2);
}

#[test]
fn material_that_does_not_fit_is_told() {
    let (one, other) = (Material::new(), Material::new());
    let text = format!("management.ssl.certificate: $cert\nmanagement.ssl.key: {}", other.path("key.pem"));
    let mistakes = yaml(&one.fill(&text)).mistakes();
    assert!(mistakes[0].starts_with("test.yml:2: management.ssl.key: key"), "{mistakes:?}");
    assert!(mistakes[0].contains("does not fit certificate"), "{mistakes:?}");
    std::fs::write(one.path("cert.pem"), "no certificate").unwrap();
    let mistakes = world(&one, "").mistakes();
    assert!(
        mistakes[0].starts_with("test.yml:1: inputs.0.server.ssl.certificate: certificate"),
        "{mistakes:?}"
    );
}

#[test]
fn what_listeners_do_not_do_is_a_mistake() {
    let material = Material::new();
    let refused = [
        "ca_sha256: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
        "disable_legacy_pem_support: true",
        "verification_mode: none\ninputs.0.server.ssl.certificate_authorities: $ca",
    ];
    for text in refused {
        let key = text.split(':').next().unwrap();
        let mistakes = world(&material, &format!("inputs.0.server.ssl.{text}")).mistakes();
        let text =
            format!("test.yml:3: inputs.0.server.ssl.{key} cannot be set to this for a listener: remove it");
        assert_eq!(mistakes, [text]);
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let material = Material::new();
    let text = "inputs.0.server.ssl.certificate: $cert\ninputs.0.server.ssl.key: $cert";
    let mistakes = yaml(&material.fill(text)).mistakes();
    assert!(mistakes[0].starts_with("test.yml:2: inputs.0.server.ssl.key: the file"), "{mistakes:?}");
    assert!(mistakes[0].contains("chmod 600"), "{mistakes:?}");
}

#[test]
fn the_passphrases_file_is_kept() {
    let material = Material::new();
    std::fs::write(material.path("secret"), "  pass \n\n").unwrap();
    let tls = given(&material, "inputs.0.server.ssl.key_passphrase_path: $secret");
    // The file is kept, to be read again with a new key; that it can be read is seen here.
    assert_eq!(tls.identity.passphrase, Some(Passphrase::File(material.path("secret").into())));
}

#[test]
fn client_certificates_are_asked_for_when_authorities_are_given() {
    let material = Material::new();
    let asked = |more: &str| given(&material, more).client_authentication;
    assert_eq!(asked(""), ClientAuthentication::None);
    assert_eq!(asked("inputs.0.server.ssl.certificate_authorities: [$ca]"), ClientAuthentication::Required);
    assert_eq!(asked("inputs.0.server.ssl.certificate_authorities: []"), ClientAuthentication::Required);
    let words = [
        ("none", ClientAuthentication::None),
        ("0", ClientAuthentication::None),
        ("optional", ClientAuthentication::Optional),
        ("3", ClientAuthentication::Optional),
        ("required", ClientAuthentication::Required),
        ("4", ClientAuthentication::Required),
    ];
    for (word, expected) in words {
        let more = format!(
            "inputs.0.server.ssl.certificate_authorities: [$ca]\ninputs.0.server.ssl.client_authentication: {word}"
        );
        assert_eq!(asked(&more), expected, "{word}");
    }
}

#[test]
fn authorities_that_cannot_be_read() {
    let material = Material::new();
    let key = "output.elasticsearch.ssl.certificate_authorities";
    let client = |more: &str| yaml(&material.fill(&format!("store: embedded\n{more}")));
    let some = client(&format!("{key}: [$ca, /none]"));
    assert!(some.warnings()[0].contains("the file /none cannot be read"), "{:?}", some.warnings());
    let all = client(&format!("{key}: [/none]"));
    assert!(all.mistakes()[0].starts_with(&format!("test.yml:2: {key}: the file /none cannot be read")));
    let fixed = format!("{key}: [$ca, /none]\noutput.elasticsearch.ssl.certificate_reload.enabled: false");
    assert_eq!(client(&fixed).mistakes().len(), 1);
    // A listener takes all of them.
    let listener = world(&material, "inputs.0.server.ssl.certificate_authorities: [$ca, /none]");
    assert!(
        listener.mistakes()[0]
            .starts_with("test.yml:3: inputs.0.server.ssl.certificate_authorities: certificate_authorities")
    );
}

#[test]
fn versions_are_a_range() {
    let material = Material::new();
    let range = |list: &str| {
        let more = format!("inputs.0.server.ssl.supported_protocols: {list}");
        let common = given(&material, &more).common;
        (common.oldest, common.newest)
    };
    assert_eq!(range("[]"), (Version::Tls12, Version::Tls13));
    assert_eq!(range("[TLSv1.2]"), (Version::Tls12, Version::Tls12));
    assert_eq!(range("TLSv1.3"), (Version::Tls13, Version::Tls13));
    assert_eq!(range("[TLSv1.3, TLSv1.2]"), (Version::Tls12, Version::Tls13));
    assert_eq!(range("[771]"), (Version::Tls12, Version::Tls12));
    assert_eq!(range("[TLSv1.1, TLSv1.2]"), (Version::Tls12, Version::Tls12));
    for list in ["TLSv1", "TLSv1.0", "SSLv3", "[TLSv1.1]"] {
        let mistakes =
            world(&material, &format!("inputs.0.server.ssl.supported_protocols: {list}")).mistakes();
        assert!(
            mistakes[0].starts_with("test.yml:3: inputs.0.server.ssl.supported_protocols"),
            "{mistakes:?}"
        );
    }
}

#[test]
fn names_of_suites_and_curves() {
    let material = Material::new();
    let text = "inputs.0.server.ssl:\n  cipher_suites: [ECDHE-RSA-CHACHA20-POLY1205, '0xc02f', 4865, RSA-RC4-128-SHA]\n  \
                curve_types: [P-384, 29, P-521, X25519MLKEM768]";
    let common = given(&material, text).common;
    assert_eq!(common.cipher_suites, [CipherSuite(0xcca8), CipherSuite(0xc02f), CipherSuite(0x1301)]);
    assert_eq!(common.curves, [Curve::P384, Curve::X25519]);
    let warnings = world(&material, text).warnings();
    assert_eq!(
        warnings,
        [
            "test.yml:4: inputs.0.server.ssl.cipher_suites: RSA-RC4-128-SHA cannot be used here; the others are",
            "test.yml:5: inputs.0.server.ssl.curve_types: P-521, X25519MLKEM768 cannot be used here; the others are",
        ]
    );
    let weak = world(&material, "inputs.0.server.ssl.cipher_suites: [RSA-RC4-128-SHA]").mistakes();
    assert!(weak[0].ends_with("cannot be used here, and nothing else is given"), "{weak:?}");
}

#[test]
fn the_rest_of_ssl() {
    let material = Material::new();
    let common = given(&material, "").common;
    assert_eq!(common.reload, Some(Duration::from_secs(5)));
    assert_eq!(common.verification, Verification::Full);
    assert!(common.authorities.is_none());
    for (word, expected) in [
        ("full", Verification::Full),
        ("0", Verification::Full),
        ("''", Verification::Full),
        ("none", Verification::None),
        ("1", Verification::None),
        ("certificate", Verification::Certificate),
        ("2", Verification::Certificate),
        ("strict", Verification::Strict),
        ("3", Verification::Strict),
    ] {
        let common = given(&material, &format!("inputs.0.server.ssl.verification_mode: {word}")).common;
        assert_eq!(common.verification, expected, "{word}");
    }
    let off = given(&material, "inputs.0.server.ssl.certificate_reload.enabled: false").common;
    assert_eq!(off.reload, None);
}
