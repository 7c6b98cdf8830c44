//! What `/proc` tells of processes that events name, kept for a while: one that writes much is looked at once, and one
//! that has just ended is still known.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::container::Rule;
use crate::procfs::root::Root;
use crate::procfs::stat::Stat;
use crate::procfs::text;
use crate::procfs::users::Users;

/// So many processes are kept.
const MOST: usize = 1024;

/// A process that no event names is forgotten after this.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// What is kept of a command line, in bytes.
const LONGEST_COMMAND: usize = 4 << 10;

/// What is told of an environment, in bytes.
const LONGEST_ENVIRONMENT: usize = 64 << 10;

/// A process.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Details {
    /// Ticks after boot: with the pid it is this process and no other.
    started: u64,
    /// The object `process` of the common schema.
    pub(super) process: Map<String, Value>,
    /// The container that it is in.
    pub(in super::super) container: Option<String>,
}

/// Processes below one root.
#[derive(Debug)]
pub(in super::super) struct Table {
    root: Root,
    rule: Rule,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_pid: HashMap<u32, Entry>,
    users: Users,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    details: Arc<Details>,
    used: Instant,
}

impl Table {
    /// `root`: `/`, or where that of the host is mounted.
    pub(in super::super) fn new(root: impl Into<PathBuf>, rule: Rule) -> Table {
        Table { root: Root::new(root), rule, known: Mutex::default() }
    }

    /// The process, if there is one, or was until now.
    pub(in super::super) fn find(&self, pid: u32) -> Option<Arc<Details>> {
        self.find_at(pid, Instant::now())
    }

    pub(super) fn find_at(&self, pid: u32, now: Instant) -> Option<Arc<Details>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { by_pid, users, buffer } = &mut *known;
        let kept = by_pid.get_mut(&pid).filter(|entry| now.saturating_duration_since(entry.used) < KEPT);
        let read = self.root.read(&format!("proc/{pid}/stat"), buffer);
        let stat = if read.is_ok() { Stat::parse(buffer) } else { None };
        let Some((stat, name)) = stat else {
            return kept.map(|entry| Arc::clone(&entry.details));
        };
        // A number is given to another process some day.
        let name = text::text(name);
        let is_same = |entry: &&mut Entry| {
            // One that runs another program has another name.
            entry.details.started == stat.started && entry.details.process.get("name") == Some(&json!(name))
        };
        if let Some(entry) = kept.filter(is_same) {
            entry.used = now;
            return Some(Arc::clone(&entry.details));
        }
        let details = Arc::new(self.read(&stat, &name, users, buffer));
        if by_pid.len() >= MOST && !by_pid.contains_key(&pid) {
            forget(by_pid, now);
        }
        by_pid.insert(pid, Entry { details: Arc::clone(&details), used: now });
        Some(details)
    }

    fn read(&self, stat: &Stat, name: &str, users: &mut Users, buffer: &mut Vec<u8>) -> Details {
        let folder = format!("proc/{}", stat.pid);
        let mut process = Map::new();
        process.insert("name".into(), json!(name));
        process.insert("pid".into(), json!(stat.pid));
        process.insert("parent".into(), json!({"pid": stat.parent}));
        if self.root.read(&format!("{folder}/cmdline"), buffer).is_ok() && !buffer.is_empty() {
            let line = buffer.get(..LONGEST_COMMAND).unwrap_or(buffer);
            let args = line.strip_suffix(b"\0").unwrap_or(line).split(|byte| *byte == 0).map(text::text);
            let args: Vec<String> = args.collect();
            process.insert("title".into(), json!(args.join(" ").trim_end()));
            process.insert("args".into(), json!(args));
        }
        if let Ok(program) = fs::read_link(self.root.path(&format!("{folder}/exe"))) {
            process.insert("executable".into(), json!(program.to_string_lossy()));
        }
        if let Some(began) = self.began(stat.started, buffer) {
            process.insert("start_time".into(), json!(crate::syslog::written(began)));
        }
        if self.root.read(&format!("{folder}/status"), buffer).is_ok()
            && let Some(user) = effective_user(buffer)
        {
            users.refresh(&self.root);
            process.insert("owner".into(), json!({"id": user.to_string(), "name": users.name(user)}));
        }
        let groups = self.root.read(&format!("{folder}/cgroup"), buffer);
        let container = groups.ok().and_then(|()| self.rule.find(buffer));
        Details { started: stat.started, process, container }
    }

    fn began(&self, ticks: u64, buffer: &mut Vec<u8>) -> Option<OffsetDateTime> {
        self.root.read("proc/stat", buffer).ok()?;
        let boot = text::lines(buffer).find_map(|line| line.strip_prefix(b"btime "))?;
        let boot = i64::try_from(text::number(boot.trim_ascii())?).ok()?;
        let second = rustix::param::clock_ticks_per_second().max(1);
        let after = time::Duration::milliseconds(i64::try_from(ticks.checked_mul(1000)? / second).ok()?);
        OffsetDateTime::from_unix_timestamp(boot).ok()?.checked_add(after)
    }

    /// The variables of a process. Not kept: they may be large, and secret.
    pub(super) fn environment(&self, pid: u32) -> Option<Map<String, Value>> {
        let mut buffer = Vec::new();
        self.root.read(&format!("proc/{pid}/environ"), &mut buffer).ok()?;
        buffer.truncate(LONGEST_ENVIRONMENT);
        let variable = |line: &[u8]| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            Some((text::text(&line[..equals]), Value::String(text::text(&line[equals + 1..]))))
        };
        Some(buffer.split(|byte| *byte == 0).filter_map(variable).collect())
    }
}

