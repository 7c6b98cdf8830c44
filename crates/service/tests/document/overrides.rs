//! `-E key=value`.

use fleet_service::config::document::read;

use crate::{some, yaml};

#[test]
fn a_value_has_many_forms() {
    let cases = [
        ("a=x", "x"),
        ("a= x ", "x"),
        ("a=12", "12"),
        ("a=x y", "x y"),
        ("a=x=y", "x=y"),
        ("a=https://h:1/p?q", "https://h:1/p?q"),
        ("a=\"x,y\"", "x,y"),
        ("a='x,y'", "x,y"),
        ("a='$${x}'", "${x}"),
        ("a=\"say \\\"hi\\\"\"", "say \"hi\""),
        ("a=\"x\\ny\"", "x\ny"),
        ("a='it\\'", "it\\"),
        ("a", "true"),
        (" a =x", "x"),
        ("a=${B}", "from b"),
        ("a=${NONE:d,e}", "d,e"),
        ("a=x-${B}-y", "x-from b-y"),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml("").with(text).variable("B", "from b").text("a"), some(expected), "{text}");
    }
}

#[test]
fn a_value_may_be_a_list_or_an_object() {
    for text in ["a=x,y", "a=[x, y]", "a=[x,y]", "a=[ 'x' , \"y\" ]", "a=x, y", "a=x,y,", "a=[x,y,]"] {
        assert_eq!(yaml("").with(text).list("a").unwrap(), ["x", "y"], "{text}");
    }
    for text in ["a={x: 1}", "a={x:1}", "a={ 'x' : 1 }", "a={x: 1,}", "a={x: 1, y: [1, {z: 2}]}"] {
        assert_eq!(yaml("").with(text).text("a.x"), some("1"), "{text}");
    }
    assert_eq!(yaml("").with("a={x.y: 1, x: {z: ${B:2}}}").text("a.x.z"), some("2"));
    assert_eq!(yaml("").with("a={b: {c: x}},{b: {c: y}}").text("a.1.b.c"), some("y"));
    assert_eq!(yaml("").with("a=[]").list("a").unwrap(), Vec::<String>::new());
}

#[test]
fn a_key_without_a_value() {
    assert_eq!(yaml("a: false").with("a").get("a", read::boolean), Ok(Some(true)));
    // Nothing behind the sign: ignored.
    assert_eq!(yaml("a: x").with("a=").text("a"), some("x"));
    assert_eq!(yaml("a: x").with("a=null").text("a"), Ok(None));
}

#[test]
fn the_last_one_wins() {
    assert_eq!(yaml("a: x").with("a=y").with("a=z").text("a"), some("z"));
    assert_eq!(yaml("").with("a=y").with("a.b=z").text("a.b"), some("z"));
    assert_eq!(yaml("").with("a.b=z").with("a=y").text("a"), some("y"));
}

#[test]
fn a_value_that_cannot_be_read_is_a_mistake_that_says_what_to_do() {
    let cases = [
        ("a=[x", "a [ is not closed by a ]"),
        ("a=[::1]:5", "something stands behind its end"),
        ("a={x: 1", "a { is not closed by a }"),
        ("a={x}", "a key in {…} has no : and value"),
        ("a={x:}", "a value is missing"),
        ("a={x: 1, x: 2}", "x is given twice"),
        ("a='x", "a quote is not closed"),
        ("a=\"x\\", "a quote is not closed"),
        ("a='x'y", "something stands behind its end"),
        ("a=,x", "a value is missing"),
    ];
    for (text, expected) in cases {
        let error = yaml("").with(text).text("z").unwrap_err();
        assert!(error.starts_with("-E a: ") && error.contains(expected), "{text}: {error}");
        assert!(error.ends_with("goes into quotes"), "{error}");
    }
    for text in ["=x", "a..b=x", ""] {
        assert!(yaml("").with(text).text("z").unwrap_err().contains("has an empty part"), "{text}");
    }
    let deep = format!("a={}", "[".repeat(100));
    assert!(yaml("").with(&deep).text("z").unwrap_err().contains("nested deeper"));
}

#[test]
fn mistakes_in_an_override_name_it() {
    let error = yaml("a: 1").with("a=x").get("a", read::integer(0..=9_i64)).unwrap_err();
    assert_eq!(error, "-E a: a must be a whole number from 0 to 9, not \"x\"");
}
