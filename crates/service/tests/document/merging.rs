//! How sources and dotted keys are joined.

use fleet_service::config::document::read;

use crate::{some, yaml};

#[test]
fn dots_nest_anywhere() {
    let forms =
        ["a: {b: {c: x}}", "a.b.c: x", "a.b: {c: x}", "a: {b.c: x}", "a:\n  b:\n    c: x", "'a.b.c': x"];
    for text in forms {
        assert_eq!(yaml(text).text("a.b.c"), some("x"), "{text}");
    }
    assert_eq!(yaml("a:\n- b.c: x").text("a.0.b.c"), some("x"));
}

#[test]
fn dotted_and_nested_keys_are_joined() {
    let world = yaml("a.b: 1\na: {c: 2}\na.d.e: 3\na.d: {f: 4}");
    for (key, expected) in [("a.b", "1"), ("a.c", "2"), ("a.d.e", "3"), ("a.d.f", "4")] {
        assert_eq!(world.text(key), some(expected), "{key}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_a_mistake() {
    let cases = [
        ("a: 1\nb: 2\na: 3", "test.yml:3: a is given twice, first at test.yml:1: keep one of them"),
        ("a.b: 1\na:\n  b: 2", "test.yml:3: a.b is given twice, first at test.yml:1: keep one of them"),
        ("a: 1\na.b: 2", "test.yml:2: a is given twice, first at test.yml:1: keep one of them"),
        ("a: [1]\na: [2]", "test.yml:2: a is given twice, first at test.yml:1: keep one of them"),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml(text).get("z", read::text), Err(expected.to_owned()), "{text}");
    }
    assert_eq!(yaml("a:\na: 1").text("a"), some("1"));
}

#[test]
fn bad_keys_are_mistakes() {
    for text in ["a..b: 1", ".a: 1", "a.: 1", ".: 1", "'': 1"] {
        let error = yaml(text).text("z").unwrap_err();
        assert!(error.contains("has an empty part"), "{text}: {error}");
    }
    let deep = format!("{}: 1", vec!["a"; 40].join("."));
    assert!(yaml(&deep).text("z").unwrap_err().contains("nested deeper than 32 levels"));
    let nested = format!("{}x{}", "{a.b.c: ".repeat(20), "}".repeat(20));
    assert!(yaml(&nested).text("z").unwrap_err().contains("nested deeper than 32 levels"));
}

#[test]
fn an_override_goes_before_the_file_key_by_key() {
    let world = yaml("a: {b: 1, c: 2}\nd: 3").with("a.b=9").with("d={e: 5}");
    assert_eq!(world.text("a.b"), some("9"));
    assert_eq!(world.text("a.c"), some("2"));
    assert_eq!(world.text("d.e"), some("5"));
}

#[test]
fn lists_are_joined_by_index() {
    let list = |world: crate::World| world.list("a").unwrap().join(" ");
    let file = || yaml("a: [q, r, s]");
    assert_eq!(list(file().with("a=x,y")), "x y s");
    assert_eq!(list(file().with("a=[x, y]")), "x y s");
    assert_eq!(list(file().with("a.1=x")), "q x s");
    assert_eq!(list(file().with("a.3=x")), "q r s x");
    assert_eq!(list(file().with("a.2=x").with("a.3=y")), "q r x y");
    assert_eq!(list(file().with("a=w,x,y,z")), "w x y z");
    assert_eq!(list(yaml("").with("a.0=x").with("a.1=y")), "x y");
    assert_eq!(list(yaml("a: q").with("a=x,y")), "x y");
    let error = file().with("a.7=x").list("a").unwrap_err();
    assert_eq!(error, "-E a.7: a.7 is beyond the end of the list, which has 3 items");
}

#[test]
fn sections_in_lists_are_joined_by_index_and_key() {
    let world = yaml("a:\n- {b: 1, c: 2}\n- {b: 3}").with("a.0.b=9");
    assert_eq!(world.text("a.0.b"), some("9"));
    assert_eq!(world.text("a.0.c"), some("2"));
    assert_eq!(world.text("a.1.b"), some("3"));
}

#[test]
fn some_keys_are_replaced_as_a_whole() {
    let world =
        yaml("whole:\n- {b: 1, c: 2}\nother:\n- {b: 1, c: 2}").with("whole.0.b=9").with("other.0.b=9");
    assert_eq!(world.text("whole.0.b"), some("9"));
    assert_eq!(world.text("whole.0.c"), Ok(None));
    assert_eq!(world.text("other.0.c"), some("2"));
}

#[test]
fn some_sections_may_be_a_single_value() {
    assert_eq!(yaml("store: etcd").text("store.type"), some("etcd"));
    assert_eq!(yaml("store: {type: etcd}").text("store.type"), some("etcd"));
    assert_eq!(yaml("store.type: etcd").text("store.type"), some("etcd"));
    let world = yaml("store: embedded").with("store=etcd").with("store.path=/x");
    assert_eq!(world.text("store.type"), some("etcd"));
    assert_eq!(world.text("store.path"), some("/x"));
    let world = yaml("store: etcd\nstore.path: /x").with("store.user=me").with("store=other");
    for (key, expected) in [("type", "other"), ("path", "/x"), ("user", "me")] {
        assert_eq!(world.text(&format!("store.{key}")), some(expected), "{key}");
    }
    assert_eq!(yaml("store: {path: /y}").with("store=etcd").text("store.path"), some("/y"));
}

#[test]
fn a_variable_goes_before_the_file_and_an_override_before_both() {
    let file = || yaml("dir: /file");
    assert_eq!(file().text("dir"), some("/file"));
    assert_eq!(file().variable("TEST_DIR", "/${X},y").text("dir"), some("/${X},y"));
    assert_eq!(file().variable("TEST_DIR", "").text("dir"), some("/file"));
    assert_eq!(file().variable("TEST_DIR", "/e").with("dir=/o").text("dir"), some("/o"));
    let error = file().variable("TEST_DIR", "/e").get("dir", read::boolean).unwrap_err();
    assert_eq!(error, "environment variable TEST_DIR: dir must be true or false, not \"/e\"");
}
