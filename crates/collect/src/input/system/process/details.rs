//! What is read of those processes that are reported.
//!
//! A process may end while it is read, and most of it can be read by root and its owner alone: what cannot be read is
//! left out.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::super::document::Document;
use super::cgroup;
use crate::procfs::root::Root;
use crate::procfs::text;
use crate::procfs::users::Users;

/// A command line is told up to this many bytes.
const LONGEST_COMMAND: usize = 16 << 10;

/// A variable of the environment is told up to this many bytes.
const LONGEST_VARIABLE: usize = 4 << 10;

/// A process and its name; a process that runs another program has another name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) started: u64,
    pub(super) name: String,
}

/// A command line, read once as long as its process is reported.
#[derive(Debug)]
pub(super) struct Command {
    args: Vec<String>,
    line: String,
    executable: Option<String>,
}

/// What a stream asks for.
#[derive(Debug, Default)]
pub(in super::super) struct Extent {
    /// Whether a command line is read once only.
    pub(in super::super) caches_commands: bool,
    /// Which variables of the environment are told.
    pub(in super::super) environment: Vec<Regex>,
    /// Whether control groups are.
    pub(in super::super) control_groups: bool,
}

/// Reads the details of processes.
#[derive(Debug)]
pub(super) struct Reader {
    extent: Extent,
    users: Users,
    commands: HashMap<Identity, Arc<Command>>,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(extent: Extent) -> Reader {
        Reader { extent, users: Users::default(), commands: HashMap::new(), buffer: Vec::new() }
    }

    /// Before the processes of a measurement are read: forgets those that are not among them, and looks whether users
    /// have changed.
    pub(super) fn prepare(&mut self, root: &Root, reported: &HashSet<&Identity>) {
        self.users.refresh(root);
        self.commands.retain(|identity, _| reported.contains(identity));
    }

    /// Adds everything to a document that one can learn of a process beside `/proc/<pid>/stat`.
    pub(super) fn describe(&mut self, root: &Root, identity: &Identity, document: &mut Document) {
        let process = format!("proc/{}", identity.pid);
        let command = self.command(root, identity, &process);
        if !command.args.is_empty() {
            document.set("process.args", command.args.clone());
            document.set("process.command_line", command.line.as_str());
            document.set("system.process.cmdline", command.line.as_str());
        }
        document.maybe("process.executable", command.executable.as_deref());
        document.maybe("process.working_directory", link(root, &format!("{process}/cwd")));
        self.owner(root, &process, document);
        self.shared_memory(root, &process, document);
        self.transfers(root, &process, document);
        self.files(root, &process, document);
        if !self.extent.environment.is_empty() {
            self.variables(root, &process, document);
        }
        if self.extent.control_groups {
            cgroup::describe(root, &process, &mut self.buffer, document);
        }
    }

    fn command(&mut self, root: &Root, identity: &Identity, process: &str) -> Arc<Command> {
        if let Some(command) = self.commands.get(identity) {
            return Arc::clone(command);
        }
        let read = root.read(&format!("{process}/cmdline"), &mut self.buffer);
        let bytes = if read.is_ok() { self.buffer.as_slice() } else { &[] };
        let bytes = bytes.get(..LONGEST_COMMAND).unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        let args: Vec<String> = match bytes {
            [] => Vec::new(),
            bytes => bytes.split(|byte| *byte == 0).map(text::text).collect(),
        };
        let line = args.join(" ").trim_end().to_owned();
        let executable = link(root, &format!("{process}/exe"));
        let command = Arc::new(Command { args, line, executable });
        if self.extent.caches_commands {
            self.commands.insert(identity.clone(), Arc::clone(&command));
        }
        command
    }

    fn owner(&mut self, root: &Root, process: &str, document: &mut Document) {
        if root.read(&format!("{process}/status"), &mut self.buffer).is_err() {
            return;
        }
        // Real, effective, saved and of the file system: the effective one decides what it may do.
        let effective = text::lines(&self.buffer)
            .find_map(|line| line.strip_prefix(b"Uid:"))
            .and_then(|line| text::number(text::words(line).nth(1)?));
        document.maybe("user.name", effective.map(|number| self.users.name(number)));
    }

    fn shared_memory(&mut self, root: &Root, process: &str, document: &mut Document) {
        if root.read(&format!("{process}/statm"), &mut self.buffer).is_ok() {
            let pages = text::words(&self.buffer).nth(2).and_then(text::number);
            let bytes = pages.map(|pages| pages.saturating_mul(rustix::param::page_size() as u64));
            document.maybe("system.process.memory.share", bytes);
        }
    }

    fn transfers(&mut self, root: &Root, process: &str, document: &mut Document) {
        const FIELDS: [(&[u8], &str); 7] = [
            (b"rchar:", "read_char"),
            (b"wchar:", "write_char"),
            (b"syscr:", "read_ops"),
            (b"syscw:", "write_ops"),
            (b"read_bytes:", "read_bytes"),
            (b"write_bytes:", "write_bytes"),
            (b"cancelled_write_bytes:", "cancelled_write_bytes"),
        ];
        if root.read(&format!("{process}/io"), &mut self.buffer).is_err() {
            return;
        }
        for line in text::lines(&self.buffer) {
            if let Some((value, field)) =
                FIELDS.iter().find_map(|(name, field)| Some((line.strip_prefix(*name)?, field)))
            {
                document.maybe(&format!("system.process.io.{field}"), text::number(value.trim_ascii()));
            }
        }
    }

    fn files(&mut self, root: &Root, process: &str, document: &mut Document) {
        document.maybe("system.process.fd.open", open_files(root, process));
        if root.read(&format!("{process}/limits"), &mut self.buffer).is_err() {
            return;
        }
        let line = text::lines(&self.buffer).find_map(|line| line.strip_prefix(b"Max open files"));
        let mut words = text::words(line.unwrap_or_default());
        // `unlimited` is no number: then there is none.
        document.maybe("system.process.fd.limit.soft", text::next(&mut words));
        document.maybe("system.process.fd.limit.hard", text::next(&mut words));
    }

    fn variables(&mut self, root: &Root, process: &str, document: &mut Document) {
        if root.read(&format!("{process}/environ"), &mut self.buffer).is_err() {
            return;
        }
        let mut told = Map::new();
        for variable in self.buffer.split(|byte| *byte == 0) {
            let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
            let name = text::text(&variable[..equals]);
            if self.extent.environment.iter().any(|pattern| pattern.is_match(&name)) {
                let value = &variable[equals + 1..];
                let value = value.get(..LONGEST_VARIABLE).unwrap_or(value);
                told.insert(name, Value::String(text::text(value)));
            }
        }
        if !told.is_empty() {
            document.set("system.process.env", told);
        }
    }
}

fn link(root: &Root, path: &str) -> Option<String> {
    let target = fs::read_link(root.path(path)).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// How many files a process has open. Since Linux 6.2 the size of the directory says it; before, it is 0.
fn open_files(root: &Root, process: &str) -> Option<u64> {
    let path = root.path(&format!("{process}/fd"));
    let metadata = fs::metadata(&path).ok()?;
    let is_kernel = rustix::fs::statfs(&path).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC);
    // Without the right to list it, the size is still told.
    match metadata.len() {
        size @ 1.. if is_kernel => Some(size),
        _ => Some(fs::read_dir(&path).ok()?.count() as u64),
    }
}
