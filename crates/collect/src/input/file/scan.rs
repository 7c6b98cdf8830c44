//! Which files there are, and which of them are known.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::beginning::{Beginning, is_gz, open, read_head};
use super::options::{Identity, Inactive};
use super::system::{Kind, Look, Node};
use super::tail::Tail;
use super::tracked::{About, Head, Tracked};

/// A head that is shorter than this proves little.
pub(super) const TELLING: usize = 64;

/// Scans, each a `check_interval` after the one before, for which a file that looks like a copy of another is left alone:
/// who copies and truncates is done by then.
const PATIENCE: u8 = 2;

/// For this long a file that is gone may come back and go on: a file system that was unmounted, a slow rotation.
const GONE_MS: u64 = 3_600_000;

/// For this long a content that was truncated away is looked for in copies.
const DETACHED_MS: u64 = 120_000;

/// Entries of a directory that are looked at for a file that was renamed out of the patterns.
const SIBLINGS: usize = 4096;

/// How often a scan looks at files that are renamed while it does; what goes on after that is for the next scan.
const STRAY_LOOKS: usize = 4;

/// A file that a pattern found.
struct Candidate {
    path: PathBuf,
    look: Look,
    /// It was renamed to here from a name that fits; this one does not.
    stray: bool,
}

impl Tail {
    /// Looks for files, and opens those that have something new.
    pub(super) fn scan(&mut self, now: u64) {
        let open = self.open_files();
        let regular = self.next_regular <= now;
        self.complaint = None;
        let candidates = self.candidates();
        for file in &mut self.files {
            file.seen = false;
        }
        let unresolved = self.match_known(candidates, now);
        self.match_heads(&unresolved, now, regular);
        self.after_missing(now, regular);
        let waits = self.open_unread(now);
        if std::mem::take(&mut self.added) {
            // On the disk before the first line is sent: after a crash its documents have the same ids. If that
            // fails, they may be there twice; the collector reports the trouble, and goes on.
            let _ = self.positions.flush();
        }
        self.scanned = true;
        self.next_scan = now + u64::try_from(self.options.check_interval.as_millis()).unwrap_or(u64::MAX);
        if regular {
            self.next_regular = self.next_scan;
        }
        if waits {
            let soon = now + u64::try_from(super::LOOK.as_millis()).unwrap_or(u64::MAX);
            self.next_scan = self.next_scan.min(self.rest.max(soon));
        }
        self.count_open(open);
    }

    /// Looks for files when that is due, when something is told, or when another file has come to the path of an open
    /// one: busy programs rotate faster than directories are searched that do not tell.
    pub(super) fn look(&mut self, now: u64) {
        let news = self.notices.news();
        if news.lost {
            if !self.has_lost(now) {
                let stream = self.stream.id();
                tracing::warn!(stream, "more has changed than the system tells: files are looked for");
            }
            self.lost = Some(now);
        }
        if news.changed {
            self.next_scan = self.next_scan.min(self.rest.max(now));
        }
        if self.next_scan <= now || (self.next_look <= now && self.is_rotated()) {
            self.scan(now);
        }
        if self.next_look <= now {
            self.next_look = now + u64::try_from(super::LOOK.as_millis()).unwrap_or(u64::MAX);
        }
    }

    /// Whether more has changed lately than was told.
    pub(super) fn has_lost(&self, now: u64) -> bool {
        self.lost.is_some_and(|lost| now.saturating_sub(lost) < super::LOST_MS)
    }

    fn is_rotated(&self) -> bool {
        let open = self.files.iter().filter(|file| file.handle.is_some() && file.seen);
        let mut elsewhere =
            open.filter(|file| match self.system.look(&file.about.path, self.options.symlinks) {
                Ok(there) => there.node != file.about.node,
                Err(_) => true,
            });
        elsewhere.next().is_some()
    }

    /// Keeps the count of open files.
    pub(super) fn count_open(&self, before: usize) {
        let counters = self.stream.counters();
        counters.files_open.add(self.open_files() as u64);
        counters.files_open.sub(before as u64);
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let mut paths = BTreeSet::new();
        self.notices.begin();
        for glob in &self.options.globs {
            let notices = &mut self.notices;
            glob.paths(&*self.system, &mut |directory| notices.watch(directory), &mut paths);
        }
        self.notices.end();
        let mut nodes = BTreeSet::new();
        let mut candidates = Vec::with_capacity(paths.len());
        for path in paths.into_iter().filter(|path| self.options.passes(path)) {
            let Ok(look) = self.system.look(&path, self.options.symlinks) else { continue };
            // A file under two names is read once.
            if look.kind == Kind::File && nodes.insert(look.node) {
                candidates.push(Candidate { path, look, stray: false });
            }
        }
        // By path, a renamed file is another one, which no pattern finds.
        if self.options.identity != Identity::Path {
            let strays = self.strays();
            candidates.extend(strays.into_iter().filter(|stray| nodes.insert(stray.look.node)));
        }
        candidates
    }

