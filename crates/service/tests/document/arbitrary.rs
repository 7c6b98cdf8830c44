//! Whatever stands in the sources, nothing panics, and everything ends.

use fleet_service::config::document::{Document, Sources, read};
use proptest::prelude::*;

fn read_all(bytes: &[u8], overrides: &[String]) {
    let file = Some((std::path::Path::new("test.yml"), bytes));
    let document =
        Document::open(&Sources { file, overrides, shorthands: &[("a", "type")], ..Sources::default() });
    let root = document.root();
    for key in ["a", "b", "a.b", "a.0", "b.c"] {
        let _ = root.optional(key, read::integer(0..=u16::MAX));
        let _ = root.optional(key, read::duration);
        let _ = root.optional(key, read::number(0.0..=1.0));
        let _ = root.list(key, Vec::new(), read::text);
        let _ = root.map(key, read::boolean);
        for section in root.sections(key) {
            let _ = section.section("b").optional("c", read::path);
        }
    }
    let _ = document.finish();
}

/// Texts that look like configurations, so that more than the first line of the readers is reached.
fn configuration() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "c", ".", ": ", ":", "\n", "\n  ", "- ", "[", "]", "{", "}", ", ", ",", "'", "\"", "${",
        "}", "$${", ":+", ":?", "&a ", "*a", "<<: ", "|", ">", "#", "0", "5m", "-1", "~", "---", "!!str ",
        "\\", "é", "\t", "? ", "=", "%",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,60}") {
        read_all(&bytes, &[text]);
    }

    #[test]
    fn anything_that_looks_like_a_configuration(text in configuration(), value in configuration()) {
        read_all(text.as_bytes(), &[format!("a={value}"), value.clone()]);
    }

    #[test]
    fn a_text_in_quotes_is_itself(text in "[^'\\\\$\0-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}\u{feff}\u{2028}\u{2029}]{1,40}") {
        let overrides = [format!("a='{text}'")];
        let document = Document::open(&Sources { overrides: &overrides, ..Sources::default() });
        prop_assert_eq!(document.root().optional("a", read::text), Some(text.clone()));
        let file = format!("a: '{text}'");
        let file = Some((std::path::Path::new("test.yml"), file.as_bytes()));
        let document = Document::open(&Sources { file, ..Sources::default() });
        prop_assert_eq!(document.root().optional("a", read::text), Some(text));
    }

    #[test]
    fn whole_numbers_are_read_as_written(number in any::<i64>()) {
        let overrides = [format!("a={number}")];
        let document = Document::open(&Sources { overrides: &overrides, ..Sources::default() });
        prop_assert_eq!(document.root().optional("a", read::integer(i64::MIN..=i64::MAX)), Some(number));
    }
}
