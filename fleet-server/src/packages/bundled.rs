//! Our own packages, which are part of the program.

use std::sync::LazyLock;

use bytes::Bytes;
use fleet_integration::{Archive, Package};
use tracing::error;

use super::summary::Summary;

/// Archives as `build.rs` packed them.
static ARCHIVES: &[&[u8]] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// A package of the program.
#[derive(Debug)]
pub(super) struct Bundled {
    pub(super) summary: Summary,
    pub(super) archive: &'static [u8],
}

/// All of them. The first time they are read, which takes a moment.
pub(super) static BUNDLED: LazyLock<Vec<Bundled>> = LazyLock::new(|| {
    let read = |archive: &&'static [u8]| {
        let files = Archive::tar_gz(archive).map_err(|error| error.to_string());
        let package = files.and_then(|files| Package::read(&files).map_err(|error| error.to_string()));
        match package {
            Ok(package) => Some(Bundled { summary: Summary::of(&package), archive }),
            Err(error) => {
                error!(error, "a package of this program cannot be read");
                None
            }
        }
    };
    ARCHIVES.iter().filter_map(read).collect()
});

/// One of them.
pub(super) fn find(name: &str, version: &str) -> Option<Bytes> {
    let is_it = |bundled: &&Bundled| bundled.summary.name == name && bundled.summary.version == version;
    BUNDLED.iter().find(is_it).map(|bundled| Bytes::from_static(bundled.archive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_can_be_used() {
        assert_eq!(BUNDLED.len(), ARCHIVES.len());
        let names: Vec<&str> = BUNDLED.iter().map(|bundled| bundled.summary.name.as_str()).collect();
        for name in ["custom", "elastic_agent", "filestream", "fleet_server", "journald", "otlp", "system"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for bundled in BUNDLED.iter() {
            let package = Package::read(&Archive::tar_gz(bundled.archive).unwrap()).unwrap();
            let errors: Vec<_> = package.template_errors().collect();
            assert!(errors.is_empty(), "{}: {errors:?}", package.name);
        }
    }
}
