use proptest::prelude::*;
use serde_json::json;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2022-01-15 12:00 UTC);

fn read(text: &str) -> Result<Message<'_>, SyntaxError> {
    parse(text, Format::Auto, &Zone::utc(), NOW)
}

#[test]
fn the_structured_form_is_taken_apart() {
    let text = "<165>1 2022-01-11T22:14:15.003Z mymachine.example.com eventslog 1024 ID47 \
        [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"]\
        [examplePriority@32473 class=\"high\"] this is the message";
    let message = read(text).unwrap();
    let expected = json!({
        "priority": 165,
        "facility": {"code": 20, "name": "local4"},
        "severity": {"code": 5, "name": "Notice"},
        "hostname": "mymachine.example.com",
        "appname": "eventslog",
        "procid": "1024",
        "msgid": "ID47",
        "version": 1,
        "structured_data": {
            "exampleSDID@32473": {"iut": "3", "eventSource": "Application", "eventID": "1011"},
            "examplePriority@32473": {"class": "high"},
        },
    });
    assert_eq!(serde_json::Value::Object(fields::log_syslog(&message)), expected);
    assert_eq!(message.text, "this is the message");
    assert_eq!(message.timestamp, Some(datetime!(2022-01-11 22:14:15.003 UTC)));
}

#[test]
fn nothing_is_written_as_a_dash() {
    let message = read("<0>1 - - - - - -").unwrap();
    let expected = Message { priority: Some(0), version: Some(1), ..Message::default() };
    assert_eq!(message, expected);
    assert_eq!(read("<0>1 - - - - - - \u{feff}grüß dich\r\n").unwrap().text, "grüß dich");
    assert_eq!(read("<0>1 - - - - - -  two blanks").unwrap().text, " two blanks");
}

#[test]
fn escapes_and_repeats_of_structured_data() {
    let text = r#"<13>1 - h a - - [x a="q\"b\\c\]d\n" b="" a="ü"][x b="2"][y] m"#;
    let message = read(text).unwrap();
    let data = fields::log_syslog(&message).remove("structured_data").unwrap();
    assert_eq!(data, json!({"x": {"a": ["q\"b\\c]d\\n", "ü"], "b": ["", "2"]}, "y": {}}));
    assert_eq!(message.text, "m");
}

#[test]
fn what_the_structured_form_refuses() {
    let cases = [
        ("<165>1 yesterday h a p m -", SyntaxError::Timestamp),
        ("<165>1 - h a p", SyntaxError::Header("message id")),
        ("<165>1 -", SyntaxError::Header("hostname")),
        ("<165>1 - h a p m ", SyntaxError::Header("structured data")),
        ("<165>1 - h a p m [x", SyntaxError::StructuredData),
        ("<165>1 - h a p m [x a=\"b]", SyntaxError::StructuredData),
        ("<165>1 - h a p m [x a=b]", SyntaxError::StructuredData),
        ("<165>1 - h a p m [x]text", SyntaxError::StructuredData),
        ("<165>1 - h a p m [é a=\"b\"]", SyntaxError::StructuredData),
    ];
    for (text, error) in cases {
        assert_eq!(read(text), Err(error), "{text}");
    }
    let strict = |text| parse(text, Format::Rfc5424, &Zone::utc(), NOW);
    assert_eq!(strict("<192>1 - - - - - -"), Err(SyntaxError::Priority));
    assert_eq!(strict("<13>0 - - - - - -"), Err(SyntaxError::Version));
    assert_eq!(strict("<13>Oct 11 22:14:15 h a: m"), Err(SyntaxError::Version));
    let many = "[a b=\"\"]".repeat(MAX_PARAMETERS / 2 + 1);
    assert_eq!(strict(&format!("<13>1 - - - - - {many}")), Err(SyntaxError::TooMany));
}

type Parts<'a> = (Option<u8>, Option<&'a str>, Option<&'a str>, Option<&'a str>, &'a str);

fn parts(text: &str) -> Parts<'_> {
    let message = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    (message.priority, message.hostname, message.appname, message.procid, message.text)
}

