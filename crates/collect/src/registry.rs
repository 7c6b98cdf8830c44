//! Positions: how far each source has been read *and* acknowledged, kept in one file.
//!
//! The file is a log of lines, `<crc32 in hex> <JSON>`, each the newest word on one key of one stream. Changes are
//! gathered for at most [`FLUSH_INTERVAL`] and appended with one write and one fsync for all streams together; when
//! the log has grown to a few times what is alive in it, it is written anew beside the old one and renamed over it.
//!
//! After a crash the last line may be torn: it is cut off, and its source is read again from the position before. A
//! bad line elsewhere means that the disk lied: the file is set aside whole, for people to look at, and its good lines
//! are used.

mod away;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// How old a position in the file may be. After a crash this much is read again at most.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Below this size the log is not written anew.
const COMPACT_ABOVE: u64 = 256 * 1024;

/// Positions cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file or its directory.
    #[error("cannot open the positions in {}: check that the directory can be written to", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Appending to it.
    #[error("cannot write the positions to {}: make room, or mend the disk; nothing is lost, but what has been sent since may be sent again after a restart", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// All positions of a collector.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    memory: Mutex<Memory>,
    /// Held while the file is written, so that a lookup in memory never waits for the disk.
    file: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Stream, key → the position's JSON.
    positions: BTreeMap<Arc<str>, BTreeMap<String, Box<str>>>,
    dirty: BTreeSet<(Arc<str>, String)>,
}

#[derive(Debug)]
struct Log {
    file: File,
    length: u64,
    live: u64,
}

/// The positions of one stream.
#[derive(Clone, Debug)]
pub struct Positions {
    registry: Arc<Registry>,
    stream: Arc<str>,
}

impl Registry {
    /// Opens the file, or makes it. The second part tells what was wrong with it, if something was.
    ///
    /// # Errors
    /// [`RegistryError::Open`].
    pub fn open(directory: &Path) -> Result<(Registry, Option<String>), RegistryError> {
        let path = directory.join("positions.log");
        let failed = |source| RegistryError::Open { path: path.clone(), source };
        crate::disk::make_private_directory(directory).map_err(failed)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (memory, good, damaged) = load(&text);
        let mut warning = None;
        if damaged {
            let aside = path.with_extension(format!("damaged-{}", crate::clock::unix_millis()));
            fs::copy(&path, &aside).map_err(failed)?;
            warning = Some(format!(
                "{} was damaged: its readable positions are used, the file is kept as {}; sources whose position was lost are read from their beginning",
                path.display(),
                aside.display(),
            ));
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).read(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        file.set_len(good).map_err(failed)?;
        let log = Log { file, length: good, live: good };
        let registry = Registry { path: path.clone(), memory: Mutex::new(memory), file: Mutex::new(log) };
        if damaged {
            registry.compact(&mut registry.log()).map_err(failed)?;
        }
        Ok((registry, warning))
    }

    /// The positions of a stream.
    #[must_use]
    pub fn positions(self: &Arc<Registry>, stream: &str) -> Positions {
        Positions { registry: Arc::clone(self), stream: stream.into() }
    }

    /// Writes what has changed, and waits for the disk. Blocks.
    ///
    /// # Errors
    /// [`RegistryError::Write`]; the changes stay in memory, and are written by the next call.
    pub fn flush(&self) -> Result<(), RegistryError> {
        let mut log = self.log();
        let dirty = std::mem::take(&mut self.memory().dirty);
        if dirty.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.append(&mut log, &dirty) {
            self.memory().dirty.extend(dirty);
            return Err(RegistryError::Write { path: self.path.clone(), source });
        }
        Ok(())
    }

    /// Whether something has changed since it was written.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.memory().dirty.is_empty()
    }

    fn append(&self, log: &mut Log, dirty: &BTreeSet<(Arc<str>, String)>) -> io::Result<()> {
        let mut text = Vec::new();
        {
            let memory = self.memory();
            for (stream, key) in dirty {
                let value = memory.positions.get(stream).and_then(|keys| keys.get(key));
                line(&mut text, stream, key, value.map_or("null", |value| value));
            }
        }
        if let Err(error) = log.file.write_all(&text).and_then(|()| log.file.sync_data()) {
            // Half a line, if any, must not stand before the next one.
            let _ = log.file.set_len(log.length);
            return Err(error);
        }
        log.length += text.len() as u64;
        if log.length > COMPACT_ABOVE && log.length > 4 * log.live {
            self.compact(log)?;
        }
        Ok(())
    }

    fn compact(&self, log: &mut Log) -> io::Result<()> {
        let mut text = Vec::new();
        for (stream, keys) in &self.memory().positions {
            for (key, value) in keys {
                line(&mut text, stream, key, value);
            }
        }
        let file = replace(&self.path, &text)?;
        *log = Log { file, length: text.len() as u64, live: text.len() as u64 };
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Positions {
    /// All keys with their positions.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Value> {
        let memory = self.registry.memory();
        let keys = memory.positions.get(&self.stream).into_iter().flatten();
        keys.filter_map(|(key, text)| Some((key.clone(), serde_json::from_str(text).ok()?))).collect()
    }

    /// The position at a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        let memory = self.registry.memory();
        serde_json::from_str(memory.positions.get(&self.stream)?.get(key)?).ok()
    }

