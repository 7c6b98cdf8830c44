//! `ssl`, of listeners and of clients.

use std::time::Duration;

use fleet_server::config::tls::{
    CipherSuite, ClientAuthentication, Curve, ListenerTls, Material as Pem, ServerTls, Verification, Version,
};

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
    let text = "inputs:\n- server.ssl:\n    certificate: |\n      -----BEGIN CERTIFICATE-----\n      eA==\n    key: |\n      -----BEGIN PRIVATE KEY-----\n      hidden\n    key_passphrase: hidden\n";
    let config = yaml(text).config();
    assert!(!format!("{config:?}").contains("hidden"));
    let ListenerTls::Given(tls) = config.server.tls else { panic!("not given") };
    assert!(matches!(tls.identity.certificate, Pem::Inline(_)));
    let Pem::Inline(key) = tls.identity.key else { panic!("a file") };
    assert_eq!(key.reveal(), "-----BEGIN PRIVATE KEY-----\nhidden");
    assert_eq!(tls.identity.passphrase.unwrap().reveal(), "hidden");
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
fn the_passphrase_is_trimmed() {
    let material = Material::new();
    std::fs::write(material.path("secret"), "  pass \n\n").unwrap();
    let tls = given(&material, "inputs.0.server.ssl.key_passphrase_path: $secret");
    assert_eq!(tls.identity.passphrase.unwrap().reveal(), "pass");
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
    let key = "inputs.0.server.ssl.certificate_authorities";
    let some = world(&material, &format!("{key}: [$ca, /none]"));
    assert!(some.warnings()[0].contains("the file /none cannot be read"), "{:?}", some.warnings());
    let all = world(&material, &format!("{key}: [/none]"));
    assert!(all.mistakes()[0].starts_with(&format!("test.yml:3: {key}: the file /none cannot be read")));
    let fixed = format!("{key}: [$ca, /none]\ninputs.0.server.ssl.certificate_reload.enabled: false");
    assert_eq!(world(&material, &fixed).mistakes().len(), 1);
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
