//! Patterns: the cases of Go's own tests of `path.Match`.

use fleet_unit::glob;

#[test]
fn patterns_match_as_in_go() {
    let cases = [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*", "", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a[^a][^a][^a]b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "-", true),
        ("[x\\-]", "z", false),
        ("[\\-x]", "a", false),
        ("*x", "xxx", true),
        ("conflict.*.service", "conflict.0.service", true),
        ("", "", true),
        ("", "a", false),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(glob::matches(pattern, name), expected, "{pattern} {name}");
        assert!(glob::is_valid(pattern), "{pattern}");
    }
}

#[test]
fn malformed_patterns_match_nothing() {
    let malformed = [
        "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "a[b", "[a-\\", "[]", "[^]",
    ];
    for pattern in malformed {
        assert!(!glob::is_valid(pattern), "{pattern}");
        for name in ["", "a", "]", "-", "a[", "\\", "x"] {
            assert!(!glob::matches(pattern, name), "{pattern} {name}");
        }
    }
}

#[test]
fn a_hostile_pattern_costs_no_more_than_its_length_times_the_names() {
    let pattern = "*a".repeat(1000) + "b";
    assert!(!glob::matches(&pattern, &"a".repeat(1000)));
}
