//! Documents of nested keys, from their sources to values and findings.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use fleet_service::config::document::{Document, Problems, Scalar, Sources};
use fleet_service::config::value::Expected;

mod arbitrary;
mod findings;
mod lists;
mod merging;
mod overrides;
mod secret_files;
mod substitution;
mod values;
mod yaml;

/// What a test document is made of.
#[derive(Clone, Default)]
struct World {
    text: String,
    overrides: Vec<String>,
    environment: BTreeMap<String, String>,
}

fn yaml(text: &str) -> World {
    World { text: text.to_owned(), ..World::default() }
}

impl World {
    fn with(mut self, override_: &str) -> World {
        self.overrides.push(override_.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> World {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn open(&self) -> Document {
        Document::open(&Sources {
            file: Some((Path::new("test.yml"), self.text.as_bytes())),
            overrides: &self.overrides,
            environment: Some(&self.environment),
            variables: &[("TEST_DIR", "dir")],
            replaced: &["whole"],
            shorthands: &[("store", "type")],
        })
    }

    /// The value of a key, or all mistakes in a line each.
    fn get<T>(&self, key: &str, read: impl Fn(&Scalar) -> Result<T, Expected>) -> Result<Option<T>, String> {
        let document = self.open();
        let value = document.root().optional(key, read);
        finished(document).map(|()| value)
    }

    /// The items of a list.
    fn list(&self, key: &str) -> Result<Vec<String>, String> {
        let document = self.open();
        let items = document.root().list(key, Vec::new(), fleet_service::config::document::read::text);
        finished(document).map(|()| items)
    }

    /// A text.
    fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.get(key, fleet_service::config::document::read::text)
    }
}

fn finished(document: Document) -> Result<(), String> {
    document.finish().map(|_| ()).map_err(|problems| mistakes(&problems))
}

fn mistakes(problems: &Problems) -> String {
    let lines: Vec<String> = problems.mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn some(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}
