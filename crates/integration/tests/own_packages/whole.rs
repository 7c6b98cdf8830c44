//! What is in a package, and what it is called.

use std::collections::BTreeSet;

use fleet_integration::package::{VarType, Variable};
use fleet_integration::{Package, yaml};

use crate::policies::{all, names};

#[test]
fn there_are_these() {
    let expected = ["custom", "elastic_agent", "filestream", "fleet_server", "journald", "otlp", "system"];
    assert_eq!(names(), expected);
}

#[test]
fn each_is_whole() {
    for package in all() {
        let name = &package.name;
        assert_eq!(package.archive.top(), name, "the folder is named as the package");
        assert_eq!(package.changelog.first().map(|entry| &entry.version), Some(&package.version), "{name}");
        assert!(package.readme.as_ref().is_some_and(|text| text.starts_with("# ")), "{name}: docs/README.md");
        assert!(!package.icons.is_empty(), "{name}: icons");
        for icon in &package.icons {
            assert!(package.archive.file(icon.src.trim_start_matches('/')).is_some(), "{name}: {}", icon.src);
        }
        assert_eq!(package.template_errors().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "{name}");
    }
}

#[test]
fn each_template_and_stream_is_used() {
    for package in all() {
        let of_inputs = package.layout().iter().filter_map(|input| input.template.clone());
        let streams = || package.layout().iter().flat_map(|input| &input.streams);
        let used: BTreeSet<String> =
            of_inputs.chain(streams().map(|stream| stream.template.clone())).collect();
        let there: BTreeSet<String> =
            package.archive.paths().filter(|path| path.ends_with(".hbs")).map(str::to_owned).collect();
        assert_eq!(used, there, "{}", package.name);
        let declared: usize = package.data_streams.iter().map(|data_stream| data_stream.streams.len()).sum();
        if !package.data_streams.is_empty() {
            assert_eq!(streams().count(), declared, "{}: a stream's input has no place", package.name);
        }
    }
}

#[test]
fn each_variable_can_be_understood_and_is_used_by_a_template() {
    for package in all() {
        for input in package.layout() {
            let text = |path: &str| String::from_utf8(package.archive.file(path).unwrap().to_vec()).unwrap();
            let own = input.template.as_deref().map(text).unwrap_or_default();
            for stream in &input.streams {
                let template = text(&stream.template);
                stream.vars.iter().for_each(|var| check_variable(&package, var, &template));
                let shared = format!("{own}{template}");
                input.vars.iter().for_each(|var| check_variable(&package, var, &shared));
            }
            if input.streams.is_empty() {
                input.vars.iter().for_each(|var| check_variable(&package, var, &own));
            }
        }
    }
}

fn check_variable(package: &Package, var: &Variable, template: &str) {
    let place = format!("{}: {}", package.name, var.name);
    assert!(!var.title.is_empty() && var.title != var.name, "{place}: title");
    assert!(var.description.ends_with(['.', ':']), "{place}: description");
    assert_eq!(var.kind == VarType::Select, !var.options.is_empty(), "{place}: options");
    if let (VarType::Select, Some(default)) = (var.kind, &var.default) {
        assert!(var.options.iter().any(|option| *default == option.value), "{place}: default");
    }
    // The server itself reads this one.
    assert!(var.name == "data_stream.dataset" || template.contains(&var.name), "{place}: no template has it");
}

#[test]
fn fields_are_named_once_and_have_a_type() {
    let types = [
        "boolean",
        "constant_keyword",
        "date",
        "flattened",
        "float",
        "ip",
        "keyword",
        "long",
        "match_only_text",
        "scaled_float",
        "wildcard",
    ];
    for package in all() {
        let folders: BTreeSet<&str> = package
            .archive
            .paths()
            .filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder))
            .filter(|folder| folder.ends_with("fields"))
            .collect();
        let filled = package.data_streams.len()
            + usize::from(package.data_streams.is_empty() && !package.layout().is_empty());
        assert!(folders.len() == filled || package.name == "fleet_server", "{}: fields", package.name);
        for folder in folders {
            let mut names = BTreeSet::new();
            for (path, bytes) in package.archive.below(&format!("{folder}/")) {
                let list = yaml::parse_json(std::str::from_utf8(bytes).unwrap())
                    .unwrap_or_else(|error| panic!("{}/{path}: {error}", package.name));
                for field in list.as_array().unwrap() {
                    let name = field["name"].as_str().unwrap().to_owned();
                    let kind = field["type"].as_str().unwrap();
                    assert!(types.contains(&kind), "{}/{path}: {name} is a {kind}", package.name);
                    assert!(field["description"].is_string(), "{}/{path}: {name}", package.name);
                    assert!(names.insert(name.clone()), "{}/{path}: {name} is there twice", package.name);
                }
            }
            for base in ["@timestamp", "data_stream.type", "data_stream.dataset", "data_stream.namespace"] {
                assert!(names.contains(base), "{}/{folder}: {base}", package.name);
            }
            // A field cannot be a value and hold others.
            for name in &names {
                let below = format!("{name}.");
                assert!(
                    !names.iter().any(|other| other.starts_with(&below)),
                    "{}/{folder}: {name}",
                    package.name
                );
            }
        }
    }
}

#[test]
fn pipelines_tell_what_they_could_not_parse() {
    let mut seen = 0;
    for package in all() {
        for (path, bytes) in package.archive.below("data_stream/") {
            if !path.contains("/ingest_pipeline/") {
                continue;
            }
            let pipeline = yaml::parse_json(std::str::from_utf8(bytes).unwrap()).unwrap();
            assert!(pipeline["processors"].as_array().is_some_and(|all| !all.is_empty()), "{path}");
            let handlers = pipeline["on_failure"].as_array().unwrap();
            assert!(handlers.iter().any(|handler| handler["set"]["field"] == "error.message"), "{path}");
            seen += 1;
        }
    }
    assert_eq!(seen, 2, "system.auth and system.syslog");
}
