//! The services that were installed, kept over the agent's end: one that leaves the policy while there is no agent
//! must be uninstalled all the same.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::is_ours;
use crate::supervisor::file_name;
use crate::supervisor::plan::{Component, Program, Run};
use crate::supervisor::shared::Named;
use crate::supervisor::spec::{OperationSpec, Operations, ServiceSpec};

/// The folder of it, below that of components.
const FOLDER: &str = "services";
/// Behind the name of a record.
const SUFFIX: &str = ".json";
/// Whatever the mask of this process takes off.
const MODE: u32 = 0o600;
/// More than this is no record, in bytes.
const LARGEST: u64 = 1 << 20;

/// What is needed to uninstall a service.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    id: String,
    kind: String,
    name: String,
    binary: PathBuf,
    cport: u16,
    csocket: String,
    uninstall: OperationSpec,
}

fn path(home: &Path, component: &str) -> PathBuf {
    home.join(FOLDER).join(file_name::of_component(component) + SUFFIX)
}

/// Keeps what is needed to uninstall it.
pub(super) fn remember(home: &Path, named: &Named, program: &Program, spec: &ServiceSpec) -> io::Result<()> {
    let Some(uninstall) = spec.operations.uninstall.clone() else { return Ok(()) };
    let Named { id, kind } = named.clone();
    let (name, binary) = (program.name.clone(), program.binary.clone());
    let record =
        Record { id, kind, name, binary, cport: spec.cport, csocket: spec.csocket.clone(), uninstall };
    let path = path(home, &named.id);
    fs::create_dir_all(home.join(FOLDER))?;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(&serde_json::to_vec(&record)?)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

/// It is uninstalled.
pub(super) fn forget(home: &Path, component: &str) {
    let path = path(home, component);
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(component, %error, "a service that was uninstalled is remembered still");
    }
}

/// The services that agents before this one have installed, as components without units.
pub(in crate::supervisor) fn left_behind(home: &Path) -> Vec<Component> {
    let files = match fs::read_dir(home.join(FOLDER)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(%error, "it is not known which services were installed");
            return Vec::new();
        }
    };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let records = paths.filter(|path| path.to_str().is_some_and(|path| path.ends_with(SUFFIX)));
    let components = records.filter_map(|path| match read(&path) {
        Ok(record) => Some(record.component()),
        Err(error) => {
            warn!(path = %path.display(), %error, "a service that was installed is not known any more");
            None
        }
    });
    components.collect()
}

fn read(path: &Path) -> io::Result<Record> {
    // A pipe that somebody has put there would hold up who opens it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    // What is in it is run: root runs nothing that another user has written.
    if !is_ours(&metadata) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is of another user, or others can write it",
        ));
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

impl Record {
    fn component(self) -> Component {
        let operations = Operations { uninstall: Some(self.uninstall), ..Operations::default() };
        let (cport, csocket) = (self.cport, self.csocket);
        let program = Program {
            name: self.name,
            binary: self.binary,
            run: Run::Service(ServiceSpec { cport, csocket, operations, ..ServiceSpec::default() }),
            proxied_actions: Vec::new(),
        };
        Component { id: self.id, kind: self.kind, ..Component::bare(Arc::new(program)) }
    }
}

#[cfg(test)]
mod tests;