/// The effective user in `/proc/<pid>/status`.
fn effective_user(status: &[u8]) -> Option<u64> {
    let line = text::lines(status).find_map(|line| line.strip_prefix(b"Uid:"))?;
    text::number(text::words(line).nth(1)?)
}

/// Makes room: those that nobody asked for lately go, and if there are none, the one that was asked for longest ago.
fn forget(by_pid: &mut HashMap<u32, Entry>, now: Instant) {
    by_pid.retain(|_, entry| now.saturating_duration_since(entry.used) < KEPT);
    if by_pid.len() >= MOST
        && let Some(oldest) = by_pid.iter().min_by_key(|(_, entry)| entry.used).map(|(pid, _)| *pid)
    {
        by_pid.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process below a root of its own.
    fn write(root: &std::path::Path, pid: u32, started: u64) {
        let folder = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        let stat = format!("{pid} (p{started}) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {started} 0 0");
        fs::write(folder.join("stat"), stat).unwrap();
    }

    fn name(details: Option<Arc<Details>>) -> Option<String> {
        Some(details?.process["name"].as_str()?.to_owned())
    }

    #[test]
    fn a_process_is_known_for_a_while_after_its_end_but_not_as_another() {
        let root = tempfile::tempdir().unwrap();
        let table = Table::new(root.path(), Rule::default());
        let start = Instant::now();
        assert_eq!(table.find_at(7, start), None);
        write(root.path(), 7, 100);
        assert_eq!(name(table.find_at(7, start)).as_deref(), Some("p100"));
        fs::remove_dir_all(root.path().join("proc/7")).unwrap();
        assert_eq!(name(table.find_at(7, start + KEPT / 2)).as_deref(), Some("p100"));
        write(root.path(), 7, 200);
        assert_eq!(name(table.find_at(7, start + KEPT / 2)).as_deref(), Some("p200"));
        fs::remove_dir_all(root.path().join("proc/7")).unwrap();
        assert_eq!(table.find_at(7, start + KEPT * 2), None);
    }

    #[test]
    fn so_many_processes_are_kept_and_no_more() {
        let root = tempfile::tempdir().unwrap();
        let table = Table::new(root.path(), Rule::default());
        let start = Instant::now();
        let most = u32::try_from(MOST).unwrap();
        for pid in 1..=most + 1 {
            write(root.path(), pid, 1);
            assert!(table.find_at(pid, start + Duration::from_millis(u64::from(pid))).is_some());
        }
        assert_eq!(table.known.lock().unwrap().by_pid.len(), MOST);
        fs::remove_dir_all(root.path().join("proc")).unwrap();
        let later = start + Duration::from_secs(2);
        assert_eq!((table.find_at(1, later), name(table.find_at(2, later)).as_deref()), (None, Some("p1")));
    }
}
