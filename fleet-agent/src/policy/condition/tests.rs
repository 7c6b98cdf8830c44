use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn facts() -> Facts {
    let Value::Object(tree) = json!({
        "host": {"name": "web-1", "platform": "linux", "os_version": "12 (bookworm)", "cpus": 4, "tags": ["a", "b"]},
        "agent": {"id": "x", "labels": {"team": "red"}},
    }) else {
        panic!("a map")
    };
    Facts::new(tree)
}

#[test]
fn conditions_hold_or_not() {
    for (text, holds) in [
        ("true", true),
        ("not false", true),
        ("${host.platform} == 'linux'", true),
        ("${host.platform} != \"windows\"", true),
        ("${host.platform} == 'linux' and ${host.os_version} == '12 (bookworm)'", true),
        ("${host.platform} != 'windows' and not ((${host.name} == 'web-1' and (1 == 1 or 2 == 3)))", false),
        ("false or true and false", false),
        ("(false or true) and true", true),
        ("not ${host.platform} == 'windows'", true),
        ("${no.such} == null", true),
        ("${no.such} == 'x'", false),
        ("${no.such}", false),
        ("${no.such|'linux'} == 'linux'", true),
        ("${host.cpus} >= 4", true),
        ("1 + 2 * 3 == 7", true),
        ("(1 + 2) * 3 == 9", true),
        ("7 % 4 == 3 and -1 < 0", true),
        ("1 == 1.0", true),
        ("'a' < 'b'", true),
        ("${no.such} < 1", false),
        ("hasKey(${agent.labels}, 'x', 'team')", true),
        ("hasKey({a: 1, 'b': 2}, 'b')", true),
        ("arrayContains(${host.tags}, 'b')", true),
        ("arrayContains([1, 2], 3)", false),
        ("contains(${host.name}, 'eb')", true),
        ("contains(${host.tags}, 'a')", true),
        ("startsWith(${host.name}, 'x', 'web')", true),
        ("endsWith(${host.name}, '-1')", true),
        ("stringContains(${host.name}, 'b-')", true),
        ("match(${host.name}, '^web-\\d+$')", true),
        ("length(${host.tags}) == 2 and length('é') == 1", true),
        ("indexOf('hello', 'l') == 2 and indexOf('hello', 'x') == -1", true),
        ("indexOf('hello', 'l', 3) == 3", true),
        ("concat('a', 1, true) == 'a1true'", true),
        ("string(1) == '1' and number('0x1f', 16) == 31 and number('2.5') == 2.5", true),
        ("add(1, 2, 3) == 6 and subtract(3, 1) == 2 and multiply(2, 3) == 6", true),
        ("divide(7, 2) == 3 and modulo(7, 2) == 1", true),
    ] {
        assert_eq!(super::holds(text, &facts()), Ok(holds), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for text in
        ["", "1 +", "(true", "'x", "${x", "true true", "a == 1", "[1", "{a 1}", "1..2 == 1", "==", "é"]
    {
        assert!(matches!(holds(text, &facts()), Err(ConditionError::Parse(_))), "{text}");
    }
    for text in [
        "'text'",
        "1",
        "1 and true",
        "1 / 0 == 1",
        "9223372036854775807 + 1 == 0",
        "nope(1)",
        "length()",
        "hasKey('a', 'b')",
        "match('a', '(')",
        "1 < 'a'",
        "number('x') == 1",
        "${a..b} == 1",
    ] {
        assert!(matches!(holds(text, &facts()), Err(ConditionError::Eval(_))), "{text}");
    }
}

#[test]
fn nesting_has_an_end() {
    for deep in [
        format!("{}true{}", "(".repeat(1000), ")".repeat(1000)),
        "not ".repeat(10_000) + "true",
        "[".repeat(10_000),
        format!("1{} == 1", " + 1".repeat(10_000)),
    ] {
        assert_eq!(holds(&deep, &facts()), Err(ConditionError::Parse(ParseError::TooDeep)));
    }
    assert_eq!(holds(&"a".repeat(70_000), &facts()), Err(ConditionError::Parse(ParseError::TooLong)));
}

/// A tree with its outcome.
fn truth() -> impl Strategy<Value = (String, bool)> {
    let leaf = prop_oneof![
        Just(("true".to_owned(), true)),
        Just(("${host.platform} == 'linux'".to_owned(), true)),
        Just(("${host.cpus} < 4".to_owned(), false)),
        (any::<i32>(), any::<i32>()).prop_map(|(a, b)| (format!("{a} <= {b}"), a <= b)),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| (format!("({}) and ({})", a.0, b.0), a.1 && b.1)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| (format!("({}) or ({})", a.0, b.0), a.1 || b.1)),
            inner.prop_map(|a| (format!("not ({})", a.0), !a.1)),
        ]
    })
}

proptest! {
    #[test]
    fn trees_mean_what_they_say((text, expected) in truth()) {
        prop_assert_eq!(holds(&text, &facts()), Ok(expected));
    }

    #[test]
    fn no_text_breaks_it(text in "\\PC{0,60}") {
        let _ = holds(&text, &facts());
    }

    #[test]
    fn no_words_break_it(words in prop::collection::vec(prop::sample::select(vec![
        "and", "or", "not", "(", ")", "[", "]", "{", "}", ",", ":", "==", "<", "+", "-", "*", "/", "%", "1", "0", "'a'",
        "${host.name}", "length", "match", "true", "null",
    ]), 0..30)) {
        let _ = holds(&words.join(" "), &facts());
    }
}
