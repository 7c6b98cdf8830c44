//! Integrations as people set them up: where they lie, and what lists need of them.

use std::sync::Arc;

use fleet_integration::PackagePolicy;
use fleet_policy::settings::Table;
use fleet_store::{Collection, Store, Typed};
use serde::{Deserialize, Serialize};

/// [`PackagePolicy`] by its id.
pub static PACKAGE_POLICIES: Collection = Collection { name: "package-policies", indexed: &[] };

/// The package of an integration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PackageRow {
    /// Its name.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// For people.
    #[serde(default)]
    pub title: Option<Box<str>>,
}

/// What lists filter and sort on: a small part of the document, so that all of them fit into memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Its id.
    pub id: Box<str>,
    /// For people.
    pub name: Box<str>,
    /// Where its data goes.
    pub namespace: Option<Box<str>>,
    /// The agent policies that have it.
    pub policy_ids: Box<[Box<str>]>,
    /// The output that it names.
    pub output_id: Option<Box<str>>,
    /// Its package.
    pub package: Option<PackageRow>,
    /// Whether any of it runs.
    pub enabled: bool,
    /// RFC 3339.
    pub created_at: Option<Box<str>>,
    /// By whom it was last changed.
    pub updated_by: Option<Box<str>>,
    /// RFC 3339.
    pub updated_at: Option<Box<str>>,
    /// Grows with each edit.
    pub revision: u64,
}

/// The integrations.
#[derive(Debug)]
pub struct Integrations {
    /// What lists need of them.
    pub rows: Table<Row>,
    /// The whole documents.
    pub documents: Typed<PackagePolicy>,
}

impl Integrations {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Integrations {
        Integrations {
            rows: Table::new(store, &PACKAGE_POLICIES),
            documents: Typed::new(Arc::clone(store), &PACKAGE_POLICIES),
        }
    }
}
