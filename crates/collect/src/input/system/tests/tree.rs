//! Recorded trees of `/proc`, `/sys` and the like, each in one file: links to `/` in a source tree lead tools astray.
//!
//! `=== path` begins a file, `=== path -> target` is a link. A byte of zero is written `␀`; a file that has one ends
//! without a new line.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The two moments, unpacked.
pub(super) struct Trees {
    directory: TempDir,
}

impl Trees {
    pub(super) fn unpack() -> Trees {
        let directory = tempfile::tempdir().unwrap();
        let trees = Trees { directory };
        unpack(include_str!("trees/before.txt"), &trees.path("before"));
        unpack(include_str!("trees/after.txt"), &trees.path("after"));
        trees
    }

    pub(super) fn path(&self, moment: &str) -> PathBuf {
        self.directory.path().join("tree").join(moment)
    }
}

fn unpack(text: &str, root: &Path) {
    for section in text.split("=== ").skip(1) {
        let (title, content) = section.split_once('\n').unwrap();
        let (name, target) =
            title.split_once(" -> ").map_or((title, None), |(name, target)| (name, Some(target)));
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match target {
            Some(target) => symlink(target, path),
            None if content.contains('␀') => fs::write(path, content.trim_end().replace('␀', "\0")),
            None => fs::write(path, content),
        }
        .unwrap();
    }
}