    /// Sets a position; it is on disk within [`FLUSH_INTERVAL`].
    pub fn set(&self, key: &str, value: &Value) {
        let text = value.to_string().into_boxed_str();
        let mut memory = self.registry.memory();
        let keys = memory.positions.entry(Arc::clone(&self.stream)).or_default();
        if keys.get(key) != Some(&text) {
            keys.insert(key.to_owned(), text);
            memory.dirty.insert((Arc::clone(&self.stream), key.to_owned()));
        }
    }

    /// Writes what has changed now, of all streams. Blocks.
    ///
    /// # Errors
    /// [`RegistryError::Write`]; it is tried again with the others.
    pub fn flush(&self) -> Result<(), RegistryError> {
        self.registry.flush()
    }

    /// Forgets a position.
    pub fn remove(&self, key: &str) {
        let mut memory = self.registry.memory();
        if memory.positions.get_mut(&self.stream).and_then(|keys| keys.remove(key)).is_some() {
            memory.dirty.insert((Arc::clone(&self.stream), key.to_owned()));
        }
    }
}

fn line(text: &mut Vec<u8>, stream: &str, key: &str, value: &str) {
    let mut json = Vec::with_capacity(64 + stream.len() + key.len() + value.len());
    json.extend_from_slice(b"{\"stream\":");
    crate::event::write_json(&mut json, stream);
    json.extend_from_slice(b",\"key\":");
    crate::event::write_json(&mut json, key);
    json.extend_from_slice(b",\"value\":");
    json.extend_from_slice(value.as_bytes());
    json.push(b'}');
    text.extend_from_slice(format!("{:08x} ", crc32fast::hash(&json)).as_bytes());
    text.extend_from_slice(&json);
    text.push(b'\n');
}

/// What the file says, how many bytes of it are whole lines, and whether a line in it is bad.
fn load(text: &[u8]) -> (Memory, u64, bool) {
    let mut memory = Memory::default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut damaged = false;
    for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse(line) {
            Some((stream, key, Value::Null)) => {
                if let Some(keys) = memory.positions.get_mut(stream.as_str()) {
                    keys.remove(&key);
                }
            }
            Some((stream, key, value)) => {
                let keys = memory.positions.entry(stream.into()).or_default();
                keys.insert(key, value.to_string().into_boxed_str());
            }
            None => damaged = true,
        }
    }
    memory.positions.retain(|_, keys| !keys.is_empty());
    (memory, whole as u64, damaged)
}

fn parse(line: &[u8]) -> Option<(String, String, Value)> {
    let (checksum, json) = line.split_at_checked(9)?;
    let checksum = u32::from_str_radix(std::str::from_utf8(checksum).ok()?.trim_end(), 16).ok()?;
    if crc32fast::hash(json) != checksum {
        return None;
    }
    let mut record: serde_json::Map<String, Value> = serde_json::from_slice(json).ok()?;
    let stream = record.get("stream")?.as_str()?.to_owned();
    let key = record.get("key")?.as_str()?.to_owned();
    Some((stream, key, record.remove("value")?))
}

/// Writes a file beside the old one, and renames it over it once it is on the disk.
fn replace(path: &Path, content: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    OpenOptions::new().append(true).read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open(directory: &Path) -> (Arc<Registry>, Option<String>) {
        let (registry, warning) = Registry::open(directory).unwrap();
        (Arc::new(registry), warning)
    }

    #[test]
    fn positions_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, _) = open(directory.path());
        let positions = registry.positions("a");
        positions.set("x", &json!({"offset": 7}));
        positions.set("y", &json!(1));
        positions.remove("y");
        registry.flush().unwrap();
        let (registry, warning) = open(directory.path());
        assert_eq!(warning, None);
        assert_eq!(registry.positions("a").all(), BTreeMap::from([("x".to_owned(), json!({"offset": 7}))]));
        assert!(registry.positions("b").all().is_empty());
    }

    #[test]
    fn a_torn_tail_is_cut_off_wherever_it_tears() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, _) = open(directory.path());
        registry.positions("a").set("x", &json!(1));
        registry.flush().unwrap();
        let path = directory.path().join("positions.log");
        let first = fs::read(&path).unwrap().len();
        registry.positions("a").set("x", &json!(2));
        registry.flush().unwrap();
        let whole = fs::read(&path).unwrap();
        for end in first..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let (registry, warning) = open(directory.path());
            assert_eq!((registry.positions("a").get("x"), warning), (Some(json!(1)), None), "{end}");
            registry.positions("a").set("x", &json!(3));
            registry.flush().unwrap();
            assert_eq!(open(directory.path()).0.positions("a").get("x"), Some(json!(3)), "{end}");
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_its_good_lines_are_used() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, _) = open(directory.path());
        for key in ["x", "y"] {
            registry.positions("a").set(key, &json!(1));
            registry.flush().unwrap();
        }
        let path = directory.path().join("positions.log");
        let mut content = fs::read(&path).unwrap();
        content[20] ^= 1;
        fs::write(&path, content).unwrap();
        let (registry, warning) = open(directory.path());
        assert!(warning.unwrap().contains("positions.damaged-"));
        assert_eq!(registry.positions("a").all().keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!(open(directory.path()).1, None, "mended");
    }

    #[test]
    fn the_log_does_not_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let (registry, _) = open(directory.path());
        let text = "x".repeat(10_000);
        for round in 0..200 {
            registry.positions("a").set("x", &json!([round, text]));
            registry.flush().unwrap();
        }
        let size = fs::metadata(directory.path().join("positions.log")).unwrap().len();
        assert!(size < COMPACT_ABOVE + 20_000, "{size}");
        assert_eq!(open(directory.path()).0.positions("a").get("x").unwrap()[0], 199);
    }
}
