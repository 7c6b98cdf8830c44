//! Settings: which value wins, and what is told about the others.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fleet_service::config::{Mistake, Secret, Settings, Warning, value};

fn open(file: &str, environment: &[(&str, &str)]) -> Settings {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::open("FLEET_", Some((Path::new("/etc/x.conf"), file)), &environment)
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn warnings(settings: Settings) -> Vec<String> {
    texts::<Warning>(&settings.finish().expect("no mistakes"))
}

fn mistakes(settings: Settings) -> Vec<String> {
    texts::<Mistake>(&settings.finish().expect_err("mistakes"))
}

#[test]
fn the_environment_stands_over_the_file_and_the_file_over_the_default() {
    let cases = [
        ("", None, "default"),
        ("name=file", None, "file"),
        ("NAME=file", None, "file"),
        ("name=first\nname=file", None, "file"),
        ("name=", None, "default"),
        ("name=file", Some("environment"), "environment"),
        ("", Some("environment"), "environment"),
        ("name=file", Some(""), "default"),
        ("name=file", Some("  "), "default"),
    ];
    for (file, variable, expected) in cases {
        let environment: Vec<_> = variable.map(|value| ("FLEET_NAME", value)).into_iter().collect();
        let mut settings = open(file, &environment);
        assert_eq!(settings.get("name", "default".to_owned(), value::text), expected, "{file} {variable:?}");
        assert_eq!(warnings(settings), [""; 0]);
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let file = "nonsense\nsize = abc\n\nflag=\"yes\" # comment\ngood=1";
    let mut settings = open(file, &[("FLEET_TTL", "30"), ("FLEET_GOOD", "2")]);
    assert_eq!(settings.get("size", 7, value::integer(0..=9)), 7);
    assert!(!settings.get("flag", false, value::boolean));
    let range = Duration::from_secs(1)..=Duration::from_secs(60);
    settings.get("ttl", Duration::from_secs(5), value::duration(range));
    assert_eq!(settings.get("good", 0, value::integer(0..=9)), 2);
    settings.mistake("good", "good does not go with size");
    settings.mistake("other", "other is needed");
    assert_eq!(
        mistakes(settings),
        [
            r#"/etc/x.conf:1: expected key=value, a comment or [section], not "nonsense""#,
            r#"/etc/x.conf:2: size must be a whole number from 0 to 9, not "abc""#,
            r#"/etc/x.conf:4: flag must be true or false, not "yes""#,
            r#"environment variable FLEET_TTL: ttl must be a duration with its unit, such as "30s", not "30""#,
            "environment variable FLEET_GOOD: good does not go with size",
            "configuration: other is needed",
        ]
    );
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let file = "etcd_server=x\ncolour=red\nold=1\nempty=\n[section]\nname=x";
    let environment =
        [("FLEET_NAMES", "x"), ("FLEET_UNRELATED_THING", "x"), ("FLEETCTL_NAME", "x"), ("FLEET_name", "x")];
    let mut settings = open(file, &environment);
    for key in ["etcd_servers", "name"] {
        settings.get(key, String::new(), value::text);
    }
    settings.deprecated("old", "use new");
    settings.deprecated("empty", "use new");
    settings.deprecated("absent", "use new");
    settings.warning("name", "name is odd");
    assert_eq!(
        warnings(settings),
        [
            "/etc/x.conf:6: name has no effect in section [section]: move it above all sections",
            "/etc/x.conf:3: old is no longer supported and ignored: use new",
            "configuration: name is odd",
            "/etc/x.conf:2: unknown option colour",
            "/etc/x.conf:1: unknown option etcd_server: was etcd_servers meant?",
            "environment variable FLEET_NAMES: unknown: was name meant?",
        ]
    );
}

#[test]
fn durations_are_read_as_in_go() {
    let range = || Duration::ZERO..=Duration::from_secs(100_000);
    let good = [
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("1h0m0.5s", 3_600_500),
        ("+2s", 2_000),
        (".5s", 500),
        ("1.s", 1_000),
        ("100ms", 100),
        ("1500000us", 1_500),
        ("1500000µs", 1_500),
        ("2000000ns", 2),
        (" 1s ", 1_000),
        ("0s", 0),
    ];
    for (text, milliseconds) in good {
        let read = value::duration(range())(text);
        assert_eq!(read, Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    let bad =
        ["s", "1", "1.5", "0", "-1s", "1x", "1s2", "1 s", "1e3s", ".s", "1..2s", "99999999999h", "soon"];
    for text in bad {
        assert!(value::duration(range())(text).is_err(), "{text}");
    }
}

#[test]
fn seconds_are_numbers_in_a_range() {
    let read = |text| value::seconds(Duration::from_millis(1)..=Duration::from_secs(3600))(text);
    for (text, milliseconds) in [("1", 1_000), ("1.0", 1_000), ("0.25", 250), (" 2 ", 2_000), ("1e1", 10_000)]
    {
        assert_eq!(read(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for text in ["0", "0.0", "-1", "nan", "inf", "1e300", "3601", "2s", "one", ""] {
        assert_eq!(read(text).unwrap_err().0, "a number of seconds from 0.001 to 3600", "{text}");
    }
}

#[test]
fn booleans_are_those_of_go() {
    for text in ["1", "t", "T", "true", "TRUE", "True"] {
        assert_eq!(value::boolean(text), Ok(true));
    }
    for text in ["0", "f", "F", "false", "FALSE", "False"] {
        assert_eq!(value::boolean(text), Ok(false));
    }
    for text in ["yes", "no", "on", "off", "tRUE", "2", "truetrue"] {
        assert!(value::boolean(text).is_err(), "{text}");
    }
}

#[test]
fn lists_are_stripped_of_brackets_and_quotes() {
    let expected = ["http://a:1", "http://b:2"];
    for text in [
        "http://a:1,http://b:2",
        " http://a:1 , http://b:2 ",
        r#"["http://a:1","http://b:2"]"#,
        r#"[ "http://a:1" , "http://b:2" ]"#,
        r#""http://a:1", "http://b:2""#,
        "['http://a:1', 'http://b:2']",
        "http://a:1,,http://b:2,",
    ] {
        assert_eq!(value::list(text).unwrap(), expected, "{text}");
    }
    assert_eq!(value::list("[]").unwrap(), [""; 0]);
    assert_eq!(value::list(" , ").unwrap(), [""; 0]);
}

#[test]
fn metadata_is_pairs_and_the_last_one_wins() {
    let (pairs, dropped) = value::metadata(" region = us-west ,\taz=1,,az = 2,x=a=b,odd,=v,empty=");
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("az", "2"), ("empty", ""), ("region", "us-west"), ("x", "a=b")]);
    assert_eq!(dropped, ["odd", "=v"]);
    assert_eq!(value::metadata(""), Default::default());
}

#[test]
fn words_and_paths_are_checked() {
    let words = [("etcd", 1), ("embedded", 2)];
    assert_eq!(value::one_of(&words)("embedded"), Ok(2));
    assert_eq!(value::one_of(&words)("sqlite").unwrap_err().0, "etcd or embedded");
    assert_eq!(value::absolute_path("/a/b").unwrap(), Path::new("/a/b"));
    assert!(value::absolute_path("a/b").is_err());
}

#[test]
fn secrets_are_not_shown() {
    let secret = Secret::new("coreos");
    assert_eq!(secret.reveal(), "coreos");
    assert!(!format!("{secret:?}").contains("coreos"));
    assert!(Secret::default().is_empty());
}

#[test]
fn long_values_are_shortened_in_mistakes() {
    let mut settings = open(&format!("flag={}", "ä".repeat(1000)), &[]);
    settings.get("flag", false, value::boolean);
    let text = mistakes(settings).remove(0);
    assert!(text.ends_with("ä…\""), "{text}");
    assert!(text.chars().count() < 200, "{text}");
}

#[test]
fn passwords_in_urls_are_not_shown_in_mistakes() {
    let mut settings = open("flag=http://root:s3cret@a:1,http://b:2,https://x:p//w@c", &[]);
    settings.get("flag", false, value::boolean);
    let text = mistakes(settings).remove(0);
    assert!(text.ends_with(r#"not "http://…@a:1,http://b:2,https://x:p//…@c""#), "{text}");
}
