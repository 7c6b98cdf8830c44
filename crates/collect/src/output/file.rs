//! `file`: events in files, one JSON document per line, rotated by size.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::rolling::{Target, Writer};
use super::{Context, Output};
use crate::batch::Batch;
use crate::config::{Config, Mistake};
use crate::outlet::Limits;

const LIMITS: Limits = Limits { events: 4096, bytes: 1 << 20, linger: Duration::from_millis(200) };

pub(super) struct FileOutput {
    target: Target,
}

impl FileOutput {
    pub(super) fn read(config: &Config) -> Result<FileOutput, Mistake> {
        config.allow(&["codec", "bulk_max_size", "rotate_on_startup", "worker", "preset"]);
        let directory = config.text("path")?;
        let missing = || config.mistake("path", "is missing: name a directory");
        let directory = config.or("/".to_owned(), directory.ok_or_else(missing))?;
        if !Path::new(&directory).is_absolute() {
            let problem =
                format!("{directory:?} is relative, to a directory that nobody chose: write it from / on");
            config.or((), Err(config.mistake("path", problem)))?;
        }
        let name = config.text("filename")?.unwrap_or_else(|| "fleet-agent".to_owned());
        if name.is_empty() || name.contains('/') {
            let problem = format!("{name:?} must be a name without /");
            config.or((), Err(config.mistake("filename", problem)))?;
        }
        let files = config.count("number_of_files", 7)?;
        if !(2..=1024).contains(&files) {
            config.or((), Err(config.mistake("number_of_files", "must be between 2 and 1024")))?;
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
            let written = writer.write(&lines(&batches));
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
    let mut writer = Writer::new(target);
    loop {
        let work = tokio::task::spawn_blocking(move || {
            let opened = writer.open();
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

/// The documents, one in each line.
fn lines(batches: &[Arc<Batch>]) -> Vec<u8> {
    let mut text = Vec::with_capacity(batches.iter().map(|batch| batch.size() + batch.len()).sum());
    for batch in batches {
        for index in 0..batch.len() {
            text.extend_from_slice(batch.document(index));
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_relative_path_is_refused() {
        let config = json!({"path": "var/log/events"});
        let mistake = FileOutput::read(&Config::new(config.as_object().unwrap())).err().unwrap();
        assert_eq!(mistake.field, "path");
        assert!(mistake.problem.contains("\"var/log/events\" is relative"), "{mistake}");
    }
}