    /// Files that were renamed out of the patterns, where they are now: one that is renamed again while it is looked
    /// at is looked at once more.
    fn strays(&mut self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for _ in 0..STRAY_LOOKS {
            let paths = self.notices.strays();
            if paths.is_empty() {
                break;
            }
            for path in paths {
                let Ok(look) = self.system.look(&path, false) else { continue };
                if look.kind == Kind::File && self.notices.is_settled(&path) {
                    found.push(Candidate { path, look, stray: true });
                }
            }
        }
        found
    }

    /// Finds candidates whose node (or path, if that is what identifies a file) is known and still holds the same
    /// content; gives back the others.
    fn match_known(&mut self, candidates: Vec<Candidate>, now: u64) -> Vec<Candidate> {
        let by_path = self.options.identity == Identity::Path;
        let live = self.files.iter().enumerate().filter(|(_, file)| !file.detached);
        let nodes: HashMap<(Node, Option<PathBuf>), usize> = live
            .map(|(index, file)| ((file.about.node, by_path.then(|| file.about.path.clone())), index))
            .collect();
        let mut unresolved = Vec::new();
        for candidate in candidates {
            let key = (candidate.look.node, by_path.then(|| candidate.path.clone()));
            match nodes.get(&key) {
                Some(index) if self.is_same(*index, &candidate) => {
                    // An open file is read on wherever it is.
                    if !candidate.stray || self.files[*index].handle.is_none() {
                        self.attach(*index, &candidate);
                    }
                }
                Some(index) => {
                    self.detach(*index, now);
                    unresolved.push(candidate);
                }
                None => unresolved.push(candidate),
            }
        }
        unresolved
    }

    fn is_same(&mut self, index: usize, candidate: &Candidate) -> bool {
        let look = &candidate.look;
        let file = &self.files[index];
        let (head, compressed) = (file.about.head, file.compressed);
        // A number is used again at once: by the compressed copy of the file that had it, for one.
        if is_gz(&file.about.path) != is_gz(&candidate.path) {
            return false;
        }
        if file.size == look.size && file.modified == Some(look.modified) {
            return true;
        }
        if !compressed && (look.size < file.offset || look.size < head.length as u64) {
            return false;
        }
        let start = self.options.fingerprint_offset;
        let bytes = match &mut self.files[index].handle {
            Some(handle) if !compressed => read_head(&mut **handle, start, head.length),
            _ => self.beginning(&candidate.path, head.length).map(|beginning| beginning.bytes),
        };
        match bytes {
            Ok(bytes) => head.begins(&bytes),
            // It is there but cannot be read now: nothing says that it is another one.
            Err(_) => true,
        }
    }

    /// The candidate is this file.
    fn attach(&mut self, index: usize, candidate: &Candidate) {
        let file = &mut self.files[index];
        file.seen = true;
        file.missed = 0;
        file.detached = false;
        file.size = candidate.look.size;
        file.modified = Some(candidate.look.modified);
        let changed = file.about.path != candidate.path || file.about.node != candidate.look.node;
        if changed {
            file.about.path.clone_from(&candidate.path);
            file.about.node = candidate.look.node;
            file.remember();
        }
    }

    /// The file's node holds another content now; the old one may be found in a copy.
    pub(super) fn detach(&mut self, index: usize, now: u64) {
        let file = &mut self.files[index];
        file.close(&self.options.parsers);
        file.detached = true;
        file.missing_since = now;
    }

