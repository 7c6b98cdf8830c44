//! Every option: good, bad, over the file from the environment, and empty in the environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleet_service::config::Secret;
use fleet_service::listen::Address;

use super::{Options, StoreKind, load, user};

type Loaded = Result<(Options, Vec<String>), Vec<String>>;

fn load_from(file: &str, variables: &[(&str, &str)]) -> Loaded {
    // Where the user's systemd is used, it matters whether there is one.
    let session = [("XDG_RUNTIME_DIR", "/run/user/1000")];
    let variables = session.iter().chain(variables);
    let environment = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match load(Some((Path::new("fleet.conf"), file)), &environment) {
        Ok((options, warnings)) => Ok((options, warnings.iter().map(ToString::to_string).collect())),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn options(file: &str) -> Options {
    let (options, warnings) = load_from(file, &[]).unwrap();
    assert_eq!(warnings, [""; 0], "{file}");
    options
}

/// The options that differ from the default in what is done to them.
fn with(change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::default();
    change(&mut options);
    options
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// key, a good value that is not the default, what it means, and bad values
type Row = (&'static str, &'static str, Options, &'static [&'static str]);

fn rows() -> Vec<Row> {
    let mut rows = rows_of_etcd();
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let yes_no: &[&str] = &["yes", "no", "2", "tRue"];
    rows.extend([
        ("verbosity", "1", with(|o| o.verbosity = 1), &["abc", "-1", "1.5", "101"] as &[&str]),
        ("store", "embedded", with(|o| o.store = StoreKind::Embedded), &["sqlite", "ETCD"]),
        ("store_path", "/srv/fleet", with(|o| o.store_path = "/srv/fleet".into()), &["fleet"]),
        (
            "engine_reconcile_interval",
            "0.5",
            with(|o| o.engine_reconcile_interval = Duration::from_millis(500)),
            &["0", "-2", "2s", "soon", "1e9", "nan"],
        ),
        (
            "public_ip",
            "192.0.2.1",
            with(|o| o.public_ip = "192.0.2.1".parse().ok()),
            &["host", "1.2.3", "1.2.3.4:5"],
        ),
        (
            "metadata",
            "region=us-west, az = 1,az=2",
            with(|o| o.metadata = map(&[("region", "us-west"), ("az", "2")])),
            &[],
        ),
        (
            "agent_ttl",
            "1m30s",
            with(|o| o.agent_ttl = seconds(90)),
            &["30", "0s", "999ms", "25h", "-30s", "x"],
        ),
        ("token_limit", "65535", with(|o| o.token_limit = 65535), &["0", "65536", "-1", "many"]),
        ("disable_engine", "true", with(|o| o.disable_engine = true), yes_no),
        ("disable_watches", "t", with(|o| o.disable_watches = true), yes_no),
        ("units_directory", "/run/x/", with(|o| o.units_directory = "/run/x/".into()), &["units"]),
        (
            "systemd_user",
            "1",
            with(|o| {
                o.systemd_user = true;
                o.runtime_directory = "/run/user/1000/fleet".into();
                o.units_directory = "/run/user/1000/fleet/units".into();
            }),
            yes_no,
        ),
        (
            "listen",
            "unix:/run/fleet.sock, 127.0.0.1:49153",
            with(|o| {
                o.listen =
                    vec![Address::Unix("/run/fleet.sock".into()), Address::Tcp("127.0.0.1:49153".into())];
            }),
            &["/run/fleet.sock", "127.0.0.1", "unix:/run/fleet.sock,:80"],
        ),
        ("stop_units_on_shutdown", "false", with(|o| o.stop_units_on_shutdown = false), yes_no),
    ]);
    rows
}

fn rows_of_etcd() -> Vec<Row> {
    let servers: &[&str] = &[
        "127.0.0.1:2379",
        "ftp://a",
        "http://",
        "http://:2379",
        "http://a:x",
        "http://a/b",
        "http://u:p@a",
        "[]",
    ];
    vec![
        (
            "etcd_servers",
            r#"["https://192.0.2.12:2379/", "http://[::1]:2379"]"#,
            with(|o| o.etcd_servers = vec!["https://192.0.2.12:2379".into(), "http://[::1]:2379".into()]),
            servers,
        ),
        ("etcd_key_prefix", "custom", with(|o| o.etcd_key_prefix = "/custom/".into()), &[]),
        (
            "etcd_request_timeout",
            "2.5",
            with(|o| o.etcd_request_timeout = Duration::from_millis(2500)),
            &["0", "-1", "1s", "3601"],
        ),
        ("etcd_compaction", "f", with(|o| o.etcd_compaction = false), &["off", "never"]),
    ]
}

/// In the order of names, so that a bad value can be put into each.
fn variable(key: &str) -> String {
    format!("FLEET_{}", key.to_uppercase())
}

#[test]
fn without_anything_all_is_as_documented() {
    assert_eq!(load(None, &BTreeMap::new()).unwrap(), (Options::default(), vec![]));
    assert_eq!(options(""), Options::default());
    let defaults = Options::default();
    assert_eq!(defaults.etcd_servers, ["http://127.0.0.1:2379", "http://127.0.0.1:4001"]);
    assert_eq!(defaults.etcd_key_prefix, "/_coreos.com/fleet/");
    assert_eq!((defaults.etcd_request_timeout, defaults.engine_reconcile_interval), (seconds(1), seconds(2)));
    assert_eq!((defaults.agent_ttl, defaults.token_limit, defaults.verbosity), (seconds(30), 100, 0));
    assert_eq!(defaults.units_directory, Path::new("/run/fleet/units/"));
    assert_eq!((defaults.store, defaults.store_path), (StoreKind::Etcd, "/var/lib/fleet".into()));
    assert!(defaults.stop_units_on_shutdown && defaults.etcd_compaction);
    assert!(!defaults.disable_engine && !defaults.disable_watches && !defaults.systemd_user);
}

#[test]
fn good_values_are_read_in_every_form() {
    for (key, value, expected, _) in rows() {
        assert_ne!(expected, Options::default(), "{key}");
        assert_eq!(options(&format!("{key}={value}")), expected, "{key}");
        assert_eq!(options(&format!("  {} = {value}  # comment", key.to_uppercase())), expected, "{key}");
        assert_eq!(options(&format!("{key}='{value}'")), expected, "{key}");
        if !value.contains('"') {
            assert_eq!(options(&format!("{key}=\"{value}\"")), expected, "{key}");
        }
    }
}

#[test]
fn the_environment_wins_even_if_it_is_empty() {
    for (key, value, expected, bad) in rows() {
        let name = variable(key);
        let (options, _) = load_from("", &[(&name, value)]).unwrap();
        assert_eq!(options, expected, "{name}");
        for bad in bad {
            let file = format!("{key}={bad}");
            let (options, _) = load_from(&file, &[(&name, value)]).unwrap();
            assert_eq!(options, expected, "{name} over {file}");
        }
        let (options, _) = load_from(&format!("{key}={value}"), &[(&name, "")]).unwrap();
        assert_eq!(options, Options::default(), "{name} is empty");
        assert_eq!(self::options(&format!("{key}=")), Options::default(), "{key} is empty");
    }
}

#[test]
fn bad_values_name_key_place_and_what_was_expected() {
    for (key, _, _, bad) in rows() {
        for bad in bad {
            let mistakes = load_from(&format!("# comment\n{key}={bad}"), &[]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].starts_with(&format!("fleet.conf:2: {key} must be ")), "{mistakes:?}");
            let shown = bad.replace("u:p@", "…@");
            assert!(mistakes[0].ends_with(&format!(", not {shown:?}")), "{mistakes:?}");
            let name = variable(key);
            let mistakes = load_from("", &[(&name, bad)]).unwrap_err();
            assert!(mistakes[0].starts_with(&format!("environment variable {name}: {key} must be ")));
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let rows = rows();
    let with_bad: Vec<_> = rows.iter().filter(|(_, _, _, bad)| !bad.is_empty()).collect();
    let file: String = with_bad.iter().map(|(key, _, _, bad)| format!("{key}={}\n", bad[0])).collect();
    let mistakes = load_from(&file, &[]).unwrap_err();
    assert_eq!(mistakes.len(), with_bad.len(), "{mistakes:#?}");
    assert!(with_bad.len() > 14);
}

#[test]
fn a_duration_without_a_unit_names_the_fix() {
    let mistakes = load_from("agent_ttl=30", &[]).unwrap_err();
    let expected = r#"fleet.conf:1: agent_ttl must be a duration with its unit, such as "30s", not "30""#;
    assert_eq!(mistakes, [expected]);
}

#[test]
fn the_forms_of_metadata_are_all_read() {
    let expected = options("metadata=region=us-west,az=us-west-1").metadata;
    assert_eq!(expected.len(), 2);
    assert_eq!(options("metadata=\"region=us-west,az=us-west-1\"").metadata, expected);
    assert_eq!(options("metadata='region=us-west , az\t=\tus-west-1'").metadata, expected);
    let (options, warnings) = load_from("\nmetadata=a=1,odd", &[]).unwrap();
    assert_eq!(options.metadata.len(), 1);
    assert_eq!(warnings, [r#"fleet.conf:2: metadata "odd" is ignored: it is not of the form key=value"#]);
}

#[test]
fn tls_and_a_password_are_read_together() {
    let file = "etcd_servers=[\"https://192.0.2.12:2379\"]\netcd_cafile=/etc/ssl/etcd/ca.pem\n\
                etcd_certfile=/etc/ssl/etcd/client.pem\netcd_keyfile=/etc/ssl/etcd/client-key.pem\n\
                etcd_username=root\netcd_password=coreos\n";
    let options = options(file);
    assert_eq!(options.etcd_cafile.as_deref(), Some(Path::new("/etc/ssl/etcd/ca.pem")));
    assert_eq!(options.etcd_certfile.as_deref(), Some(Path::new("/etc/ssl/etcd/client.pem")));
    assert_eq!(options.etcd_keyfile.as_deref(), Some(Path::new("/etc/ssl/etcd/client-key.pem")));
    assert_eq!((options.etcd_username.as_str(), options.etcd_password.reveal()), ("root", "coreos"));
    assert!(!format!("{options:?}").contains("coreos\""), "{options:?}");
    let variables: Vec<(String, &str)> =
        ["etcd_cafile", "etcd_certfile", "etcd_keyfile", "etcd_username", "etcd_password"]
            .iter()
            .map(|key| (variable(key), ""))
            .collect();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let (options, _) = load_from(file, &variables).unwrap();
    assert_eq!((options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile), (None, None, None));
    assert_eq!((options.etcd_username.as_str(), options.etcd_password), ("", Secret::default()));
}

#[test]
fn halves_of_a_pair_are_mistakes() {
    let cases = [
        ("etcd_certfile=/c", "fleet.conf:1: etcd_certfile needs etcd_keyfile, its private key"),
        ("etcd_keyfile=/k", "fleet.conf:1: etcd_keyfile needs etcd_certfile, its certificate"),
        ("etcd_username=root", "fleet.conf:1: etcd_username needs etcd_password"),
        ("etcd_password=secret", "fleet.conf:1: etcd_password needs etcd_username"),
        ("etcd_cafile=ca.pem", r#"fleet.conf:1: etcd_cafile must be an absolute path, not "ca.pem""#),
    ];
    for (file, expected) in cases {
        assert_eq!(load_from(file, &[]).unwrap_err(), [expected]);
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let cases = [
        ("etcd_cafile=/ca", "etcd_cafile has no effect: no URL of etcd_servers begins with https://"),
        ("etcd_username=a\netcd_password=b", "etcd_password is sent in clear: use https:// in etcd_servers"),
        (
            "enable_grpc=true",
            "enable_grpc is no longer supported and ignored: machines meet in the store alone",
        ),
        ("verify_units=true", "verify_units is no longer supported and ignored: units are not signed"),
        (
            "authorized_keys_file=/x",
            "authorized_keys_file is no longer supported and ignored: units are not signed",
        ),
        ("agent_tll=30s", "unknown option agent_tll: was agent_ttl meant?"),
        ("[fleet]\nagent_ttl=30s", "agent_ttl has no effect in section [fleet]: move it above all sections"),
    ];
    for (file, expected) in cases {
        let (_, warnings) = load_from(file, &[]).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(&format!(": {expected}")), "{warnings:?}");
    }
    let (_, warnings) = load_from("store=embedded\netcd_cafile=/ca", &[]).unwrap();
    assert_eq!(warnings, [""; 0], "nothing is said of etcd where it is not used");
}

#[test]
fn the_systemd_of_a_user_means_directories_of_the_user() {
    let environment = BTreeMap::from([
        ("XDG_RUNTIME_DIR".to_owned(), "/run/user/1000".to_owned()),
        ("HOME".to_owned(), "/home/ada".to_owned()),
    ]);
    let path = Path::new("fleet.conf");
    let of = |text| load(Some((path, text)), &environment).unwrap().0;
    let user = of("systemd_user = true\n");
    assert_eq!(user.units_directory, Path::new("/run/user/1000/fleet/units"));
    assert_eq!(user.store_path, Path::new("/home/ada/.local/state/fleet"));
    let said = of("systemd_user = true\nunits_directory = /a/b\nstore_path = /c\n");
    assert_eq!(
        (said.units_directory.as_path(), said.store_path.as_path()),
        (Path::new("/a/b"), Path::new("/c"))
    );
    let system = of("");
    assert_eq!(system.units_directory, Path::new("/run/fleet/units/"));
}

#[test]
fn a_user_without_the_variable_has_a_directory_of_its_own_or_is_told_so() {
    let shared = tempfile::tempdir().unwrap();
    let of = |shared: &Path| {
        let mut options = Options::default();
        user::use_directories(&mut options, &BTreeMap::new(), shared).map(|()| options)
    };
    let refused = of(shared.path()).unwrap_err();
    assert!(refused.contains("XDG_RUNTIME_DIR"), "{refused}");
    // Whoever runs the tests owns what they make.
    let user = std::os::unix::fs::MetadataExt::uid(&shared.path().metadata().unwrap());
    let own = shared.path().join(user.to_string());
    std::fs::create_dir(&own).unwrap();
    let options = of(shared.path()).unwrap();
    assert_eq!(options.runtime_directory, own.join("fleet"));
    assert_eq!(options.units_directory, own.join("fleet/units"));
    // A relative path is none.
    let environment = BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), "run".to_owned())]);
    let mut options = Options::default();
    user::use_directories(&mut options, &environment, shared.path()).unwrap();
    assert_eq!(options.runtime_directory, own.join("fleet"));
}
