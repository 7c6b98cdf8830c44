//! What is common to all that ship.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::sink::Sink;
use crate::error::BenchError;
use crate::process::Process;
use crate::wait::{Look, until};

/// The longest time for a file to arrive.
const ARRIVES: Duration = Duration::from_mins(3);

/// Somebody who ships the files `*.log` of a folder.
pub(super) struct Shipper {
    pub(super) name: String,
    /// What must be known to compare it.
    pub(super) note: String,
    /// The folder that it watches.
    pub(super) folder: PathBuf,
    pub(super) sink: Sink,
    pub(super) process: Process,
    // Ends with this.
    child: Child,
}

impl Shipper {
    /// Starts a program that ships what lies in `folder` to `sink`.
    pub(super) fn start(
        name: impl Into<String>,
        note: impl Into<String>,
        (folder, sink): (&Path, &Sink),
        command: &mut Command,
    ) -> Result<Shipper, BenchError> {
        let (child, process) = spawn(command, &folder.with_extension("out"))?;
        let (name, note) = (name.into(), note.into());
        Ok(Shipper { name, note, folder: folder.to_owned(), sink: sink.clone(), process, child })
    }

    /// Ships a file from the beginning. Returns the processor time that it took, and the time.
    pub(super) async fn ship(&mut self, name: &str, lines: usize) -> Result<(f64, Duration), BenchError> {
        let (before, processor) = (self.sink.lines(), self.process.processor_time()?);
        super::lines::write(&self.folder, name, lines)?;
        let began = std::time::Instant::now();
        let what = format!("{}: a file of {lines} lines arrives", self.name);
        until(&what, ARRIVES, Duration::from_millis(5), async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.folder.with_extension("out")).unwrap_or_default();
                return Err(BenchError::Wrong(format!("{} ended with {status}: {log}", self.name)));
            }
            let arrived = self.sink.lines() - before;
            Ok(if arrived >= lines as u64 { Look::Found(()) } else { Look::NotYet(arrived.to_string()) })
        })
        .await?;
        let took = began.elapsed();
        // Positions are written a moment later: that is work for the file, too.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let used = self.process.processor_time()? - processor;
        let arrived = self.sink.lines() - before;
        if arrived != lines as u64 {
            return Err(BenchError::Wrong(format!("{}: {arrived} of {lines} lines arrived", self.name)));
        }
        Ok((used, took))
    }
}

/// Starts a process that ends with what is given back.
pub(super) fn spawn(command: &mut Command, log: &Path) -> Result<(Child, Process), BenchError> {
    let file = std::fs::File::create(log).map_err(BenchError::file("create", log))?;
    let errors = file.try_clone().map_err(BenchError::file("open", log))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
    let child = command.spawn().map_err(BenchError::file("run", command.as_std().get_program()))?;
    let id = child.id().ok_or_else(|| BenchError::Wrong("a process is gone at once".to_owned()))?;
    Ok((child, Process::new(id)))
}

/// Makes a folder.
pub(super) fn make(folder: &Path) -> Result<(), BenchError> {
    std::fs::create_dir_all(folder).map_err(BenchError::file("make", folder))
}
