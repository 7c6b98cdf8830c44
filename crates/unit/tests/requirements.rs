//! `[X-Fleet]`: what is read from it, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use fleet_unit::{Requirements, UnitFile, UnitName, UnitOption};

fn file(lines: &str) -> UnitFile {
    UnitFile::parse(&format!("[X-Fleet]\n{lines}\n")).unwrap()
}

fn requirements_as(name: &str, lines: &str) -> Requirements {
    Requirements::of(&UnitName::parse(name).unwrap(), &file(lines)).unwrap()
}

fn requirements(lines: &str) -> Requirements {
    requirements_as("foo.service", lines)
}

fn metadata(pairs: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    pairs.iter().map(|(key, all)| ((*key).to_owned(), values(all))).collect()
}

#[test]
fn the_first_machine_id_wins_and_the_current_name_before_the_old_ones() {
    let cases = [
        ("", None),
        ("MachineID=a\nMachineID=b", Some("a")),
        ("X-ConditionMachineBootID=c\nX-ConditionMachineID=b\nMachineID=a", Some("a")),
        ("X-ConditionMachineBootID=c\nX-ConditionMachineID=b", Some("b")),
        ("X-ConditionMachineBootID=c", Some("c")),
        ("MachineBootID=c", None),
        ("MachineID=\"a\" \"b\"", Some("a")),
    ];
    for (lines, expected) in cases {
        assert_eq!(requirements(lines).machine_id.as_deref(), expected, "{lines}");
    }
}

#[test]
fn lists_are_split_as_the_original_splits_them() {
    let read = requirements(
        "MachineOf=a.service b.service\nMachineOf=\"c.service\" \"d.service\"\nX-ConditionMachineOf=e.service",
    );
    assert_eq!(read.machine_of, ["e.service", "a.service b.service", "c.service", "d.service"]);
    let read = requirements("Conflicts=a* \t b*\nConflicts=\"c* d*\" \"e*\"\nX-Conflicts=f*\nConflicts=");
    assert_eq!(read.conflicts, ["f*", "a*", "b*", "c*", "d*", "e*"]);
    let read = requirements("Replaces=a* b*\nReplaces=\"c*\" \"d*\"");
    assert_eq!(read.replaces, ["a* b*", "c*", "d*"]);
}

