//! What single values may look like.

use std::time::Duration;

use fleet_service::config::document::read;

use crate::yaml;

#[test]
fn truth_has_several_words() {
    let cases = [
        ("true", true),
        ("yes", true),
        ("on", true),
        ("True", true),
        ("YES", true),
        ("\"true\"", true),
        ("'yes'", true),
        ("false", false),
        ("no", false),
        ("off", false),
        ("\"No\"", false),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml(&format!("a: {text}")).get("a", read::boolean), Ok(Some(expected)), "{text}");
    }
    for text in ["1", "0", "maybe", "\"\\n\"", "[]", "{b: 1}"] {
        assert!(yaml(&format!("a: {text}")).get("a", read::boolean).is_err(), "{text}");
    }
}

#[test]
fn whole_numbers_have_several_bases() {
    let cases = [
        ("12", 12),
        ("\"12\"", 12),
        ("'12'", 12),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0600", 0o600),
        ("\"0600\"", 0o600),
        ("0o600", 0o600),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("-0x10", -16),
    ];
    for (text, expected) in cases {
        let value = yaml(&format!("a: {text}")).get("a", read::integer(-1000..=100_000_i64));
        assert_eq!(value, Ok(Some(expected)), "{text}");
    }
    let bad = ["1.5", "08", "0x", "--1", "-+1", "0x-1", "_", "1e3", "12kb", "99999999999999999999", "[1, 2]"];
    for text in bad {
        assert!(yaml(&format!("a: {text}")).get("a", read::integer(-1000..=100_000_i64)).is_err(), "{text}");
    }
}

#[test]
fn numbers_out_of_range_are_mistakes_that_name_the_range() {
    for text in ["70000", "-1"] {
        let error = yaml(&format!("b: 1\na: {text}")).get("a", read::integer(0..=u16::MAX)).unwrap_err();
        let expected = format!("test.yml:2: a must be a whole number from 0 to 65535, not {text:?}");
        assert_eq!(error, expected);
    }
    let error = yaml("a: 1.5").get("a", read::number(0.0..=1.0)).unwrap_err();
    assert!(error.ends_with("a must be a number from 0 to 1, not \"1.5\""), "{error}");
}

#[test]
fn durations_have_units_or_are_seconds() {
    let cases = [
        ("250ms", 250),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1.5h", 5_400_000),
        ("\"5m\"", 300_000),
        ("5", 5000),
        ("0.5", 500),
        ("0", 0),
        ("\"0\"", 0),
        // Negative ones are accepted.
        ("-5", 0),
        ("-5m", 0),
    ];
    for (text, milliseconds) in cases {
        let value = yaml(&format!("a: {text}")).get("a", read::duration);
        assert_eq!(value, Ok(Some(Duration::from_millis(milliseconds))), "{text}");
    }
    for text in
        ["5d", "\"5\"", "'0.5'", "5 m", "m", "1..5", "--5", "'-'", "true", "1e999999h", "99999999999999h"]
    {
        let error = yaml(&format!("a: {text}")).get("a", read::duration).unwrap_err();
        assert!(error.starts_with("test.yml:1: a must be a duration"), "{text}: {error}");
    }
}

#[test]
fn a_number_from_the_environment_is_a_duration_in_seconds() {
    let value = yaml("a: ${WAIT}").variable("WAIT", "5").get("a", read::duration);
    assert_eq!(value, Ok(Some(Duration::from_secs(5))));
    assert_eq!(yaml("").with("a=7").get("a", read::duration), Ok(Some(Duration::from_secs(7))));
}

#[test]
fn nothing_is_the_default() {
    for text in ["", "b: 1", "a:", "a: ~", "a: null", "a: ''", "a: ${NONE:}", "---\n", "# only a comment"] {
        assert_eq!(yaml(text).text("a"), Ok(None), "{text}");
    }
}

#[test]
fn a_word_of_a_set_may_be_in_any_case() {
    let words = [("info", 1), ("warn", 2), ("error", 3)];
    assert_eq!(yaml("a: WARN").get("a", read::one_of(&words)), Ok(Some(2)));
    let error = yaml("a: loud").get("a", read::one_of(&words)).unwrap_err();
    assert_eq!(error, "test.yml:1: a must be info, warn or error, not \"loud\"");
}

#[test]
fn passwords_in_urls_are_not_repeated() {
    for url in ["https://me:hidden@host", "me:hidden@host:9200"] {
        let error = yaml(&format!("a: {url}")).get("a", read::boolean).unwrap_err();
        assert!(error.contains("host") && !error.contains("hidden"), "{error}");
    }
}
