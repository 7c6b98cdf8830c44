//! Everything that is wrong is told, once, where it stands.

use fleet_service::config::document::{Document, Problems, read};

use crate::yaml;

fn ask(document: &Document) {
    let root = document.root();
    let server = root.section("server");
    server.get("port", 0, read::integer(0..=9_i64));
    server.get("limits.max_agents", 0, read::integer(0..=9_i64));
    server.get("limits.max_body", 0, read::integer(0..=9_i64));
    root.map("labels", read::text);
    root.get("logging.level", String::new(), read::text);
    root.section("old").ignored("key", "it is gone");
    root.accepted("foreign");
}

fn warnings(text: &str) -> Vec<String> {
    let document = yaml(text).open();
    ask(&document);
    document.finish().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn unknown_keys_are_told_with_the_nearest_known_one() {
    let cases = [
        ("server.prot: 1", "unknown key server.prot: was server.port meant?"),
        (
            "server:\n  limits: {max_agent: 1}",
            "unknown key server.limits.max_agent: was server.limits.max_agents meant?",
        ),
        ("sever: {port: 1}", "unknown key sever: was server meant?"),
        // At the wrong place.
        ("limits: {max_agents: 1}", "unknown key limits: was server.limits meant?"),
        ("level: debug", "unknown key level: was logging.level meant?"),
        ("labels[0]: 1", "unknown key labels[0]: was labels.0 meant?"),
        ("colour: red", "unknown key colour"),
        // Only the topmost: what is below cannot be right either.
        ("colour: {red: 1, green: {x: 1}}", "unknown key colour"),
    ];
    for (text, expected) in cases {
        let line = text.lines().count();
        assert_eq!(warnings(text), [format!("test.yml:{line}: {expected}")], "{text}");
    }
}

#[test]
fn what_is_known_is_not_told() {
    let text = "server: {port: 1, limits.max_agents: 2}\nlabels: {a: 1, b.c: 2}\nforeign: {x: [1]}\nserver.limits:\n";
    assert_eq!(warnings(text), Vec::<String>::new());
}

#[test]
fn ignored_keys_are_told() {
    assert_eq!(warnings("old: {key: {deep: 1}}"), ["test.yml:1: old.key has no effect: it is gone"]);
}

#[test]
fn all_mistakes_are_told_in_the_order_of_lines() {
    let text = "server:\n  port: x\n  limits:\n    max_agents: 77\n    max_body: ${NONE}\nlabels: 5\nunknown: 1\nserver.port.x: 1";
    let document = yaml(text).with("logging=3").open();
    ask(&document);
    let Problems { mistakes, warnings } = document.finish().unwrap_err();
    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        mistakes,
        [
            "test.yml:4: server.limits.max_agents must be a whole number from 0 to 9, not \"77\"",
            "test.yml:5: server.limits.max_body: ${NONE} is not set: set it, or write ${NONE:default}",
            "test.yml:6: labels must be a section with keys of its own, not a single value",
            "test.yml:8: server.port is given twice, first at test.yml:2: keep one of them",
            "test.yml:8: server.port must be a single value, not a section",
            "-E logging: logging must be a section with keys of its own, not a single value",
        ]
    );
    assert_eq!(warnings.len(), 1);
}

#[test]
fn a_mistake_knows_its_key() {
    let document = yaml("server: {port: x}").open();
    ask(&document);
    let problems = document.finish().unwrap_err();
    assert_eq!(problems.mistakes[0].key.as_deref(), Some("server.port"));
}

#[test]
fn a_section_that_is_none_is_told_once() {
    let document = yaml("server: 5").open();
    ask(&document);
    let problems = document.finish().unwrap_err();
    let text = crate::mistakes(&problems);
    assert_eq!(text, "test.yml:1: server must be a section with keys of its own, not a single value");
    assert_eq!(problems.warnings, []);
}
