//! `/fleet/v1` on the wire, to the byte: the bodies are those of the original.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use fleet_protocol::fleet_v1::{
    ErrorBody, Explanation, Machine, MachinePage, MetadataChange, MetadataOperation, Reason, RestartRequest,
    Unit, UnitOption, UnitPage, UnitState, UnitStatePage, decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes the object as this text, and reads it from it.
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(object: &T, text: &str) {
    assert_eq!(String::from_utf8(encode(object).unwrap()).unwrap(), text);
    assert_eq!(&decode::<T>(text.as_bytes()).unwrap(), object);
}

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn units_are_written_as_the_original_writes_them() {
    let unit = Unit {
        current_state: "launched".into(),
        desired_state: "launched".into(),
        machine_id: "00000001aaaaaaaaaaaaaaaaaaaaaaaa".into(),
        name: "a.service".into(),
        options: vec![UnitOption::new("Service", "ExecStart", "/bin/sleep 1000")],
    };
    both_ways(
        &unit,
        r#"{"currentState":"launched","desiredState":"launched","machineID":"00000001aaaaaaaaaaaaaaaaaaaaaaaa","name":"a.service","options":[{"name":"ExecStart","section":"Service","value":"/bin/sleep 1000"}]}"#,
    );
    let page = UnitPage {
        next_page_token: "ZAACAA==".into(),
        units: vec![Unit { name: "a.service".into(), ..Unit::default() }],
    };
    both_ways(&page, r#"{"nextPageToken":"ZAACAA==","units":[{"name":"a.service"}]}"#);
}

#[test]
fn states_are_written_as_the_original_writes_them() {
    let state = UnitState {
        hash: "2d432f4a06608c1a8b2848b66c836793a1d48ce6".into(),
        machine_id: "00000001aaaaaaaaaaaaaaaaaaaaaaaa".into(),
        name: "a.service".into(),
        systemd_active_state: "active".into(),
        systemd_load_state: "loaded".into(),
        systemd_sub_state: "running".into(),
    };
    let text = r#"{"hash":"2d432f4a06608c1a8b2848b66c836793a1d48ce6","machineID":"00000001aaaaaaaaaaaaaaaaaaaaaaaa","name":"a.service","systemdActiveState":"active","systemdLoadState":"loaded","systemdSubState":"running"}"#;
    both_ways(&state, text);
    let page = UnitStatePage { states: vec![state], ..UnitStatePage::default() };
    both_ways(&page, &format!(r#"{{"states":[{text}]}}"#));
}

#[test]
fn machines_are_written_as_the_original_writes_them() {
    let machine = |id: &str, ip: &str, pairs: &[(&str, &str)]| Machine {
        id: id.into(),
        metadata: metadata(pairs),
        primary_ip: ip.into(),
    };
    let page = MachinePage {
        machines: vec![
            machine("00000001aaaaaaaaaaaaaaaaaaaaaaaa", "127.0.0.1", &[("hostname", "m1"), ("az", "z1")]),
            machine("00000003aaaaaaaaaaaaaaaaaaaaaaaa", "", &[]),
        ],
        ..MachinePage::default()
    };
    both_ways(
        &page,
        r#"{"machines":[{"id":"00000001aaaaaaaaaaaaaaaaaaaaaaaa","metadata":{"az":"z1","hostname":"m1"},"primaryIP":"127.0.0.1"},{"id":"00000003aaaaaaaaaaaaaaaaaaaaaaaa"}]}"#,
    );
}

#[test]
fn what_is_empty_is_left_out() {
    both_ways(&UnitPage::default(), "{}");
    both_ways(&UnitStatePage::default(), "{}");
    both_ways(&MachinePage::default(), "{}");
    both_ways(&Unit::default(), "{}");
    both_ways(&Explanation::default(), "{}");
    both_ways(&RestartRequest::default(), "{}");
}

#[test]
fn errors_keep_an_empty_message() {
    both_ways(&ErrorBody::new(405, ""), r#"{"error":{"code":405,"message":""}}"#);
    both_ways(
        &ErrorBody::new(400, r#"unit name must contain ".""#),
        r#"{"error":{"code":400,"message":"unit name must contain \".\""}}"#,
    );
}

#[test]
fn special_characters_are_escaped_as_in_go() {
    let option = UnitOption::new("Service", "ExecStart", "a && b > c < \"d\" \\ é\u{2028}\n\t\u{1}");
    both_ways(
        &option,
        r#"{"name":"ExecStart","section":"Service","value":"a \u0026\u0026 b \u003e c \u003c \"d\" \\ é\u2028\n\t\u0001"}"#,
    );
}

#[test]
fn unknown_fields_and_nulls_are_harmless() {
    let unit: Unit =
        decode(br#"{"new":[1],"name":null,"options":null,"machineID":null,"desiredState":"loaded"}"#)
            .unwrap();
    assert_eq!(unit, Unit { desired_state: "loaded".into(), ..Unit::default() });
    let page: UnitPage =
        decode(br#"{"units":[{"options":[{"section":"A"}]}],"nextPageToken":null}"#).unwrap();
    assert_eq!(page.units[0].options, [UnitOption::new("A", "", "")]);
}

#[test]
fn bodies_that_are_no_objects_say_why() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b"{", "unexpected EOF"),
        (b"{\"name\":\"a", "unexpected EOF"),
        (b"{\"name\":1}", "invalid type: integer `1`, expected a string at line 1 column 9"),
        (b"{}x", "trailing characters at line 1 column 3"),
    ];
    for (body, expected) in cases {
        assert_eq!(decode::<Unit>(body).unwrap_err().to_string(), expected);
    }
    assert!(decode::<Unit>(b"\xff").is_err());
}

#[test]
fn both_forms_of_metadata_values_are_read() {
    let path = "/0001/metadata/a.b-c_D";
    let change = |value: Option<&str>| MetadataChange {
        machine_id: "0001".into(),
        key: "a.b-c_D".into(),
        value: value.map(Into::into),
    };
    let cases = [
        (r#""op":"add","value":{"value":"x"}"#, change(Some("x"))),
        (r#""op":"replace","value":"x""#, change(Some("x"))),
        (r#""op":"replace","Value":{"Value":"x","other":[]}"#, change(Some("x"))),
        (r#""op":"remove""#, change(None)),
        (r#""op":"remove","value":null"#, change(None)),
        (r#""op":"remove","value":"x""#, change(None)),
    ];
    for (fields, expected) in cases {
        let body = format!(r#"[{{"path":"{path}",{fields}}}]"#);
        let operations: Vec<MetadataOperation> = decode(body.as_bytes()).unwrap();
        assert_eq!(operations[0].check(), Ok(expected.clone()), "{fields}");
        let again = MetadataOperation::from(&expected);
        assert_eq!(again.check(), Ok(expected));
    }
    both_ways(
        &MetadataOperation::from(&change(Some("x"))),
        r#"{"op":"replace","path":"/0001/metadata/a.b-c_D","value":{"value":"x"}}"#,
    );
    both_ways(&MetadataOperation::from(&change(None)), r#"{"op":"remove","path":"/0001/metadata/a.b-c_D"}"#);
}

#[test]
fn bad_metadata_operations_say_why() {
    let operation = "invalid op: expect add, remove, or replace";
    let path = "machine metadata path invalid";
    let value = "invalid value: add and replace require a value";
    let cases = [
        ("noop", "/1/metadata/foo", "x", operation),
        ("", "", "", operation),
        ("add", "/1/foo", "x", path),
        ("add", "1/metadata/foo", "x", path),
        ("add", "//metadata/foo", "x", path),
        ("add", "/1/metadata/", "x", path),
        ("remove", "/1/metadata/a/b", "x", path),
        ("remove", "/1/metadata/a b", "x", path),
        ("remove", "/1/metadata/ä", "x", path),
        ("add", "/1/metadata/a\n", "x", path),
        ("add", "/1/metadata/foo", "", value),
        ("replace", "/1/metadata/foo", "", value),
    ];
    for (op, path, value, expected) in cases {
        let operation = MetadataOperation { op: op.into(), path: path.into(), value: value.into() };
        assert_eq!(operation.check().unwrap_err().to_string(), expected, "{operation:?}");
    }
    let error = decode::<Vec<MetadataOperation>>(br#"[{"op":"add","value":1}]"#).unwrap_err().to_string();
    assert!(error.contains(r#"expected a string or {"value": string}"#), "{error}");
    assert!(decode::<Vec<MetadataOperation>>(b"{}").is_err());
}

#[test]
fn explanations_group_machines_by_reason() {
    let explanation = Explanation {
        desired_state: "launched".into(),
        name: "a.service".into(),
        reasons: vec![Reason { machines: vec!["1".into(), "2".into()], reason: "no".into() }],
        restarts: 2,
        ..Explanation::default()
    };
    both_ways(
        &explanation,
        r#"{"desiredState":"launched","name":"a.service","reasons":[{"machines":["1","2"],"reason":"no"}],"restarts":2}"#,
    );
}