    /// Finds candidates by what they begin with; what is left is new.
    fn match_heads(&mut self, candidates: &[Candidate], now: u64, regular: bool) {
        let mut unclear = HashMap::new();
        for candidate in candidates {
            let length = self.options.fingerprint_length;
            let found = self.beginning(&candidate.path, length);
            let beginning = match found {
                // Too short to have what it is known by, or compressed and not written out yet.
                Ok(beginning) if beginning.bytes.is_empty() && self.is_unfinished(candidate) => continue,
                Ok(beginning) => beginning,
                Err(error) => {
                    self.complaint = Some(format!("cannot read {}: {error}", candidate.path.display()));
                    continue;
                }
            };
            let waited = self.unclear.get(&candidate.look.node).copied().unwrap_or_default();
            match self.resolve(candidate, &beginning) {
                Resolved::Known(index) => {
                    self.attach(index, candidate);
                    self.files[index].compressed = beginning.compressed;
                    self.files[index].about.finished = None;
                }
                Resolved::Duplicate => {}
                Resolved::Unclear if waited < PATIENCE => {
                    unclear.insert(candidate.look.node, waited + u8::from(regular));
                    if candidate.stray {
                        self.notices.keep_stray(&candidate.path);
                    }
                }
                Resolved::Unclear | Resolved::New => self.add(candidate, &beginning, now),
            }
        }
        self.unclear = unclear;
    }

    /// Of a file that has nothing to be known by: whether that is still to come.
    fn is_unfinished(&self, candidate: &Candidate) -> bool {
        candidate.look.size > 0 || (self.options.gzip && is_gz(&candidate.path))
    }

    fn resolve(&self, candidate: &Candidate, beginning: &Beginning) -> Resolved {
        // An empty file is followed too: it may be renamed before its first line is written.
        if self.options.identity == Identity::Path || beginning.bytes.is_empty() {
            return Resolved::New;
        }
        let full = |file: &Tracked| file.about.head.length >= self.options.fingerprint_length;
        let fits = |file: &Tracked| {
            let head = &file.about.head;
            let telling = full(file) || (head.length >= TELLING && head.length as u64 >= file.offset);
            telling && head.begins(&beginning.bytes)
        };
        let fingerprint = self.options.identity == Identity::Fingerprint;
        // What was truncated away first: a copy of it is where it goes on.
        let lost = self.files.iter().position(|file| file.detached && fits(file));
        let missing = || {
            let missing = |file: &Tracked| {
                !file.seen && (fingerprint || beginning.compressed) && full(file) && fits(file)
            };
            self.files.iter().position(missing)
        };
        if let Some(index) = lost.or_else(missing) {
            let short = !beginning.compressed && candidate.look.size < self.files[index].offset;
            return if short { Resolved::Unclear } else { Resolved::Known(index) };
        }
        let alike = |file: &&Tracked| file.seen && !file.detached && file.about.head.length >= TELLING;
        match self.files.iter().filter(alike).find(|file| file.about.head.begins(&beginning.bytes)) {
            Some(file) if full(file) && (fingerprint || beginning.compressed) => Resolved::Duplicate,
            Some(_) => Resolved::Unclear,
            None => Resolved::New,
        }
    }

    fn add(&mut self, candidate: &Candidate, beginning: &Beginning, now: u64) {
        let look = &candidate.look;
        let about = About {
            path: candidate.path.clone(),
            node: look.node,
            head: Head::of(&beginning.bytes),
            finished: None,
        };
        let age = self.system.time_of_day().saturating_sub(look.modified);
        let older = self.options.ignore_older.is_some_and(|limit| u128::from(age) > limit.as_millis());
        let inactive = match self.options.ignore_inactive {
            Some(Inactive::SinceFirstStart) => look.modified < self.first_started,
            Some(Inactive::SinceLastStart) => look.modified < self.started,
            None => false,
        };
        let from_end = self.options.from_end && !self.scanned;
        let mut file = Tracked::new(about, look, &self.positions, &self.options.parsers, now);
        file.compressed = beginning.compressed;
        // It may be renamed before its first line is written.
        file.wanted = look.size == 0 && u128::from(age) <= self.options.close_inactive.as_millis();
        if older || inactive || from_end {
            if file.compressed {
                file.about.finished = Some((look.size, 0));
            } else {
                file.skip_to(look.size);
            }
        }
        file.remember();
        self.files.push(file);
        self.added = true;
    }

    /// Files that no pattern finds any more.
    fn after_missing(&mut self, now: u64, regular: bool) {
        let mut index = 0;
        while index < self.files.len() {
            let file = &mut self.files[index];
            if file.seen || (file.handle.is_some() && !file.detached) {
                index += 1;
                continue;
            }
            let first = file.missed == 0;
            if first && !file.detached {
                file.missing_since = now;
            }
            file.missed += u32::from(first || regular);
            let limit = if file.detached { DETACHED_MS } else { GONE_MS };
            if now.saturating_sub(file.missing_since) > limit {
                self.forget(index);
                continue;
            }
            if !file.detached
                && (first || regular)
                && file.missed <= 3
                && self.options.identity != Identity::Path
            {
                self.find_sibling(index);
            }
            index += 1;
        }
    }

