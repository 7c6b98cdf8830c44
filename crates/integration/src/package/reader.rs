//! Reading a manifest: values by name, with the place of each in what is said about it.
//!
//! Liberal where nothing depends on it: a number is as good as a text, one value as good as a list of it, and
//! what is of another kind than was expected counts as absent unless it must be there.

use serde_json::{Map, Value};

use super::{Image, PackageError};
use crate::archive::Archive;
use crate::yaml::{self, Node, Tree};

/// A file, as a map.
pub(super) struct Manifest {
    pub(super) file: String,
    pub(super) root: Node,
}

/// The files of a package, and how much of them may still be read.
pub(super) struct Files<'a> {
    pub(super) archive: &'a Archive,
    values: usize,
}

impl<'a> Files<'a> {
    /// All manifests of a package together have no more values than this: six times what the largest have.
    const MOST_VALUES: usize = 1_000_000;

    pub(super) fn new(archive: &'a Archive) -> Files<'a> {
        Files { archive, values: Self::MOST_VALUES }
    }

    /// Reads a file. `None` if there is no such file.
    pub(super) fn open(&mut self, file: &str) -> Result<Option<Manifest>, PackageError> {
        let Some(bytes) = self.archive.file(file) else { return Ok(None) };
        let wrong = |line, problem: String| PackageError::NotYaml { file: file.to_owned(), line, problem };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            wrong(line, "the file is not UTF-8 text".to_owned())
        })?;
        let root =
            yaml::parse_within(text, &mut self.values).map_err(|error| wrong(error.line, error.problem))?;
        Ok(Some(Manifest { file: file.to_owned(), root }))
    }
}

/// A map in a manifest, and what it is called.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) file: &'a str,
    pub(super) path: &'a Path<'a>,
    pub(super) node: &'a Node,
}

/// How to name a value: the way to it from the root.
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, &'a str, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        let under = |parent: &Path<'_>, name: &str| match parent {
            Path::Root => name.to_owned(),
            _ => format!("{}.{name}", parent.text()),
        };
        match self {
            Path::Root => String::new(),
            Path::Key(parent, key) => under(parent, key),
            Path::Item(parent, key, index) => under(parent, &format!("{key}[{index}]")),
        }
    }
}

impl<'a> Section<'a> {
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> PackageError {
        PackageError::Field {
            file: self.file.to_owned(),
            line: self.node.get(key).map_or(self.node.line, |node| node.line),
            field: Path::Key(self.path, key).text(),
            problem: problem.into(),
        }
    }

    /// A text that must be there.
    pub(super) fn need(&self, key: &str) -> Result<String, PackageError> {
        match self.text(key) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.wrong(key, "must be a text that is not empty")),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        text(self.node.get(key)?)
    }

    pub(super) fn text_or_empty(&self, key: &str) -> String {
        self.text(key).unwrap_or_default()
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match &self.node.get(key)?.tree {
            Tree::Scalar(Value::Bool(flag)) => Some(*flag),
            Tree::Scalar(Value::String(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Texts; one alone is a list of one.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        match self.node.get(key) {
            Some(Node { tree: Tree::List(items), .. }) => items.iter().filter_map(text).collect(),
            Some(node) => text(node).into_iter().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn json(&self, key: &str) -> Option<Value> {
        self.node.get(key).filter(|node| !node.is_null()).map(|node| node.clone().into_json())
    }

    pub(super) fn object(&self, key: &str) -> Map<String, Value> {
        match self.json(key) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    /// What a map below holds, read by a function; `None` if there is no map.
    pub(super) fn section<T>(
        &self,
        key: &str,
        read: impl FnOnce(Section<'_>) -> Result<T, PackageError>,
    ) -> Result<Option<T>, PackageError> {
        match self.node.get(key) {
            Some(node @ Node { tree: Tree::Map(_), .. }) => {
                read(Section { file: self.file, path: &Path::Key(self.path, key), node }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What a list of maps below holds, each read by a function.
    pub(super) fn sections<T>(
        &self,
        key: &str,
        mut read: impl FnMut(Section<'_>) -> Result<T, PackageError>,
    ) -> Result<Vec<T>, PackageError> {
        let items = match self.node.get(key) {
            Some(Node { tree: Tree::List(items), .. }) => items,
            Some(Node { tree: Tree::Map(entries), .. }) if entries.is_empty() => return Ok(Vec::new()),
            Some(node) if !node.is_null() => return Err(self.wrong(key, "must be a list")),
            _ => return Ok(Vec::new()),
        };
        let mut all = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate().filter(|(_, node)| !node.is_null()) {
            let path = Path::Item(self.path, key, index);
            let section = Section { file: self.file, path: &path, node };
            if !matches!(node.tree, Tree::Map(_)) {
                return Err(PackageError::Field {
                    file: self.file.to_owned(),
                    line: node.line,
                    field: path.text(),
                    problem: "must hold keys and values (key: value)".to_owned(),
                });
            }
            all.push(read(section)?);
        }
        Ok(all)
    }

    /// Pictures, with the addresses that the server gives them; none where they cannot be read.
    pub(super) fn images(&self, key: &str, package_path: &str) -> Vec<Image> {
        let images = self.sections(key, |image| {
            let src = image.text_or_empty("src");
            let separator = if src.starts_with('/') { "" } else { "/" };
            Ok(Image {
                path: format!("{package_path}{separator}{src}"),
                src,
                title: image.text("title"),
                size: image.text("size"),
                media_type: image.text("type"),
            })
        });
        images.unwrap_or_default()
    }
}

impl Manifest {
    pub(super) fn section(&self) -> Result<Section<'_>, PackageError> {
        match self.root.tree {
            Tree::Map(_) => Ok(Section { file: &self.file, path: &Path::Root, node: &self.root }),
            _ => Err(PackageError::NotYaml {
                file: self.file.clone(),
                line: self.root.line,
                problem: "the file must hold keys and values (key: value)".to_owned(),
            }),
        }
    }
}

/// A scalar as a text, in the way in which it is written.
pub(super) fn text(node: &Node) -> Option<String> {
    match &node.tree {
        Tree::Scalar(Value::String(text)) => Some(text.clone()),
        Tree::Scalar(Value::Bool(flag)) => Some(flag.to_string()),
        Tree::Number(_, text) => Some(text.clone()),
        _ => None,
    }
}
