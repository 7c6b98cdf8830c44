//! Folders of files for `apply`, and what is remembered in them: the objects that an apply has created.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::input::read_text;
use crate::context::Failure;
use crate::error::io_words;
use crate::plan::{Desired, Key, read_documents_of};
use crate::yaml::{read_one, to_text};

/// The file of a folder that says what an apply has created there.
pub(crate) const LOCK: &str = "fleet.lock.yaml";
/// The most files of a folder.
const MOST_FILES: usize = 50_000;
/// The deepest folder in a folder.
const DEEPEST: usize = 16;
/// The most mistakes that are told at once.
const MOST_MISTAKES: usize = 20;

/// The objects that files and folders describe.
pub(crate) fn read(paths: &[PathBuf]) -> Result<BTreeMap<Key, Desired>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, 0, &mut files).map_err(|error| unreadable(path, &error))?;
        } else {
            files.push(path.clone());
        }
    }
    let (mut found, mut mistakes) = (BTreeMap::new(), Vec::new());
    for file in &files {
        read_documents_of(&file.display().to_string(), &read_text(file)?, &mut found, &mut mistakes);
    }
    if mistakes.is_empty() {
        return Ok(found);
    }
    let mut lines: Vec<String> = mistakes.iter().take(MOST_MISTAKES).map(ToString::to_string).collect();
    if mistakes.len() > MOST_MISTAKES {
        lines.push(format!("and {} more", mistakes.len() - MOST_MISTAKES));
    }
    Err(Failure::new(lines.join("\n")))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("Cannot read {}: {}", path.display(), io_words(error)))
}

/// The files of a folder and of those in it, in the order of their names. Hidden ones are left out, and so are
/// folders that are links: they may lead back.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!("folders are nested deeper than {DEEPEST} levels")));
    }
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name.starts_with('.') || name == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending)) && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(io::Error::other(format!("there are more than {MOST_FILES} files")));
        }
    }
    Ok(())
}

/// What applies of a folder have created, by server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    servers: BTreeMap<String, BTreeSet<Key>>,
}

impl Lock {
    /// Reads the lock of a folder. One that is not there is empty.
    pub(crate) fn read(folder: &Path) -> Result<Lock, Failure> {
        let path = folder.join(LOCK);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Lock::parse(&text).map_err(|why| {
            Failure::new(format!(
                "{}: {why}: restore it, or remove it to forget what was created",
                path.display()
            ))
        })
    }

    fn parse(text: &str) -> Result<Lock, String> {
        let value = read_one(text).map_err(|error| error.to_string())?;
        let mut lock = Lock::default();
        let Value::Object(servers) = value else {
            return if value.is_null() { Ok(lock) } else { Err("servers are needed".to_owned()) };
        };
        for (server, keys) in servers {
            let keys = keys.as_array().ok_or_else(|| format!("{server}: a list is needed"))?;
            let parse = |key: &Value| {
                key.as_str().and_then(Key::parse).ok_or_else(|| format!("{server}: {key} is no object"))
            };
            lock.servers.insert(server.clone(), keys.iter().map(parse).collect::<Result<_, _>>()?);
        }
        Ok(lock)
    }

    fn text(&self) -> String {
        let list = |keys: &BTreeSet<Key>| {
            Value::Array(keys.iter().map(|key| Value::String(key.to_string())).collect())
        };
        let servers: Map<String, Value> = self
            .servers
            .iter()
            .filter(|(_, keys)| !keys.is_empty())
            .map(|(server, keys)| (server.clone(), list(keys)))
            .collect();
        format!(
            "# Written by `fleetctl apply`: what it has created, by server. `apply --prune` deletes of these what no \
             file\n# names any more. Keep it with the files.\n{}",
            to_text(&Value::Object(servers))
        )
    }

    /// What was created on a server.
    pub(crate) fn created(&self, server: &str) -> BTreeSet<Key> {
        self.servers.get(server).cloned().unwrap_or_default()
    }

    /// Remembers an object.
    pub(crate) fn add(&mut self, server: &str, key: &Key) {
        self.servers.entry(server.to_owned()).or_default().insert(key.clone());
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, server: &str, key: &Key) {
        if let Some(keys) = self.servers.get_mut(server) {
            keys.remove(key);
        }
    }

    /// Writes the lock of a folder: at any moment it is either as before or as it shall be.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(LOCK);
        replace(&path, &self.text())
            .map_err(|error| Failure::new(format!("Cannot write {}: {}", path.display(), io_words(&error))))
    }
}

/// Replaces a file as a whole.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let next = path.with_file_name(name);
    std::fs::write(&next, text)?;
    std::fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use crate::plan::ObjectKind;

    use super::*;

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), Lock::default());
        let mut lock = Lock::default();
        for (server, id) in [("https://b:5601", "x/y"), ("https://a:5601", "w"), ("https://a:5601", "v")] {
            lock.add(server, &Key { kind: ObjectKind::Output, id: id.to_owned() });
        }
        lock.write(folder.path()).unwrap();
        assert_eq!(Lock::read(folder.path()).unwrap(), lock);
        insta::assert_snapshot!(std::fs::read_to_string(folder.path().join(LOCK)).unwrap(), @r"
        # Written by `fleetctl apply`: what it has created, by server. `apply --prune` deletes of these what no file
        # names any more. Keep it with the files.
        https://a:5601:
          - Output/v
          - Output/w
        https://b:5601:
          - Output/x/y
        ");
        for text in ["- a", "https://a: x", "https://a: [Outputs/x]", "https://a: [Output/]", "["] {
            std::fs::write(folder.path().join(LOCK), text).unwrap();
            assert!(Lock::read(folder.path()).unwrap_err().message.contains(LOCK), "{text}");
        }
    }

    #[test]
    fn a_folder_is_read_with_those_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
        let output = |id: &str| format!("kind: Output\nid: {id}\nspec: {{}}\n");
        write("a/b/one.yaml", &output("one"));
        write("two.json", "{\"kind\": \"Output\", \"id\": \"two\", \"spec\": {}}");
        for left_out in [".git/x.yaml", ".hidden.yaml", "README.md", LOCK] {
            write(left_out, "not: [an object");
        }
        let found = read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(found.keys().map(ToString::to_string).collect::<Vec<_>>(), ["Output/one", "Output/two"]);
        write("bad.yml", &output("two"));
        let failure = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(failure.message.contains("two.json:1: Output/two is described in"), "{}", failure.message);
        assert!(read(&[folder.path().join("none.yaml")]).is_err());
    }
}
