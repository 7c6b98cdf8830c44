//! `store`: where documents are kept.

use std::fmt;
use std::path::{Path, PathBuf};

use fleet_service::config::document::{Section, read};

mod etcd;

pub use etcd::Etcd;

/// Where documents are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// A database in this process.
    Embedded {
        /// Its file.
        path: PathBuf,
    },
    /// An etcd cluster, which several servers can share.
    Etcd(Box<Etcd>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Embedded,
    Etcd,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Embedded => "embedded",
            Kind::Etcd => "etcd",
        })
    }
}

/// Reads it. A configuration that names Elasticsearch must say which store it wants instead.
pub(super) fn read(root: &Section<'_>, data_dir: &Path, names_elasticsearch: bool) -> Store {
    let store = root.section("store");
    let kinds = [("embedded", Kind::Embedded), ("etcd", Kind::Etcd)];
    let is_chosen = store.has("type");
    let kind = store.get("type", Kind::Embedded, read::one_of(&kinds));
    if names_elasticsearch && !is_chosen {
        root.mistake(
            "output.elasticsearch",
            "output.elasticsearch is given, but this server cannot keep its documents in Elasticsearch yet, and \
             does not start with an empty store of its own unasked: set store.type to embedded or etcd",
        );
    }
    let path = store.get("path", data_dir.join("store.db"), read::path);
    let etcd = etcd::read(&store.section("etcd"), kind == Kind::Etcd);
    for (key, of) in [("path", Kind::Embedded), ("etcd", Kind::Etcd)] {
        if store.has(key) && kind != of {
            store.warning(key, format!("store.{key} has no effect: store.type is {kind}, not {of}"));
        }
    }
    match kind {
        Kind::Embedded => Store::Embedded { path },
        Kind::Etcd => Store::Etcd(Box::new(etcd)),
    }
}
