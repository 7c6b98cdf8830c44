//! `changelog.yml`.

use schemars::JsonSchema;
use serde::Serialize;

use super::reader::Files;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// What has changed.
    pub description: String,
    /// As `enhancement`, `bugfix` or `breaking-change`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What a version brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChangelogEntry {
    /// A version of the package.
    pub version: String,
    /// In the order of the file.
    pub changes: Vec<Change>,
}

/// Reads the changelog. It is a text for people: one that cannot be read is none.
pub(super) fn read(files: &mut Files<'_>) -> Vec<ChangelogEntry> {
    let Ok(Some(mut manifest)) = files.open("changelog.yml") else { return Vec::new() };
    // The file is a list.
    let line = manifest.root.line;
    let list = std::mem::replace(&mut manifest.root.tree, crate::yaml::Tree::Map(Vec::new()));
    let root = crate::yaml::Node { line, tree: list };
    manifest.root.tree = crate::yaml::Tree::Map(vec![("versions".to_owned(), root)]);
    let Ok(section) = manifest.section() else { return Vec::new() };
    let entries = section.sections("versions", |entry| {
        let changes = entry.sections("changes", |change| {
            Ok(Change {
                description: change.text_or_empty("description"),
                kind: change.text_or_empty("type"),
                link: change.text("link"),
            })
        })?;
        Ok(ChangelogEntry { version: entry.text_or_empty("version"), changes })
    });
    entries.unwrap_or_default()
}