#[test]
fn the_classic_form_with_all_its_parts_or_some() {
    let cases: [(&str, Parts<'_>); 17] = [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed on /dev/pts/8",
            (Some(34), Some("mymachine"), Some("su"), None, "'su root' failed on /dev/pts/8"),
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 app[123]: text",
            (Some(13), Some("10.0.0.99"), Some("app"), Some("123"), "text"),
        ),
        (
            "<13>Feb 5 17:32:18 2001:db8::1 postfix/smtpd[7]:x",
            (Some(13), Some("2001:db8::1"), Some("postfix/smtpd"), Some("7"), "x"),
        ),
        // The C library's own: no host.
        (
            "<86>Jan 23 14:09:01 sudo: root : TTY=pts/0",
            (Some(86), None, Some("sudo"), None, "root : TTY=pts/0"),
        ),
        ("<86>Jan 23 14:09:01 sshd[99]: Accepted", (Some(86), None, Some("sshd"), Some("99"), "Accepted")),
        (
            "Jan 23 14:09:01 host CRON[5]: (root) CMD",
            (None, Some("host"), Some("CRON"), Some("5"), "(root) CMD"),
        ),
        ("<13>2022-01-11T22:14:15.003Z host app: m", (Some(13), Some("host"), Some("app"), None, "m")),
        (
            "<189>*Jan  1 00:00:01.123: %SYS-5-CONFIG_I: Configured from console",
            (Some(189), None, Some("%SYS-5-CONFIG_I"), None, "Configured from console"),
        ),
        (
            "<166>Jan 11 2022 22:14:15 fw : %ASA-6-302013: Built",
            (Some(166), Some("fw"), Some("%ASA-6-302013"), None, "Built"),
        ),
        (
            "<13>Oct 11 22:14:15 host see http://example.com now",
            (Some(13), Some("host"), None, None, "see http://example.com now"),
        ),
        (
            "<13>Oct 11 22:14:15 host [ 12.3] kernel text",
            (Some(13), Some("host"), None, None, "[ 12.3] kernel text"),
        ),
        (
            "<13>Oct 11 22:14:15 host app(mod)[1-2]: m",
            (Some(13), Some("host"), Some("app(mod)"), Some("1-2"), "m"),
        ),
        ("<13>Oct 11 22:14:15 host array[i] = 1", (Some(13), Some("host"), None, None, "array[i] = 1")),
        (
            "<13>Oct 11 22:14:15 host app[12] started",
            (Some(13), Some("host"), Some("app"), Some("12"), "started"),
        ),
        ("<13>just a text", (Some(13), None, None, None, "just a text")),
        ("<13>app: no time", (Some(13), None, Some("app"), None, "no time")),
        ("<13>", (Some(13), None, None, None, "")),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_syslog_is_told_so() {
    assert_eq!(read("hello"), Err(SyntaxError::Unknown));
    assert_eq!(read(""), Err(SyntaxError::Unknown));
    assert_eq!(read("<999>hello"), Err(SyntaxError::Priority));
    assert_eq!(read("<1"), Err(SyntaxError::Priority));
}

#[test]
fn clocks_without_a_zone_are_those_of_the_option() {
    let zone = Zone::named("+0200").unwrap();
    let message = parse("<13>Jan 11 22:14:15 h a: m", Format::Rfc3164, &zone, NOW).unwrap();
    assert_eq!(message.timestamp, Some(datetime!(2022-01-11 20:14:15 UTC)));
}

#[test]
fn facilities_have_numbers_and_names() {
    assert_eq!(fields::facility_code("authpriv"), Some(10));
    assert_eq!(fields::facility_code("23"), Some(23));
    assert_eq!(fields::facility_code("24"), None);
    assert_eq!(fields::facility_name(24), None);
}

/// Texts that begin as messages do, and go on as they like.
fn likely() -> impl Strategy<Value = String> {
    let start = prop_oneof![
        Just("<13>1 2022-01-11T22:14:15.003Z host app 1 id [a b=\"c\"] text".to_owned()),
        Just("<13>Oct 11 22:14:15 host app[12]: text".to_owned()),
        Just("<13>2022-01-11T22:14:15+02:00 host app: text".to_owned()),
    ];
    (start, any::<prop::sample::Index>(), any::<prop::sample::Index>(), "\\PC{0,12}").prop_map(
        |(start, from, to, middle)| {
            let (from, to) = (from.index(start.len() + 1), to.index(start.len() + 1));
            format!("{}{middle}{}", &start[..from.min(to)], &start[from.max(to)..])
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        for format in [Format::Auto, Format::Rfc3164, Format::Rfc5424] {
            let _ = parse(&text, format, &Zone::utc(), NOW);
        }
    }

    #[test]
    fn broken_messages_are_read_or_refused(text in likely()) {
        for format in [Format::Auto, Format::Rfc3164, Format::Rfc5424] {
            if let Ok(message) = parse(&text, format, &Zone::utc(), NOW) {
                prop_assert!(message.text.len() <= text.len());
                prop_assert!(serde_json::to_string(&fields::log_syslog(&message)).is_ok());
            }
        }
    }

    #[test]
    fn structured_data_comes_out_as_it_went_in(value in "\\PC{0,40}", text in "\\PC{1,40}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let line = format!("<13>1 2022-01-11T22:14:15Z h a p m [x@1 k=\"{escaped}\"] {text}");
        let message = parse(&line, Format::Rfc5424, &Zone::utc(), NOW).unwrap();
        prop_assert_eq!(&message.data[0].parameters[0].1, &value);
        prop_assert_eq!(message.text, text.strip_prefix('\u{feff}').unwrap_or(&text));
    }
}
