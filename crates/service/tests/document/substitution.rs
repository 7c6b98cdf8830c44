//! `${…}`.

use fleet_service::config::document::read;

use crate::{some, yaml};

#[test]
fn all_forms_are_substituted() {
    let cases = [
        ("${SET}", "value"),
        ("'${SET}'", "value"),
        ("\"${SET}\"", "value"),
        ("x-${SET}-y", "x-value-y"),
        ("${SET}${SET}", "valuevalue"),
        ("${SET:default}", "value"),
        ("${NONE:default}", "default"),
        ("${EMPTY:default}", "default"),
        ("${NONE:https://h:9200}", "https://h:9200"),
        ("${NONE:${SET}}", "value"),
        ("${NONE:${EMPTY:${SET}}}", "value"),
        ("${NONE:a${SET}b}", "avalueb"),
        ("${S${T}}", "value"),
        ("${SET:+alternative}", "alternative"),
        ("x${NONE:+alternative}", "x"),
        ("x${EMPTY:+alternative}", "x"),
        ("${SET:?is needed}", "value"),
        ("$${SET}", "${SET}"),
        ("a$${SET}${SET}", "a${SET}value"),
        ("$SET", "$SET"),
        ("$$", "$$"),
        ("a}b", "a}b"),
    ];
    for (text, expected) in cases {
        let world = yaml(&format!("a: {text}"));
        let world = world.variable("SET", "value").variable("EMPTY", "").variable("T", "ET");
        assert_eq!(world.text("a"), some(expected), "{text}");
    }
}

#[test]
fn what_is_not_set_is_a_mistake() {
    let cases = [
        ("${NONE}", "a: ${NONE} is not set: set it, or write ${NONE:default}"),
        ("x${EMPTY}", "a: ${EMPTY} is not set: set it, or write ${EMPTY:default}"),
        ("${NONE:?give the token}", "a: ${NONE} is not set: give the token"),
        ("${NONE:?give ${SET}}", "a: ${NONE} is not set: give value"),
        ("${NONE:${OTHER}}", "a: ${OTHER} is not set: set it, or write ${OTHER:default}"),
        ("'${NONE'", "a: a ${ is not closed by a }"),
        ("'${}'", "a: ${…} has no name in it"),
        ("'${:x}'", "a: ${…} has no name in it"),
    ];
    for (text, expected) in cases {
        let world = yaml(&format!("b: 1\na: {text}")).variable("EMPTY", "").variable("SET", "value");
        assert_eq!(world.text("a"), Err(format!("test.yml:2: {expected}")), "{text}");
    }
}

#[test]
fn what_nobody_asks_for_need_not_be_set() {
    assert_eq!(yaml("password: ${NONE}\na: x").text("a"), some("x"));
}

#[test]
fn a_key_goes_before_the_environment() {
    let world = yaml("a: ${b.c}\nb.c: key").variable("b.c", "variable");
    assert_eq!(world.text("a"), some("key"));
    assert_eq!(yaml("a: ${b.c}").variable("b.c", "variable").text("a"), some("variable"));
    // An override's key counts, and what the file has in its place does not.
    assert_eq!(yaml("a: ${b}\nb: x").with("b=y").text("a"), some("y"));
    assert_eq!(yaml("a: ${list.1}\nlist: [x, y]").text("a"), some("y"));
    assert_eq!(yaml("a: ${b:default}\nb:").text("a"), some("default"));
    assert_eq!(yaml("a: ${b}\nb: ${c}\nc: ${D}").variable("D", "deep").text("a"), some("deep"));
}

#[test]
fn a_key_may_stand_for_a_list_or_a_section() {
    assert_eq!(yaml("a: ${b}\nb: [x, '${C}']").variable("C", "y").list("a").unwrap(), ["x", "y"]);
    assert_eq!(yaml("a: ${b}\nb: {c: x}").text("a.c"), some("x"));
    let error = yaml("a: x${b}\nb: [x]").text("a").unwrap_err();
    assert_eq!(error, "test.yml:1: a: ${b} is a list or a section, which cannot stand inside a text");
}

#[test]
fn a_key_that_leads_to_itself_means_the_variable() {
    assert_eq!(yaml("token: ${token}").variable("token", "x").text("token"), some("x"));
    assert!(yaml("token: ${token}").text("token").unwrap_err().contains("${token} is not set"));
    assert_eq!(yaml("a: ${b}\nb: ${a}").variable("b", "x").text("a"), some("x"));
    assert!(yaml("a: ${b}\nb: ${a}").text("a").unwrap_err().contains("is not set"));
    assert!(yaml("a: {b: '${a}'}").text("a.b").is_err());
}

#[test]
fn substitution_ends() {
    // Each key stands for twice the one before it.
    let mut text = "k0: x\n".to_owned();
    for number in 1..15 {
        text.push_str(&format!("k{number}: ${{k{}}}${{k{}}}\n", number - 1, number - 1));
    }
    assert_eq!(yaml(&text).text("k14").unwrap().unwrap().len(), 1 << 14);
    for number in 15..60 {
        text.push_str(&format!("k{number}: ${{k{}}}${{k{}}}\n", number - 1, number - 1));
    }
    assert!(yaml(&text).text("k59").is_err());
    // Many of a long one.
    let long = format!("long: {}\nlist: [{}]", "x".repeat(1 << 20), vec!["'${long}'"; 1000].join(", "));
    assert!(yaml(&long).list("list").unwrap_err().contains("yield more than 16777216 bytes"));
    let mut lists = "k0: [x]\n".to_owned();
    for number in 1..60 {
        lists.push_str(&format!("k{number}: ['${{k{}}}', '${{k{}}}']\n", number - 1, number - 1));
    }
    assert!(yaml(&lists).text("z").is_ok());
    let deep = format!("a: '{}x{}'", "${n:".repeat(1000), "}".repeat(1000));
    assert!(yaml(&deep).text("a").unwrap_err().contains("deeper than 16 levels"));
}

#[test]
fn a_substituted_number_is_a_number() {
    assert_eq!(yaml("a: ${P}").variable("P", "8443").get("a", read::integer(0..=u16::MAX)), Ok(Some(8443)));
    assert_eq!(yaml("a: ${P:true}").get("a", read::boolean), Ok(Some(true)));
}
