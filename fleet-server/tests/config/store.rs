//! Where documents are kept, and what the server keeps for itself.

use std::path::Path;
use std::time::Duration;

use fleet_server::config::store::{Etcd, Store};

use crate::{Material, World, yaml};

fn etcd(world: &World) -> Etcd {
    match world.config().store {
        Store::Etcd(etcd) => *etcd,
        Store::Embedded { .. } => panic!("embedded"),
    }
}

fn path(world: &World) -> String {
    match world.config().store {
        Store::Embedded { path } => path.display().to_string(),
        Store::Etcd(_) => panic!("etcd"),
    }
}

#[test]
fn the_embedded_store_lies_in_the_data_directory() {
    assert_eq!(path(&yaml("")), "/var/lib/fleet-server/store.db");
    assert_eq!(path(&yaml("data_dir: /d")), "/d/store.db");
    assert_eq!(path(&yaml("data_dir: /d").variable("FLEET_DATA_DIR", "/e")), "/e/store.db");
    assert_eq!(path(&yaml("").variable("FLEET_DATA_DIR", "/e").with("data_dir=/f")), "/f/store.db");
    assert_eq!(path(&yaml("store.path: /x/y.db\nstore.type: embedded")), "/x/y.db");
}

#[test]
fn one_key_chooses_etcd() {
    for text in ["store: etcd", "store: {type: etcd}", "store.type: etcd", "store: '${STORE:etcd}'"] {
        let etcd = etcd(&yaml(text));
        assert_eq!(etcd.endpoints, ["http://127.0.0.1:2379"]);
        assert_eq!(etcd.key_prefix, "/_coreos.com/fleet/");
        assert_eq!(etcd.request_timeout, Duration::from_secs(1));
        assert!(etcd.credentials.is_none() && etcd.authorities.is_none() && etcd.identity.is_none());
    }
    let world = yaml("store: etcd")
        .with("store.etcd.endpoints=https://a:1,https://b/")
        .with("store.etcd.key_prefix=x");
    let etcd = etcd(&world);
    assert_eq!(etcd.endpoints, ["https://a:1", "https://b"]);
    assert_eq!(etcd.key_prefix, "/x/");
}

#[test]
fn etcds_credentials_are_a_pair() {
    let material = Material::new();
    let base = "store: etcd\nstore.etcd.endpoints: https://a\n";
    let world = yaml(&material.fill(&format!("{base}store.etcd: {{username: u, password_file: $secret}}")));
    let options = etcd(&world).options();
    assert_eq!((options.username.as_deref(), options.password.as_deref()), (Some("u"), Some("text")));
    let cases = [
        ("username: u", "store.etcd.username needs store.etcd.password or store.etcd.password_file"),
        ("password: p", "store.etcd.password needs store.etcd.username"),
        ("password_file: $secret", "store.etcd.password_file needs store.etcd.username"),
    ];
    for (text, expected) in cases {
        let mistakes = yaml(&material.fill(&format!("{base}store.etcd.{text}"))).mistakes();
        assert_eq!(mistakes, [format!("test.yml:3: {expected}")]);
    }
    let clear = yaml("store: etcd\nstore.etcd: {username: u, password: p}").warnings();
    assert!(clear[0].contains("is sent in clear"), "{clear:?}");
}

