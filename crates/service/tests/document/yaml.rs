//! The file's syntax.

use crate::{some, yaml};

#[test]
fn all_kinds_of_scalars_are_read() {
    let cases = [
        ("a: x", "x"),
        ("\u{feff}a: x", "x"),
        ("a: x # comment", "x"),
        ("a: \"x # y\"", "x # y"),
        ("a: 'it''s'", "it's"),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: >-\n  x\n  y\n", "x y"),
        ("a:\n  x", "x"),
        ("a: !!str 5", "5"),
        ("{a: x}", "x"),
        ("---\na: x\n...\n", "x"),
        ("a: x\r\nb: y\r\n", "x"),
        ("b: &name x\na: *name", "x"),
        ("5: y\na: x", "x"),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml(text).text("a"), some(expected), "{text:?}");
    }
}

#[test]
fn anchors_are_merged_in() {
    let text = "base: &base {x: 1, y: 2}\na:\n  <<: *base\n  y: 3\nb:\n  <<: [*base, {z: 4}]";
    for (key, expected) in [("a.x", "1"), ("a.y", "3"), ("b.y", "2"), ("b.z", "4")] {
        assert_eq!(yaml(text).text(key), some(expected), "{key}");
    }
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    let cases = [
        ("a: 1\nb: [1,\nc: 2", "test.yml:3: this is not YAML: "),
        ("a: 1\n\tb: 2", "test.yml:1: this is not YAML: "),
        ("a: 'x", "test.yml:1: this is not YAML: "),
        ("a: 1\nb: *none", "test.yml:2: this is not YAML: "),
        ("just text", "test.yml:1: the file must hold keys and values (key: value), not a single value"),
        ("- a\n- b", "test.yml:1: the file must hold keys and values (key: value), not a list"),
        ("a: 1\n---\nb: 2", "test.yml:2: a second document begins here"),
        ("{[1]: 2}", "test.yml:1: a key must be a word"),
        ("? {a: 1}\n: 2", "test.yml:1: a key must be a word"),
        ("a: &a [*a]", "test.yml:1: an alias stands inside the value that it is for"),
    ];
    for (text, expected) in cases {
        let error = yaml(text).text("z").unwrap_err();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_few_lines_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 8].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(yaml(&bomb).text("z").unwrap_err().contains("more than 50000 values"));
    assert!(yaml(&"[".repeat(100_000)).text("z").is_err());
    assert!(yaml(&format!("a: {}", "- ".repeat(1000))).text("z").is_err());
    let large = format!("a: {}", "x".repeat(5 << 20));
    assert!(yaml(&large).text("z").unwrap_err().contains("is larger than 4194304 bytes"));
}

#[test]
fn other_encodings_are_told() {
    use fleet_service::config::document::{Document, Sources};
    let bytes = b"a: 1\nb: \xff\n";
    let file = Some((std::path::Path::new("test.yml"), bytes.as_slice()));
    let document = Document::open(&Sources { file, ..Sources::default() });
    assert_eq!(crate::finished(document).unwrap_err(), "test.yml:2: the file is not UTF-8 text");
}
