//! Whatever comes: no panic, and an end in good time.

mod common;

use std::io::Write;

use fleet_integration::template::Template;
use fleet_integration::{Archive, PackagePolicy, check, compile, upgrade};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Pieces of which manifests and templates are made, so that chance finds more than syntax errors.
fn pieces(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 0..40).prop_map(|pieces| pieces.concat())
}

const TAGS: &[&str] = &[
    "{{",
    "}}",
    "{{{",
    "}}}",
    "~",
    "#if ",
    "#each ",
    "/if",
    "/each",
    "else",
    "else if ",
    "^",
    "^x",
    "/x",
    "#x",
    "x",
    "..",
    "/",
    ".",
    "this",
    "@index",
    "@",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "'",
    "\\",
    "!",
    "--",
    ">",
    "*",
    "&",
    " ",
    "\n",
    "as |a b|",
    "=",
    "1",
    "contains ",
    "to_json ",
    "lookup ",
    "{{#if x}}",
    "{{/if}}",
    "{{else}}",
    "{{#each l}}",
    "{{/each}}",
    "{{x}}",
    "\u{e000}",
    "ü",
    "|",
];

const YAML: &[&str] = &[
    "name: ",
    "version: ",
    "1.0.0",
    "type: ",
    "input",
    "integration",
    "policy_templates:",
    "vars:",
    "inputs:",
    "streams:",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "default: ",
    "multi: true",
    "&a ",
    "*a",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    ": ",
    "#",
    "'",
    "\"",
    "|",
    ">",
    "!!str ",
    "---",
    "...",
    "\t",
    "~",
    "true",
    "-1",
    "\u{feff}",
    "? ",
    "%YAML 1.2",
    "ü",
];

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        pieces(YAML).prop_map(Value::from),
        Just(json!({"isSecretRef": true, "id": "s"})),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z.]{0,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// A template's part, of which it is plain what it says: all of it stands in one line.
#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Print(usize),
    /// Conditions with what they guard, then the rest.
    If(Vec<(bool, usize, Vec<Part>)>, Option<Vec<Part>>),
    Each(usize, Vec<Part>, Option<Vec<Part>>),
}

/// The variables: some that count as there, some that do not.
const NAMES: [&str; 6] = ["yes", "no", "text", "empty", "list", "none"];

fn variables() -> Value {
    json!({"yes": true, "no": false, "text": "t", "empty": "", "list": [1, 2], "none": []})
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let name = 0..NAMES.len();
    let leaf = prop_oneof!["[a-z ]{1,4}".prop_map(Part::Text), name.clone().prop_map(Part::Print)];
    let part = leaf.prop_recursive(4, 24, 4, move |inner| {
        let body = prop::collection::vec(inner, 0..3);
        let branch = (any::<bool>(), 0..NAMES.len(), body.clone());
        prop_oneof![
            (prop::collection::vec(branch, 1..4), prop::option::of(body.clone()))
                .prop_map(|(branches, rest)| Part::If(branches, rest)),
            (0..NAMES.len(), body.clone(), prop::option::of(body))
                .prop_map(|(of, body, rest)| Part::Each(of, body, rest)),
        ]
    });
    prop::collection::vec(part, 0..5)
}

fn written(parts: &[Part], loops: usize) -> String {
    let path = |name: &usize| format!("{}{}", "../".repeat(loops), NAMES[*name]);
    let rest = |rest: &Option<Vec<Part>>| {
        rest.as_ref().map(|rest| format!("{{{{else}}}}{}", written(rest, loops))).unwrap_or_default()
    };
    let one = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Print(name) => format!("{{{{{}}}}}", path(name)),
        Part::If(branches, otherwise) => {
            let helper = |is_if: &bool| if *is_if { "if" } else { "unless" };
            let mut text = String::new();
            for (index, (is_if, name, body)) in branches.iter().enumerate() {
                let open = if index == 0 { "#" } else { "else " };
                text += &format!("{{{{{open}{} {}}}}}{}", helper(is_if), path(name), written(body, loops));
            }
            format!("{text}{}{{{{/{}}}}}", rest(otherwise), helper(&branches[0].0))
        }
        Part::Each(name, body, otherwise) => {
            format!(
                "{{{{#each {}}}}}{}{}{{{{/each}}}}",
                path(name),
                written(body, loops + 1),
                rest(otherwise)
            )
        }
    };
    parts.iter().map(one).collect()
}

