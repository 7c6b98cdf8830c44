//! The file that a service writes: it is followed as the output of a command is read.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, simplex};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, sleep};
use tracing::debug;

use crate::supervisor::logs::{LogReader, LogSource};

/// How often it is looked for something new.
const LOOK: Duration = Duration::from_millis(500);
/// What is read at a time, in bytes.
const BUFFER: usize = 16 * 1024;

/// Follows the newest file that `pattern` means, until this is dropped. What is there at this moment is not read again.
pub(super) fn follow(pattern: String, reader: LogReader) -> impl Future<Output = ()> + Send {
    let known = newest(Path::new(&pattern)).map(|(_, found)| found);
    async move {
        let (lines, mut bytes) = simplex(BUFFER);
        let copying = async {
            if let Err(error) = copy(PathBuf::from(&pattern), known, &mut bytes).await {
                debug!(pattern, %error, "the log of a service is not read any more");
            }
        };
        tokio::join!(reader.run(lines, LogSource::File), copying);
    }
}

/// A file as it was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Of the file system: a file that has another one is another file.
    number: (u64, u64),
    length: u64,
    written: SystemTime,
}

/// A file that is open.
#[derive(Debug)]
struct Opened {
    file: File,
    number: (u64, u64),
    read: u64,
}

/// `known`: what was there at the start.
async fn copy(
    pattern: PathBuf,
    mut known: Option<Found>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut opened: Option<Opened> = None;
    let mut buffer = vec![0; BUFFER];
    loop {
        let of_pattern = pattern.clone();
        let found = spawn_blocking(move || newest(&of_pattern)).await?;
        if let Some((path, found)) = found
            // Shorter than what was read: it was emptied.
            && !opened.as_ref().is_some_and(|it| it.number == found.number && it.read <= found.length)
            // It is gone already, or may not be read; it is tried again.
            && let Ok(new) = open(&path, found, known.take()).await
            // The rest of the one before, which was written until it was put aside.
            && let Some(mut before) = opened.replace(new)
        {
            drain(&mut before, &mut buffer, to).await?;
        }
        if let Some(opened) = &mut opened {
            drain(opened, &mut buffer, to).await?;
        }
        sleep(LOOK).await;
    }
}

async fn open(path: &Path, found: Found, known: Option<Found>) -> io::Result<Opened> {
    let mut file = File::open(path).await?;
    let known = known.filter(|known| known.number == found.number && known.length <= found.length);
    let read = file.seek(io::SeekFrom::Start(known.map_or(0, |known| known.length))).await?;
    Ok(Opened { file, number: found.number, read })
}

async fn drain(opened: &mut Opened, buffer: &mut [u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    loop {
        // What cannot be read is as if it had ended there.
        let count = opened.file.read(buffer).await.unwrap_or_default();
        if count == 0 {
            return Ok(());
        }
        opened.read += count as u64;
        to.write_all(&buffer[..count]).await?;
    }
}

/// The file of the pattern that was written last.
fn newest(pattern: &Path) -> Option<(PathBuf, Found)> {
    let name = pattern.file_name()?.to_str()?;
    if !name.contains('*') {
        return Some((pattern.to_owned(), look(pattern)?));
    }
    let entries = std::fs::read_dir(pattern.parent()?).ok()?.flatten();
    let files = entries.filter(|entry| entry.file_name().to_str().is_some_and(|file| matches(name, file)));
    let found = files.filter_map(|entry| Some((entry.path(), look(&entry.path())?)));
    found.max_by_key(|(_, found)| found.written)
}

fn look(path: &Path) -> Option<Found> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let number = (metadata.dev(), metadata.ino());
    Some(Found { number, length: metadata.len(), written: metadata.modified().ok()? })
}

/// Whether a name is one that a pattern means, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
