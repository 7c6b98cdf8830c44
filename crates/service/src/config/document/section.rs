//! A part of a document, asked for its keys one by one.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use super::secret_file::read_secret_file;
use super::tree::{self, Node, Scalar, Style, Value, join};
use super::{Document, overrides, read};
use crate::config::settings::{Mistake, Place, Warning, shortened};
use crate::config::value::{Expected, Secret};
use crate::error::chain;

/// What stands below a key. A key that is asked for may have dots in it.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    document: &'a Document,
    node: Option<&'a Node>,
    path: String,
}

/// How the text of a secret's file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFile {
    /// All but one line's end behind it.
    Line,
    /// Without the white space around it.
    Trimmed,
}

impl<'a> Section<'a> {
    pub(super) fn new(document: &'a Document, node: Option<&'a Node>, path: String) -> Section<'a> {
        Section { document, node, path }
    }

    /// The whole key of one of this section's keys, as a person would write it.
    #[must_use]
    pub fn full_key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The section below a key. If there is none, all of its keys have their defaults.
    #[must_use]
    pub fn section(&self, key: &str) -> Section<'a> {
        let path = join(&self.path, key);
        let node = self.find(key);
        if let Some(node) = node
            && !matches!(node.value, Value::Map(_))
        {
            self.expected_section(&path, node);
            return Section::new(self.document, None, path);
        }
        Section::new(self.document, node, path)
    }

    /// The sections of a list below a key; a single one is a list of one.
    #[must_use]
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let path = join(&self.path, key);
        let Some(node) = self.find(key) else { return Vec::new() };
        let items: Vec<(String, &'a Node)> = match &node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(index, item)| (format!("{path}.{index}"), item)).collect()
            }
            _ => vec![(path, node)],
        };
        let mut sections = Vec::new();
        for (path, item) in items {
            let is_section = matches!(item.value, Value::Map(_)) || item.is_nothing();
            if !is_section {
                self.expected_section(&path, item);
            }
            sections.push(Section::new(self.document, is_section.then_some(item), path));
        }
        sections
    }

    /// Whether the section itself is there.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.node.is_some()
    }

    /// Whether there is anything at a key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The names of the keys that stand here.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self.node.map(|node| &node.value) {
            Some(Value::Map(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// The value of a key; the default if there is none, or if it is wrong.
    pub fn get<T>(&self, key: &str, default: T, read: impl Fn(&Scalar) -> Result<T, Expected>) -> T {
        self.optional(key, read).unwrap_or(default)
    }

    /// The value of a key; `None` if there is none, or if it is wrong.
    pub fn optional<T>(&self, key: &str, read: impl Fn(&Scalar) -> Result<T, Expected>) -> Option<T> {
        let node = self.ask(key)?;
        self.scalar(&join(&self.path, key), node, &read)
    }

    /// A text that is not shown, not even in a mistake.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.optional(key, read::secret)
    }

    /// A secret that stands here, or in the file that the other key names. What stands here wins.
    #[must_use]
    pub fn secret_or_file(&self, key: &str, file_key: &str, form: TextFile) -> Option<Secret> {
        let inline = self.secret(key);
        let file = self.optional(file_key, read::path);
        if inline.is_some() {
            if file.is_some() {
                let text = format!(
                    "{} has no effect: {} is given as well, and wins",
                    join(&self.path, file_key),
                    join(&self.path, key)
                );
                self.warning(file_key, text);
            }
            return inline;
        }
        let secret = self.secret_file(file_key, &file?)?;
        match form {
            TextFile::Line => Some(secret),
            TextFile::Trimmed => Some(Secret::new(secret.reveal().trim())),
        }
    }

    /// The secret in a file that a key names; what is wrong with it is a mistake of that key.
    #[must_use]
    pub fn secret_file(&self, key: &str, path: &Path) -> Option<Secret> {
        match read_secret_file(path, self.document.credentials.as_deref()) {
            Ok(secret) => Some(secret),
            Err(error) => {
                self.error(key, &error);
                None
            }
        }
    }

    /// The values of a list; a single value is a list of one.
    pub fn list<T>(
        &self,
        key: &str,
        default: Vec<T>,
        read: impl Fn(&Scalar) -> Result<T, Expected>,
    ) -> Vec<T> {
        let path = join(&self.path, key);
        let Some(node) = self.ask(key) else { return default };
        let items = match &node.value {
            Value::List(items) => items.clone(),
            Value::Scalar(scalar) if scalar.style == Style::Inserted => {
                overrides::items(&scalar.text, &node.place)
            }
            _ => vec![node.clone()],
        };
        let read_item = |(index, item): (usize, &Node)| {
            let path = if items.len() > 1 { format!("{path}.{index}") } else { path.clone() };
            self.scalar(&path, item, &read)
        };
        items.iter().enumerate().filter_map(read_item).collect()
    }

    /// All keys below a key, whatever they are called, with their values. Dots in them are their own.
    pub fn map<T>(&self, key: &str, read: impl Fn(&Scalar) -> Result<T, Expected>) -> BTreeMap<String, T> {
        let path = join(&self.path, key);
        let mut values = BTreeMap::new();
        let Some(node) = self.ask(key) else { return values };
        self.document.findings.borrow_mut().open.insert(path.clone());
        match &node.value {
            Value::Map(_) => self.flatten(&path, "", node, &read, &mut values),
            _ => self.expected_section(&path, node),
        }
        values
    }

    fn flatten<T>(
        &self,
        path: &str,
        name: &str,
        node: &Node,
        read: &impl Fn(&Scalar) -> Result<T, Expected>,
        values: &mut BTreeMap<String, T>,
    ) {
        if let Value::Map(map) = &node.value {
            for (key, node) in map {
                self.flatten(path, &join(name, key), node, read, values);
            }
        } else if let Some(value) = self.scalar(&join(path, name), node, read) {
            values.insert(name.to_owned(), value);
        }
    }

    /// Accepts a key, with whatever is below it, that means nothing here but is no mistake either.
    pub fn accepted(&self, key: &str) {
        self.document.findings.borrow_mut().open.insert(join(&self.path, key));
    }

    /// Accepts a key and tells that it does nothing, if it is there.
    pub fn ignored(&self, key: &str, reason: &str) {
        self.accepted(key);
        if self.has(key) {
            self.warning(key, format!("{} has no effect: {reason}", join(&self.path, key)));
        }
    }

    /// Tells a mistake; it is placed where this key stands.
    pub fn mistake(&self, key: &str, text: impl Into<String>) {
        self.fault(&join(&self.path, key), self.place(key), text.into());
    }

    /// Tells an error, with everything that caused it, as a mistake that is placed where this key stands.
    pub fn error(&self, key: &str, error: &dyn Error) {
        self.mistake(key, format!("{}: {}", join(&self.path, key), chain(error)));
    }

    /// Tells something that does not keep the daemon from starting; it is placed where this key stands.
    pub fn warning(&self, key: &str, text: impl Into<String>) {
        let warning = Warning { place: self.place(key), text: text.into() };
        self.document.findings.borrow_mut().warnings.push(warning);
    }

    /// Where a key stands; where its section does if it is not there.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        let above = self.node.map(|node| node.place.clone()).unwrap_or(Place::Nowhere);
        self.find(key).map_or(above, |node| node.place.clone())
    }

    /// What stands at a key, unless it is nothing.
    fn find(&self, key: &str) -> Option<&'a Node> {
        self.node?.descend(key).filter(|node| !node.is_nothing())
    }

    /// Like [`Self::find`]; the key is known from now on, and what is above it must be sections.
    fn ask(&self, key: &str) -> Option<&'a Node> {
        self.document.findings.borrow_mut().known.insert(join(&self.path, key));
        let mut node = self.node?;
        let mut path = self.path.clone();
        for (index, segment) in key.split('.').enumerate() {
            let leads_on = match &node.value {
                Value::Map(_) => true,
                Value::List(_) => tree::index(segment).is_some(),
                _ => node.is_nothing(),
            };
            if index > 0 && !leads_on {
                self.expected_section(&path, node);
                return None;
            }
            path = join(&path, segment);
            node = node.child(segment)?;
        }
        (!node.is_nothing()).then_some(node)
    }

    fn scalar<T>(
        &self,
        path: &str,
        node: &Node,
        read: &impl Fn(&Scalar) -> Result<T, Expected>,
    ) -> Option<T> {
        let scalar = match &node.value {
            _ if node.is_nothing() => return None,
            Value::Scalar(scalar) => scalar,
            Value::Null => return None,
            Value::Unresolved(reason) => {
                self.fault(path, node.place.clone(), format!("{path}: {reason}"));
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                let text = format!("{path} must be a single value, not {}", node.kind());
                self.fault(path, node.place.clone(), text);
                return None;
            }
        };
        match read(scalar) {
            Ok(value) => Some(value),
            Err(Expected(expected)) => {
                let text = format!("{path} must be {expected}, not {:?}", shortened(&scalar.text));
                self.fault(path, node.place.clone(), text);
                None
            }
        }
    }

    fn expected_section(&self, path: &str, node: &Node) {
        let text = match &node.value {
            Value::Unresolved(reason) => format!("{path}: {reason}"),
            _ => format!("{path} must be a section with keys of its own, not {}", node.kind()),
        };
        // What is below cannot be looked at, and need not be told again as unknown.
        self.document.findings.borrow_mut().open.insert(path.to_owned());
        self.fault(path, node.place.clone(), text);
    }

    fn fault(&self, path: &str, place: Place, text: String) {
        let mistake = Mistake { key: Some(path.to_owned()), place, text };
        self.document.findings.borrow_mut().mistakes.push(mistake);
    }
}