fn meant(parts: &[Part]) -> String {
    let is_there = |name: &usize| matches!(NAMES[*name], "yes" | "text" | "list");
    let rest = |rest: &Option<Vec<Part>>| rest.as_ref().map(|rest| meant(rest)).unwrap_or_default();
    let one = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Print(name) => ["true", "false", "t", "", "1,2", ""][*name].to_owned(),
        Part::If(branches, otherwise) => {
            let chosen = branches.iter().find(|(is_if, name, _)| is_there(name) == *is_if);
            chosen.map_or_else(|| rest(otherwise), |(_, _, body)| meant(body))
        }
        Part::Each(name, body, _) if NAMES[*name] == "list" => meant(body).repeat(2),
        Part::Each(_, _, otherwise) => rest(otherwise),
    };
    parts.iter().map(one).collect()
}

proptest! {
    #[test]
    fn templates_say_what_is_meant(parts in parts()) {
        let template = written(&parts, 0);
        let read = Template::read("t", template.as_bytes()).unwrap();
        prop_assert_eq!(read.render(&variables()).unwrap(), meant(&parts), "{}", template);
    }

    #[test]
    fn archives_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Archive::zip(&bytes);
        let _ = Archive::tar_gz(&bytes);
    }

    /// Bytes of a good archive, some of them changed.
    #[test]
    fn archives_that_are_damaged(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for path in ["x-1/manifest.yml", "x-1/docs/README.md", "x-1/_dev/x"] {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&[b'x'; 300]).unwrap();
        }
        let mut bytes = zip.finish().unwrap().into_inner();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Archive::zip(&bytes);
    }

    #[test]
    fn manifests_of_any_text(manifest in pieces(YAML), stream in pieces(YAML)) {
        let manifest = format!("name: x\nversion: 1.0.0\n{manifest}");
        let stream = format!("type: logs\n{stream}");
        if let Ok(package) = common::made(&[("manifest.yml", &manifest), ("data_stream/a/manifest.yml", &stream)]) {
            let policy = PackagePolicy::defaults(&package, "p", "p");
            let _ = check(&package, &policy);
            let _ = compile(&package, &policy, &common::context());
            let _ = fleet_integration::template_inputs_yaml(&package);
        }
    }

    #[test]
    fn templates_of_any_text(template in prop_oneof![pieces(TAGS), "\\PC{0,80}"], x in values()) {
        if let Ok(template) = Template::read("t", template.as_bytes()) {
            let _ = template.render(&json!({"x": x, "l": [1, {"x": [x]}], "": x}));
        }
    }

    /// Whatever people set: it is refused or rendered, and what is rendered has not changed texts that are
    /// checked to be harmless.
    #[test]
    fn values_of_any_kind(value in values(), name in prop::sample::select(&["paths", "tags", "port", "processors", "preserve_original_event"][..])) {
        let package = common::package("acme");
        let mut policy = PackagePolicy::defaults(&package, "p", "p");
        common::set(&mut policy, 0, Some(0), name, value);
        let _ = check(&package, &policy);
        let _ = compile(&package, &policy, &common::context());
        let upgraded = upgrade(&policy, &package);
        let again = upgrade(&upgraded.policy, &package);
        prop_assert_eq!(&again.policy, &upgraded.policy);
        prop_assert_eq!(again.changes, vec![]);
    }

    /// A list of processors comes out as it went in, wherever the template has put it.
    #[test]
    fn yaml_comes_out_as_it_went_in(items in prop::collection::vec("[a-z]{1,5}", 1..5), indentation in 0_usize..6) {
        let package = common::package("acme");
        let mut policy = PackagePolicy::defaults(&package, "p", "p");
        let indentation = " ".repeat(indentation);
        let lines: Vec<String> =
            items.iter().map(|item| format!("{indentation}- drop_fields:\n{indentation}    fields: [{item:?}]\n")).collect();
        common::set(&mut policy, 0, Some(0), "processors", json!(lines.concat()));
        let compiled = compile(&package, &policy, &common::context()).unwrap();
        let mut wanted = vec![json!({"add_locale": null})];
        wanted.extend(items.iter().map(|item| json!({"drop_fields": {"fields": [item]}})));
        prop_assert_eq!(&compiled.inputs[0]["streams"][0]["processors"], &Value::from(wanted));
    }

    /// A text is what it was, whatever it looks like, where the template puts it into quotes.
    #[test]
    fn escaped_texts_come_out_as_they_went_in(text in "[^\u{e000}-\u{f8ff}\\p{C}\u{2028}\u{2029}\u{feff}]{0,30}") {
        let package = common::package("acme");
        let mut policy = PackagePolicy::defaults(&package, "p", "p");
        policy.vars.entry("site".to_owned()).or_default().value = json!(text);
        let compiled = compile(&package, &policy, &common::context()).unwrap();
        prop_assert_eq!(&compiled.inputs[0]["streams"][0]["site"], &json!(text));
    }
}
