use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn files_of_people_are_read() {
    let text = "# a comment\nkind: Output\nid: es\nspec: &spec\n  hosts: [a, 'b']\n  port: 9200\n  on: yes\n  ratio: 1.5\n  \
                off: ~\n  text: |\n    one\n    two\n---\n---\nkind: Output\nspec:\n  <<: {port: 1, name: n}\n  port: 2\n";
    let documents = read_documents(text).unwrap();
    assert_eq!(documents.iter().map(|document| document.line).collect::<Vec<_>>(), [2, 15]);
    assert_eq!(
        documents[0].value,
        json!({"kind": "Output", "id": "es", "spec": {"hosts": ["a", "b"], "port": 9200, "on": "yes",
            "ratio": 1.5, "off": null, "text": "one\ntwo\n"}})
    );
    assert_eq!(documents[1].value["spec"], json!({"port": 2, "name": "n"}));
    assert_eq!(read_one("").unwrap(), Value::Null);
    assert_eq!(
        read_one("a: &x [1, 0x1f, -3]\nb: *x\n").unwrap(),
        json!({"a": [1, 31, -3], "b": [1, 31, -3]})
    );
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, line, words) in [
        ("a: 1\na: 2\n", 2, "\"a\" is given twice"),
        ("a: 1\n---\nb: 1\n", 3, "a second document"),
        ("a: [1\n", 2, "this is not YAML"),
        ("a:\n  ? [1]\n  : 2\n", 2, "a key must be a word"),
        ("n: 123456789012345678901\n", 1, "put it in quotes"),
        ("a: .inf\n", 1, "put it in quotes"),
        ("a: &a [*a]\n", 1, "an alias stands inside"),
        ("a:\n  <<: 1\n", 2, "<< takes a map"),
    ] {
        let error = read_one(text).unwrap_err();
        assert!(error.text.contains(words), "{text:?}: {error}");
        assert_eq!(error.line, line, "{text:?}: {error}");
    }
}

#[test]
fn hostile_texts_end_soon() {
    assert!(read_one(&"[".repeat(100)).unwrap_err().text.contains("deeper"), "nesting");
    assert!(read_one(&"[".repeat(100_000)).is_err(), "nesting that the parser refuses itself");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{},", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(read_one(&bomb).unwrap_err().text.contains("more than"), "aliases");
    let large = "x".repeat(read::LARGEST + 1);
    assert!(read_one(&large).unwrap_err().text.contains("larger"), "size");
}

#[test]
fn values_are_written_as_blocks() {
    let value = json!({
        "name": "Web servers", "version": "9.6.0", "hosts": ["https://a:9200", "b: c"], "empty": {}, "none": [],
        "flag": true, "word": "yes", "config": "a: 1\nb: 2\n", "pem": "x\ny", "tail": "x\ny\n\n",
        "inputs": {"system-logfile": {"enabled": false, "streams": {"system.auth": {"vars": {"paths": ["/x"]}}}}},
        "odd": "\tx\u{7f}\u{2028}\"",
    });
    insta::assert_snapshot!(to_text(&value), @r#"
    config: |
      a: 1
      b: 2
    empty: {}
    flag: true
    hosts:
      - https://a:9200
      - "b: c"
    inputs:
      system-logfile:
        enabled: false
        streams:
          system.auth:
            vars:
              paths:
                - /x
    name: Web servers
    none: []
    odd: "\tx\u007f\u2028\""
    pem: |-
      x
      y
    tail: |+
      x
      y

    version: "9.6.0"
    word: "yes"
    "#);
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9 :#,\\-'\"\\[\\]{}|>&*!%@`~.\n\t]{0,12}",
        Just("null".to_owned()),
        Just("0x1f".to_owned()),
        Just("1e3".to_owned()),
        Just("---\na".to_owned()),
        Just("a\n\n  b\n".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        text.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(text.clone().prop_filter("merge", |key| key != "<<"), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        let text = to_text(&value);
        let read = read_one(&text);
        prop_assert_eq!(read.as_ref(), Ok(&value), "{}", text);
        prop_assert_eq!(to_text(&read.unwrap()), text);
    }

    #[test]
    fn no_text_breaks_the_reader(text in any::<String>()) {
        let _ = read_documents(&text);
    }
}
