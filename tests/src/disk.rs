//! A machine's disk: its own layer over the base tree.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::base::BaseTree;
use crate::command::Run;
use crate::error::HarnessError;

/// An overlay: what the machine writes lands in `upper`, the base tree below stays as it is.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    base: BaseTree,
}

impl Disk {
    /// A disk that keeps its layer in `folder`; nothing is made yet.
    pub(crate) fn new(folder: PathBuf, base: BaseTree) -> Self {
        Self { folder, base }
    }

    /// Where the whole tree is seen.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// An empty layer over the base tree; what was there before is gone.
    pub(crate) async fn format(&self) -> Result<(), HarnessError> {
        let root = self.root();
        if root.join("usr").exists() {
            Run::new(["umount", &root.display().to_string()]).output().await?.success()?;
        }
        let [upper, work] = ["upper", "work"].map(|name| self.folder.join(name));
        for folder in [&upper, &work] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).map_err(HarnessError::file("remove", folder))?;
            }
        }
        for folder in [&upper, &work, &root] {
            std::fs::create_dir_all(folder).map_err(HarnessError::file("create", folder))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.base.path().display(),
            upper.display(),
            work.display()
        );
        let target = root.display().to_string();
        let mount = ["mount", "-t", "overlay", "-o", &options, "fleet-tests", &target];
        Run::new(mount).output().await?.success().map(drop)
    }

    /// Writes a file, while the machine is off.
    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), HarnessError> {
        let path = self.inside(path)?;
        std::fs::write(&path, text).map_err(HarnessError::file("write", &path))?;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).map_err(HarnessError::file("set the mode of", &path))
    }

    /// Makes a symbolic link, while the machine is off.
    pub(crate) fn link(&self, path: &str, target: &str) -> Result<(), HarnessError> {
        let path = self.inside(path)?;
        std::os::unix::fs::symlink(target, &path).map_err(HarnessError::file("link", &path))
    }

    fn inside(&self, path: &str) -> Result<PathBuf, HarnessError> {
        let path = self.root().join(path.trim_start_matches('/'));
        let parent = path.parent().unwrap_or_else(|| Path::new("/"));
        std::fs::create_dir_all(parent).map_err(HarnessError::file("create", parent))?;
        Ok(path)
    }
}
