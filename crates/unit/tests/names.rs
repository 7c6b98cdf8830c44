//! Unit names: what is accepted, what is said otherwise, and the parts.

use fleet_unit::{UnitKind, UnitName};

#[test]
fn bad_names_say_why() {
    let long = format!("{}.service", "a".repeat(249));
    let cases = [
        ("", "unit name cannot be empty"),
        (long.as_str(), "unit name exceeds maximum length (256)"),
        ("foo", r#"unit name must contain ".""#),
        ("foo.", r#"unit name cannot end in ".""#),
        ("foo.foo", r#"invalid unit type: "foo""#),
        ("foo.Service", r#"invalid unit type: "Service""#),
        ("foo.a\"b\n", r#"invalid unit type: "a\"b\n""#),
        ("foo@.mount", r#"invalid unit type for template: "mount""#),
        ("foo@bar.slice", r#"invalid unit type for template: "slice""#),
        ("a b.service", "invalid character ' ' in unit name"),
        ("a/b.service", "invalid character '/' in unit name"),
        ("größe.service", "invalid character 'ö' in unit name"),
        ("a'b.service", r"invalid character '\'' in unit name"),
        ("@a.service", r#"unit name cannot start in "@""#),
        ("@.service", r#"unit name cannot start in "@""#),
    ];
    for (name, expected) in cases {
        assert_eq!(UnitName::parse(name).unwrap_err().to_string(), expected, "{name}");
    }
}

#[test]
fn every_kind_is_a_name_and_some_have_templates() {
    let with_templates = ["path", "service", "socket", "target", "timer"];
    for kind in UnitKind::ALL {
        let name = UnitName::parse(&format!("foo.{kind}")).unwrap();
        assert_eq!(name.kind(), kind);
        for template in [format!("foo@.{kind}"), format!("foo@bar.{kind}")] {
            assert_eq!(UnitName::parse(&template).is_ok(), with_templates.contains(&kind.as_str()));
        }
    }
}

#[test]
fn names_at_the_limits_are_accepted() {
    let longest = format!("{}.service", "a".repeat(248));
    for name in [longest.as_str(), ".service", "a:b-c_d.e\\f@g@h.service", "1.service"] {
        assert_eq!(UnitName::parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn names_have_parts() {
    // name, stem, prefix, template, instance
    let cases = [
        ("foo.service", "foo", "foo", None, None, false),
        ("foo@.service", "foo@", "foo", None, None, true),
        ("foo@bar.service", "foo@bar", "foo", Some("foo@.service"), Some("bar"), false),
        ("foo@bar@baz.service", "foo@bar@baz", "foo", Some("foo@.service"), Some("bar@baz"), false),
        ("foo@@.service", "foo@@", "foo", Some("foo@.service"), Some("@"), false),
        ("foo.1@.service", "foo.1@", "foo.1", None, None, true),
        ("foo.1@2.3.socket", "foo.1@2.3", "foo.1", Some("foo.1@.socket"), Some("2.3"), false),
    ];
    for (name, stem, prefix, template, instance, is_template) in cases {
        let name = UnitName::parse(name).unwrap();
        assert_eq!(name.stem(), stem);
        assert_eq!(name.prefix(), prefix);
        assert_eq!(name.template().as_ref().map(UnitName::as_str), template);
        assert_eq!(name.instance(), instance);
        assert_eq!(name.is_template(), is_template);
        assert_eq!(name.is_instance(), instance.is_some());
    }
}

#[test]
fn json_is_a_string_and_checked() {
    let name: UnitName = serde_json::from_str("\"foo.service\"").unwrap();
    assert_eq!(serde_json::to_string(&name).unwrap(), "\"foo.service\"");
    let error = serde_json::from_str::<UnitName>("\"foo\"").unwrap_err();
    assert!(error.to_string().starts_with(r#"unit name must contain ".""#), "{error}");
}
