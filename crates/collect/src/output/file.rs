//! `file`: events in files, one JSON document per line, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Context, Output};
use crate::batch::Batch;
use crate::config::{Config, Mistake};
use crate::outlet::Limits;

const LIMITS: Limits = Limits { events: 4096, bytes: 1 << 20, linger: Duration::from_millis(200) };

pub(super) struct FileOutput {
    target: Target,
}

#[derive(Clone)]
struct Target {
    directory: PathBuf,
    name: String,
    rotate_bytes: u64,
    files: usize,
    mode: u32,
}

/// The file that is being written.
struct Writer {
    target: Target,
    file: Option<(File, u64)>,
}

impl FileOutput {
    pub(super) fn read(config: &Config) -> Result<FileOutput, Mistake> {
        config.allow(&["codec", "bulk_max_size", "rotate_on_startup", "worker", "preset"]);
        let directory =
            config.text("path")?.ok_or_else(|| config.mistake("path", "is missing: name a directory"))?;
        if !Path::new(&directory).is_absolute() {
            return Err(config.mistake(
                "path",
                format!("{directory:?} is relative, to a directory that nobody chose: write it from / on"),
            ));
        }
        let name = config.text("filename")?.unwrap_or_else(|| "fleet-agent".to_owned());
        if name.is_empty() || name.contains('/') {
            return Err(config.mistake("filename", format!("{name:?} must be a name without /")));
        }
        let files = config.count("number_of_files", 7)?;
        if !(2..=1024).contains(&files) {
            return Err(config.mistake("number_of_files", "must be between 2 and 1024"));
        }
        let mode = match config.value("permissions") {
            None => 0o600,
            Some(value) => crate::config::scalar(value)
                .and_then(|text| u32::from_str_radix(text.trim_start_matches("0o"), 8).ok())
                .filter(|mode| *mode <= 0o777)
                .ok_or_else(|| config.mistake("permissions", "must be an octal mode such as 0600"))?,
        };
        let rotate_bytes = config.number("rotate_every_kb", 10_240)?.max(1).saturating_mul(1024);
        let target = Target { directory: directory.into(), name, rotate_bytes, files, mode };
        Ok(FileOutput { target })
    }
}

impl Output for FileOutput {
    fn start(self: Box<Self>, context: Context) {
        let tasks = context.tasks.clone();
        tasks.spawn(run(self.target, context));
    }
}

async fn run(target: Target, context: Context) {
    let place = target.directory.join(&target.name).display().to_string();
    let Some(mut writer) = open(target, &place, &context).await else { return };
    context.healthy("writing");
    let mut well = true;
    loop {
        let batches = tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            batches = context.outlet.take(&LIMITS) => batches,
        };
        let work = tokio::task::spawn_blocking(move || {
            let written = writer.write(&batches);
            (writer, batches, written)
        });
        let Ok((back, batches, written)) = work.await else { return };
        writer = back;
        match written {
            Ok(()) => {
                for batch in batches {
                    context.counters.events_acknowledged.add(batch.len() as u64);
                    batch.settle();
                }
                if !std::mem::replace(&mut well, true) {
                    context.healthy("writing");
                }
            }
            Err(error) => {
                well = false;
                context.degraded(format!("cannot write {place}: {error}; events wait"));
                context.outlet.put_back(batches);
                let pause = tokio::time::sleep(Duration::from_secs(1));
                tokio::select! { () = context.stop.cancelled() => return, () = pause => {} }
            }
        }
    }
}

/// Opens the file, before there is anything to write: that it cannot be is known at once. None: it is to stop.
async fn open(target: Target, place: &str, context: &Context) -> Option<Writer> {
    let mut writer = Writer { target, file: None };
    loop {
        let work = tokio::task::spawn_blocking(move || {
            let opened = writer.open().map(|_| ());
            (writer, opened)
        });
        let opened;
        (writer, opened) = work.await.ok()?;
        let Err(error) = opened else { return Some(writer) };
        context.degraded(format!("cannot open {place}: {error}; events wait"));
        let pause = tokio::time::sleep(Duration::from_secs(1));
        tokio::select! { () = context.stop.cancelled() => return None, () = pause => {} }
    }
}