#[test]
fn quoted_lists_are_split_as_the_original_splits_them() {
    let cases: &[(&str, &[&str])] = &[
        (r#""bar" "ping" "pong""#, &["bar", "ping", "pong"]),
        (r#""bar""#, &["bar"]),
        (r#""""#, &[""]),
        (r#"""#, &[""]),
        (r#""bar"#, &["\"bar"]),
        (r#"bar""#, &["bar\""]),
        (r#""bar" ""#, &["bar", ""]),
        (r#""foo\"bar""#, &["foo\\bar"]),
        (r#""a"  "b""#, &["a", "", "b"]),
        ("\"a\"\t\"b\"", &["a\tb"]),
    ];
    for (value, expected) in cases {
        assert_eq!(requirements(&format!("MachineOf={value}")).machine_of, *expected, "{value}");
    }
}

#[test]
fn metadata_values_of_one_key_are_alternatives() {
    let cases = [
        ("", metadata(&[])),
        ("MachineMetadata=region=eu", metadata(&[("region", &["eu"])])),
        (
            "MachineMetadata=\"region=eu\" \"region=us\" \"ssd=true\"\nX-ConditionMachineMetadata=az=1",
            metadata(&[("az", &["1"]), ("region", &["eu", "us"]), ("ssd", &["true"])]),
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(requirements(lines).metadata, expected, "{lines}");
    }
}

#[test]
fn malformed_metadata_is_refused() {
    for value in ["region", "region=", "=eu", "a=b=c", "", "=", "region=eu,az=1"] {
        let file = file(&format!("MachineMetadata={value}"));
        let expected = format!(
            "invalid MachineMetadata {value:?}: it must have the form key=value, with exactly one \"=\""
        );
        assert_eq!(Requirements::validate(&file).unwrap_err().to_string(), expected);
        let name = UnitName::parse("foo.service").unwrap();
        assert_eq!(Requirements::of(&name, &file).unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_last_global_wins() {
    for value in ["true", "yes", "1", "on", "t", "TRUE", "Yes", "oN"] {
        assert!(requirements(&format!("Global=false\nGlobal={value}")).global, "{value}");
    }
    for value in ["false", "no", "0", "", "maybe", "truee"] {
        assert!(!requirements(&format!("Global=true\nGlobal={value}")).global, "{value}");
    }
}

#[test]
fn specifiers_are_replaced() {
    let lines = "MachineOf=%n|%N|%p|%i|%x|%%n\nMachineMetadata=host%i=%p";
    let read = requirements_as("foo@bar.service", lines);
    assert_eq!(read.machine_of, ["foo@bar.service|foo@bar|foo|bar|%x|%foo@bar.service"]);
    assert_eq!(read.metadata, metadata(&[("hostbar", &["foo"])]));
    assert_eq!(requirements_as("foo.service", "MachineOf=%p-%i").machine_of, ["foo-"]);
    // A template never runs: what its instances ask for is not known yet.
    assert_eq!(
        requirements_as("foo@.service", "MachineMetadata=host=%i").metadata,
        metadata(&[("host", &["%i"])])
    );
    Requirements::validate(&file("MachineMetadata=host=%i\nConflicts=%p@*.service")).unwrap();
    let plain = UnitName::parse("foo.service").unwrap();
    let error = Requirements::of(&plain, &file("MachineMetadata=host=%i")).unwrap_err();
    assert!(error.to_string().starts_with("invalid MachineMetadata \"host=%i\""), "{error}");
}

#[test]
fn contradictions_are_refused_with_the_known_texts() {
    let cases = [
        ("MachineID=x\nMachineOf=y", "MachineID cannot be used with Peers"),
        ("MachineID=x\nConflicts=y", "MachineID cannot be used with Conflicts"),
        ("MachineID=x\nGlobal=true", "MachineID cannot be used with Global"),
        ("MachineID=x\nReplaces=y", "MachineID cannot be used with Replaces"),
        ("Global=true\nMachineOf=y", "Global cannot be used with Peers"),
        ("Global=true\nReplaces=y", "Global cannot be used with Replaces"),
        ("Conflicts=z\nReplaces=y", "Conflicts cannot be used with Replaces"),
        ("MachineOf=abc\nConflicts=a*", r#"unresolvable requirements: peer "abc" matches conflict "a*""#),
        ("MachineOf=abc\nReplaces=a*", r#"unresolvable requirements: peer "abc" matches replace "a*""#),
        // Pairs come before exclusions.
        (
            "MachineID=x\nMachineOf=a\nConflicts=a",
            r#"unresolvable requirements: peer "a" matches conflict "a""#,
        ),
        ("MachineID=x\nMachineOf=y\nMachineMetadata=bad", "MachineID cannot be used with Peers"),
    ];
    for (lines, expected) in cases {
        assert_eq!(Requirements::validate(&file(lines)).unwrap_err().to_string(), expected);
    }
    for lines in
        ["", "Global=maybe\nMachineOf=y", "Global=true\nConflicts=x", "Bogus=1", "Conflicts= \nReplaces=x"]
    {
        Requirements::validate(&file(lines)).unwrap();
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for (lines, option) in [("Conflicts=a*\nConflicts=[", "Conflicts"), ("Replaces=[a-]", "Replaces")] {
        let error = Requirements::validate(&file(lines)).unwrap_err().to_string();
        assert!(error.starts_with("invalid pattern \"["), "{error}");
        assert!(error.contains(&format!(" in {option}: ")), "{error}");
    }
}

#[test]
fn too_many_values_are_refused() {
    let many =
        format!("Conflicts={}", "a ".repeat(1000)).repeat(1) + &format!("\nConflicts={}", "b ".repeat(25));
    assert_eq!(
        Requirements::validate(&file(&many)).unwrap_err().to_string(),
        "Conflicts has more than 1024 values"
    );
}

#[test]
fn options_that_would_read_differently_are_refused() {
    let service = |name: &str, value: &str| UnitOption::new("Service", name, value);
    let cases = [
        vec![service("A", "x\\"), service("B", "y")],
        vec![service("A", "x\ny=1")],
        vec![service("A", "x\n\n[Install]\nWantedBy=x.target")],
        vec![service("A=B", "x")],
        vec![service("#A", "x")],
        vec![UnitOption::new("A]\nx=1\n[B", "y", "1")],
        vec![service("[Unit]\nA", "x")],
    ];
    for options in cases {
        let file = UnitFile::from_options(options.clone());
        let error = Requirements::validate(&file).unwrap_err().to_string();
        assert!(error.contains("cannot be written to a unit file as it is"), "{options:?}: {error}");
    }
    let long = UnitFile::from_options(vec![service("ExecStart", &"x".repeat(3000))]);
    assert_eq!(Requirements::validate(&long).unwrap_err().to_string(), "line too long (max 2048 bytes)");
    let fine = UnitFile::from_options(vec![service("A", "x \\\n  y\n"), service("B", "")]);
    Requirements::validate(&fine).unwrap();
}

#[test]
fn unknown_keys_are_named_once() {
    let lines = "Conflict=a\nMachineID=x\nX-ConditionMachineOf=y\nConflict=b\nglobal=true\nX-Replaces=z";
    assert_eq!(Requirements::unknown_keys(&file(lines)), ["Conflict", "global", "X-Replaces"]);
}

#[test]
fn json_leaves_out_what_is_empty() {
    let read = requirements("MachineMetadata=a=b\nGlobal=true");
    let json = serde_json::to_string(&read).unwrap();
    assert_eq!(json, r#"{"metadata":{"a":["b"]},"global":true}"#);
    assert_eq!(serde_json::from_str::<Requirements>(&json).unwrap(), read);
    assert_eq!(serde_json::to_string(&Requirements::default()).unwrap(), "{}");
}
