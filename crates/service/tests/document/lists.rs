//! Lists, and what stands for one.

use crate::yaml;

fn items(items: &[&str]) -> Result<Vec<String>, String> {
    Ok(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn a_list_has_many_forms() {
    let cases: [(&str, &[&str]); 9] = [
        ("a: [x, y]", &["x", "y"]),
        ("a:\n- x\n- y", &["x", "y"]),
        ("a: x", &["x"]),
        ("a: [x, '', y]", &["x", "y"]),
        ("a: []", &[]),
        ("a.0: x\na.1: y", &["x", "y"]),
        ("a: {'0': x, '1': y}", &["x", "y"]),
        // Of the file itself, a comma is a comma.
        ("a: x,y", &["x,y"]),
        ("a: '[x, y]'", &["[x, y]"]),
    ];
    for (text, expected) in cases {
        assert_eq!(yaml(text).list("a"), items(expected), "{text}");
    }
}

#[test]
fn a_variable_may_hold_a_list() {
    let cases: [(&str, &[&str]); 6] = [
        ("x,y", &["x", "y"]),
        ("[x, y]", &["x", "y"]),
        ("x", &["x"]),
        ("\"x,y\"", &["x,y"]),
        ("https://a:1,https://b:2", &["https://a:1", "https://b:2"]),
        // What is no list is a single item.
        ("[::1]:5", &["[::1]:5"]),
    ];
    for (value, expected) in cases {
        let world = yaml("a: ${LIST}").variable("LIST", value);
        assert_eq!(world.list("a"), items(expected), "{value}");
        // Where one value is wanted, it is one.
        assert_eq!(world.text("a"), crate::some(value));
    }
    assert_eq!(yaml("a: ${LIST:x,y}").list("a"), items(&["x", "y"]));
    assert_eq!(yaml("a:\n- ${LIST:x}\n- z").list("a"), items(&["x", "z"]));
}

#[test]
fn each_bad_item_is_told_with_its_place() {
    let world = yaml("a:\n- x\n- [y]\n- {z: 1}");
    let error = world.list("a").unwrap_err();
    assert_eq!(
        error,
        "test.yml:3: a.1 must be a single value, not a list\n\
         test.yml:4: a.2 must be a single value, not a section"
    );
    assert_eq!(
        yaml("a: {x: 1}").list("a").unwrap_err(),
        "test.yml:1: a must be a single value, not a section"
    );
}

#[test]
fn sections_may_stand_in_a_list() {
    let document = yaml("a:\n- b: 1\n- b: 2\n  c.d: 3\n- 4").open();
    let sections = document.root().sections("a");
    let read = |section: &fleet_service::config::document::Section<'_>, key: &str| {
        section.optional(key, fleet_service::config::document::read::text)
    };
    assert_eq!(read(&sections[0], "b").as_deref(), Some("1"));
    assert_eq!(read(&sections[1], "c.d").as_deref(), Some("3"));
    assert_eq!(sections[1].full_key("c"), "a.1.c");
    let error = crate::finished(document).unwrap_err();
    assert_eq!(error, "test.yml:5: a.2 must be a section with keys of its own, not a single value");
}

#[test]
fn a_single_section_is_a_list_of_one() {
    let document = yaml("a: {b: 1}").open();
    assert_eq!(document.root().sections("a").len(), 1);
    assert_eq!(yaml("b: 1").open().root().sections("a").len(), 0);
    assert_eq!(yaml("a: []").open().root().sections("a").len(), 0);
}
