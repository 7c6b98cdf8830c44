//! Dead letters that the engine refuses too: kept in files of this machine, the newest 8 to 16 MiB of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::link;
use crate::output::rolling::{Target, Writer};

/// When the newer one is full, the older one goes.
const FILES: usize = 2;
const FILE_BYTES: u64 = 8 << 20;

/// The files of one output, shared by its workers.
#[derive(Clone, Debug)]
pub(super) struct Keep {
    writer: Arc<Mutex<Writer>>,
    path: PathBuf,
}

impl Keep {
    pub(super) fn new(data: &Path, output: &str) -> Keep {
        let target = Target {
            directory: data.join("dead-letters"),
            name: link::file_name(output),
            rotate_bytes: FILE_BYTES,
            files: FILES,
            mode: 0o600,
        };
        let path = target.path(0);
        Keep { writer: Arc::new(Mutex::new(Writer::new(target))), path }
    }

    /// The newest file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes lines, and waits for the disk.
    ///
    /// # Errors
    /// The disk is full, or in trouble.
    pub(super) async fn write(&self, lines: Vec<u8>) -> io::Result<()> {
        let writer = Arc::clone(&self.writer);
        let write = move || writer.lock().unwrap_or_else(PoisonError::into_inner).write(&lines);
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}