impl Writer {
    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        match &mut self.file {
            Some(open) => Ok(open),
            none => Ok(none.insert(self.target.open()?)),
        }
    }

    /// Writes the batches and waits for the disk. After an error the file is cut back to what was there before.
    fn write(&mut self, batches: &[Arc<Batch>]) -> io::Result<()> {
        let mut text = Vec::with_capacity(batches.iter().map(|batch| batch.size() + batch.len()).sum());
        for batch in batches {
            for index in 0..batch.len() {
                text.extend_from_slice(batch.document(index));
                text.push(b'\n');
            }
        }
        if self.file.as_ref().is_some_and(|(_, size)| *size >= self.target.rotate_bytes) {
            self.file = None;
            self.target.rotate()?;
        }
        let (file, size) = self.open()?;
        if let Err(error) = file.write_all(&text).and_then(|()| file.sync_data()) {
            let _ = file.set_len(*size);
            self.file = None;
            return Err(error);
        }
        *size += text.len() as u64;
        Ok(())
    }
}

impl Target {
    fn path(&self, number: usize) -> PathBuf {
        match number {
            0 => self.directory.join(format!("{}.ndjson", self.name)),
            _ => self.directory.join(format!("{}-{number}.ndjson", self.name)),
        }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        fs::create_dir_all(&self.directory)?;
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).read(true).mode(self.mode).open(self.path(0))?;
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        // A crash left half a line: it stays alone on its own, and is written whole again.
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..self.files - 1).rev() {
            rename_if_there(&self.path(number), &self.path(number + 1))?;
        }
        Ok(())
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::batch::DocumentId;
    use crate::stream::{DataStream, Stream};
    use serde_json::json;

    fn batch(text: &str) -> Arc<Batch> {
        let parts = DataStream { kind: "logs".into(), dataset: "a".into(), namespace: "b".into() };
        let mut batch = Batch::new(Arc::new(Stream::of_queue("i".into(), "s".into(), parts, None)));
        batch.push(DocumentId::Any, None, |out| {
            out.extend_from_slice(text.as_bytes());
            true
        });
        Arc::new(batch)
    }

    fn writer(directory: &Path) -> Writer {
        let config = json!({"path": directory, "filename": "out", "rotate_every_kb": 1, "number_of_files": 3, "permissions": "0640"});
        let output = FileOutput::read(&Config::new(config.as_object().unwrap())).unwrap();
        Writer { target: output.target, file: None }
    }

    #[test]
    fn a_relative_path_is_refused() {
        let config = json!({"path": "var/log/events"});
        let mistake = FileOutput::read(&Config::new(config.as_object().unwrap())).err().unwrap();
        assert_eq!(mistake.field, "path");
        assert!(mistake.problem.contains("\"var/log/events\" is relative"), "{mistake}");
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        for number in 0..5 {
            writer.write(&[batch(&format!("{number}{}", "x".repeat(1100)))]).unwrap();
        }
        let first =
            |name: &str| fs::read_to_string(directory.path().join(name)).unwrap().chars().next().unwrap();
        let names = ["out.ndjson", "out-1.ndjson", "out-2.ndjson"];
        assert_eq!(names.map(first), ['4', '3', '2']);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        let mode = fs::metadata(directory.path().join("out.ndjson")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o022, 0o640 & !0o022);
    }

    #[test]
    fn half_a_line_of_an_earlier_run_stays_on_its_own() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("out.ndjson"), "whole\nhal").unwrap();
        writer(directory.path()).write(&[batch("next")]).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("out.ndjson")).unwrap(), "whole\nhal\nnext\n");
    }
}