    /// A closed file that was renamed out of the patterns, beside its old path: what is unread in it is read, and what
    /// may still be written into it.
    fn find_sibling(&mut self, index: usize) {
        let file = &self.files[index];
        let Some(directory) = file.about.path.parent() else { return };
        let entries = self.system.list(directory).unwrap_or_default();
        // A number may have been used again, by a file that is read already or by a compressed copy.
        let taken = |node| self.files.iter().any(|other| other.seen && other.about.node == node);
        let gz = is_gz(&file.about.path);
        let files = entries
            .into_iter()
            .take(SIBLINGS)
            .filter(|(path, kind)| *kind == Kind::File && is_gz(path) == gz);
        let found = files.into_iter().find_map(|(path, _)| {
            let look = self.system.look(&path, false).ok()?;
            (look.node == file.about.node && !taken(look.node)).then_some((path, look))
        });
        let Some((path, look)) = found else { return };
        let quiet = self.system.time_of_day().saturating_sub(look.modified);
        let wanted = u128::from(quiet) <= self.options.close_inactive.as_millis();
        if !file.compressed && look.size <= file.offset && !wanted {
            return;
        }
        let head = self.beginning(&path, file.about.head.length);
        if head.is_ok_and(|head| file.about.head.begins(&head.bytes)) {
            let candidate = Candidate { path, look, stray: true };
            self.attach(index, &candidate);
            // Only where there is room: it would take turns with others that are as quiet.
            let has_room = self.open_files() < self.options.harvester_limit && !self.system.is_scarce();
            self.files[index].wanted = wanted && has_room;
        }
    }

    /// Opens what has something new, the oldest first, as far as files may be open; whether some have to wait.
    fn open_unread(&mut self, now: u64) -> bool {
        let mut unread: Vec<usize> = (0..self.files.len())
            .filter(|index| {
                let file = &self.files[*index];
                file.seen && !file.detached && file.handle.is_none() && (file.wanted || file.is_unread())
            })
            .collect();
        unread.sort_by_key(|index| self.files[*index].modified);
        let mut room = self.options.harvester_limit.saturating_sub(self.open_files());
        if room < unread.len() {
            room += self.close_idle(unread.len() - room);
        }
        room = room.min(self.system.left());
        let waits = room < unread.len();
        for index in unread.into_iter().take(room) {
            let file = &mut self.files[index];
            match open(&*self.system, &file.about.path, file.compressed) {
                // Between looking and opening another file may have come to this path: the next scan sees to it.
                Ok(handle) if handle.look().is_ok_and(|look| look.node == file.about.node) => {
                    file.handle = Some(handle);
                    file.wanted = false;
                    file.active = now;
                }
                Ok(_) => {}
                Err(error) => {
                    self.complaint = Some(format!("cannot read {}: {error}", file.about.path.display()));
                }
            }
        }
        waits
    }

    /// Closes files that have been read to their end, those first that have been quiet longest. One that is deleted can
    /// never be opened again: it goes last.
    fn close_idle(&mut self, wanted: usize) -> usize {
        let mut idle: Vec<(bool, u64, usize)> = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let Some(Ok(look)) = file.handle.as_ref().map(|handle| handle.look()) else { continue };
            // One that no pattern finds any more was not looked at by the scan.
            let is_read = if file.compressed { !file.is_unread() } else { look.size <= file.checked };
            let is_gone = look.links == 0;
            // The end of a deleted file's last line could never be read.
            let is_whole = !is_gone || file.offset >= look.size;
            if is_read && is_whole && file.pipeline.held_from().is_none() {
                idle.push((is_gone, file.active, index));
            }
        }
        idle.sort_unstable();
        idle.truncate(wanted);
        for (_, _, index) in &idle {
            self.files[*index].close(&self.options.parsers);
        }
        idle.len()
    }
}

enum Resolved {
    /// This one of the files.
    Known(usize),
    /// The content of a file that is there: not read twice.
    Duplicate,
    /// It may be a copy that is being made.
    Unclear,
    New,
}