#[test]
fn etcds_tls_is_files() {
    let material = Material::new();
    let base = "store: etcd\nstore.etcd.endpoints: https://a\nstore.etcd.ssl:";
    let world = |ssl: &str| yaml(&material.fill(&format!("{base} {{{ssl}}}")));
    let options = etcd(&world("certificate_authorities: $ca, certificate: $cert, key: $key")).options();
    assert_eq!(options.ca_file, Some(material.path("ca.pem").into()));
    assert_eq!(options.cert_file, Some(material.path("cert.pem").into()));
    assert_eq!(options.key_file, Some(material.path("key.pem").into()));
    assert_eq!(etcd(&world("enabled: false, certificate_authorities: $ca")).authorities, None);
    let refused = [
        ("verification_mode", "none"),
        ("verification_mode", "certificate"),
        ("supported_protocols", "[TLSv1.2]"),
        ("cipher_suites", "[TLS-AES-128-GCM-SHA256]"),
        ("curve_types", "[X25519]"),
        ("ca_sha256", "'47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"),
        ("ca_trusted_fingerprint", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("key_passphrase", "x"),
        ("key_passphrase_path", "$secret"),
        ("certificate_reload.enabled", "false"),
    ];
    for (key, value) in refused {
        let mistakes = world(&format!("certificate: $cert, key: $key, {key}: {value}")).mistakes();
        let expected = format!("test.yml:3: store.etcd.ssl.{key} cannot be set to this for etcd: remove it");
        assert_eq!(mistakes, [expected]);
    }
    let pem = "\"-----BEGIN\"";
    let mistakes = world(&format!("certificate: {pem}, key: $key")).mistakes();
    assert_eq!(mistakes, ["test.yml:3: store.etcd.ssl.certificate must be a file"]);
    let mistakes = world(&format!("certificate: $cert, key: {pem}")).mistakes();
    assert_eq!(mistakes, ["test.yml:3: store.etcd.ssl.key must be a file"]);
}

#[test]
fn bad_endpoints_are_told_without_passwords() {
    for url in ["a:1", "ftp://a", "http://", "http://a/b", "http://a:x", "http://:1", "http://u:hidden@a"] {
        let mistakes = yaml(&format!("store: etcd\nstore.etcd.endpoints: '{url}'")).mistakes();
        assert!(
            mistakes[0].starts_with("test.yml:2: store.etcd.endpoints must be a URL"),
            "{url}: {mistakes:?}"
        );
        assert!(!mistakes[0].contains("hidden"), "{mistakes:?}");
    }
    let mistakes = yaml("store: etcd\nstore.etcd.endpoints: []").mistakes();
    assert_eq!(mistakes, ["test.yml:2: store.etcd.endpoints must name at least one URL"]);
}

#[test]
fn keys_of_the_other_store_are_told() {
    assert_eq!(
        yaml("store.path: /x\nstore.type: etcd").warnings(),
        ["test.yml:1: store.path has no effect: store.type is etcd, not embedded"]
    );
    assert_eq!(
        yaml("store.etcd.endpoints: http://a").warnings(),
        ["test.yml:1: store.etcd has no effect: store.type is embedded, not etcd"]
    );
}

#[test]
fn elasticsearch_without_a_store_is_refused() {
    for text in ["output.elasticsearch.hosts: [a]", "output: {elasticsearch: {service_token: x}}"] {
        let mistakes = yaml(text).mistakes();
        assert_eq!(
            mistakes,
            ["test.yml:1: output.elasticsearch is given, but this server cannot keep its documents in \
                 Elasticsearch yet, and does not start with an empty store of its own unasked: set store.type to \
                 embedded or etcd"]
        );
        for store in ["embedded", "etcd"] {
            assert!(yaml(text).with(&format!("store={store}")).config().output.is_some());
        }
        // A path alone does not say that it is meant.
        assert_eq!(yaml(text).with("store.path=/x").mistakes().len(), 1);
    }
    assert!(yaml("output:").config().output.is_none());
}

#[test]
fn other_outputs_are_refused() {
    let mistakes =
        yaml("store: embedded\noutput:\n  elasticsearch: {path: /}\n  logstash: {hosts: x}").mistakes();
    let expected = "test.yml:4: output.logstash is not possible: output may have the key elasticsearch alone";
    assert_eq!(mistakes, [expected]);
}

#[test]
fn hosts_are_completed() {
    let hosts = |text: &str| {
        let text = format!("store: embedded\noutput.elasticsearch: {text}");
        yaml(&text).config().output.unwrap().hosts.join(" ")
    };
    assert_eq!(hosts("{timeout: 1}"), "http://localhost:9200");
    assert_eq!(hosts("{hosts: a}"), "http://a:9200");
    assert_eq!(
        hosts("{hosts: [a:1, 'https://b', 'http://c:2/d']}"),
        "http://a:1 https://b:9200 http://c:2/d"
    );
    assert_eq!(hosts("{hosts: a, protocol: https, path: x}"), "https://a:9200/x");
    assert_eq!(hosts("{hosts: '[::1]:5'}"), "http://[::1]:5");
    for host in ["::1", "a:99999", "a:", "ftp://a", "http://u:p@a", ""] {
        let world = yaml(&format!("store: embedded\noutput.elasticsearch.hosts: ['x', '{host}']"));
        assert_eq!(world.load().is_ok(), host.is_empty(), "{host}");
    }
}

#[test]
fn the_master_key_is_a_file_or_a_credential() {
    assert_eq!(yaml("").config().master_key_file, Path::new("/var/lib/fleet-server/master.key"));
    assert_eq!(yaml("data_dir: /d").config().master_key_file, Path::new("/d/master.key"));
    let credentials = tempfile::tempdir().unwrap();
    let directory = credentials.path().display().to_string();
    let with = |text: &str| yaml(text).variable("CREDENTIALS_DIRECTORY", &directory).config().master_key_file;
    assert_eq!(with(""), Path::new("/var/lib/fleet-server/master.key"));
    std::fs::write(credentials.path().join("master-key"), "x").unwrap();
    assert_eq!(with(""), credentials.path().join("master-key"));
    assert_eq!(with("master_key_file: /k"), Path::new("/k"));
}

#[test]
fn the_admins_password_comes_from_a_file() {
    let material = Material::new();
    let world = yaml("").variable("FLEET_ADMIN_PASSWORD_FILE", &material.path("secret"));
    assert_eq!(world.config().admin_password.unwrap().reveal(), "text");
    assert!(yaml("").config().admin_password.is_none());
    let mistakes = yaml("").variable("FLEET_ADMIN_PASSWORD_FILE", &material.path("cert.pem")).mistakes();
    assert!(
        mistakes[0]
            .starts_with("environment variable FLEET_ADMIN_PASSWORD_FILE: admin_password_file: the file")
            && mistakes[0].contains("has the mode 0644")
            && mistakes[0].contains("chmod 600"),
        "{mistakes:?}"
    );
}
