//! What one reader has asked for, and is told.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;
use tokio::sync::Notify;

use super::inotify::Kernel;
use super::remote::remote;
use super::{Changes, News, Notices};

/// What one reader is told.
pub(in super::super) struct Subscription {
    kernel: Option<Arc<Kernel>>,
    id: u64,
    wake: Arc<Notify>,
    watched: Watched,
    /// Why there are no notifications at all.
    refusal: Option<String>,
}

/// What a reader has asked for.
#[derive(Default)]
struct Watched {
    directories: HashMap<PathBuf, i32>,
    /// By the scan that is running.
    asked: HashMap<PathBuf, i32>,
    files: HashSet<i32>,
    /// Devices of files, and whether others write to them.
    remote: HashMap<u64, bool>,
    /// Why some directories are not watched, by the last scan.
    lacking: Option<String>,
    /// The system gives no more watches; the next scan tries again.
    exhausted: bool,
}

impl Subscription {
    pub(super) fn new(
        kernel: Option<Arc<Kernel>>,
        id: u64,
        wake: Arc<Notify>,
        refusal: Option<String>,
    ) -> Subscription {
        Subscription { kernel, id, wake, watched: Watched::default(), refusal }
    }

    /// What is notified when something has changed for the reader.
    pub(in super::super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

impl Watched {
    /// The directory's watch. It is asked for again in each scan: another directory may be there by now.
    fn directory(&mut self, kernel: &Kernel, id: u64, directory: &Path) {
        if self.exhausted || self.asked.contains_key(directory) {
            return;
        }
        if !self.directories.contains_key(directory)
            && let Some(system) = rustix::fs::statfs(directory).ok().and_then(|found| remote(&found))
        {
            self.lacking = Some(format!("{} is on {system}, which does not tell", directory.display()));
            return;
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let shared = &kernel.shared;
        let added = shared.add(&mut shared.table(), directory, flags, (id, Some(directory)));
        match added {
            Ok(watch) => {
                self.asked.insert(directory.to_owned(), watch);
            }
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.exhausted = true;
                self.lacking = Some(format!(
                    "there are more than {} directories, or than fs.inotify.max_user_watches",
                    kernel.shared.most
                ));
            }
            // It is not there, or may not be read: then it is not listed either.
            Err(_) => {}
        }
    }

    fn end(&mut self, kernel: &Kernel, id: u64) {
        let asked = std::mem::take(&mut self.asked);
        let mut table = kernel.shared.table();
        for (path, watch) in std::mem::take(&mut self.directories) {
            if asked.get(&path) != Some(&watch) {
                kernel.shared.release(&mut table, watch, (id, Some(&path)));
            }
        }
        self.directories = asked;
    }

    fn files(&mut self, kernel: &Kernel, id: u64, files: &[(u64, BorrowedFd<'_>)]) -> bool {
        let mut all = true;
        let mut watches = HashSet::with_capacity(files.len());
        for (device, file) in files {
            let remote = *self
                .remote
                .entry(*device)
                .or_insert_with(|| rustix::fs::fstatfs(file).map_or(true, |found| remote(&found).is_some()));
            if remote {
                all = false;
                continue;
            }
            // By its descriptor: its name may be another file's by now.
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT;
            let shared = &kernel.shared;
            match shared.add(&mut shared.table(), &path, flags, (id, None)) {
                Ok(watch) => {
                    watches.insert(watch);
                }
                Err(_) => all = false,
            }
        }
        let mut table = kernel.shared.table();
        for watch in std::mem::replace(&mut self.files, watches) {
            if !self.files.contains(&watch) {
                kernel.shared.release(&mut table, watch, (id, None));
            }
        }
        all
    }
}

impl Notices for Subscription {
    fn begin(&mut self) {
        self.watched.lacking = None;
        self.watched.exhausted = false;
        self.with(|changes| changes.begin());
    }

    fn watch(&mut self, directory: &Path) {
        if let Some(kernel) = &self.kernel {
            self.watched.directory(kernel, self.id, directory);
        }
    }

    fn end(&mut self) {
        if let Some(kernel) = &self.kernel {
            self.watched.end(kernel, self.id);
        }
    }

    fn news(&mut self) -> News {
        if let Some(kernel) = &self.kernel {
            kernel.shared.pump();
        }
        self.with(Changes::news).unwrap_or_default()
    }

    fn strays(&mut self) -> Vec<PathBuf> {
        self.with(Changes::strays).unwrap_or_default()
    }

    fn is_settled(&mut self, stray: &Path) -> bool {
        if let Some(kernel) = &self.kernel {
            kernel.shared.pump();
        }
        self.with(|changes| changes.is_settled(stray)).unwrap_or_default()
    }

    fn keep_stray(&mut self, path: &Path) {
        self.with(|changes| changes.keep_stray(path));
    }

    fn arm(&mut self, files: &[(u64, BorrowedFd<'_>)]) -> bool {
        match &self.kernel {
            Some(kernel) => self.watched.files(kernel, self.id, files),
            None => false,
        }
    }

    fn lacking(&self) -> Option<String> {
        self.refusal.clone().or_else(|| self.watched.lacking.clone())
    }
}

impl Subscription {
    fn with<T>(&mut self, work: impl FnOnce(&mut Changes) -> T) -> Option<T> {
        let mut table = self.kernel.as_ref()?.shared.table();
        table.readers.get_mut(&self.id).map(|reader| work(&mut reader.changes))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(kernel) = &self.kernel else { return };
        let mut table = kernel.shared.table();
        table.readers.remove(&self.id);
        for (path, watch) in self.watched.directories.iter().chain(&self.watched.asked) {
            kernel.shared.release(&mut table, *watch, (self.id, Some(path)));
        }
        for watch in &self.watched.files {
            kernel.shared.release(&mut table, *watch, (self.id, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use serde_json::json;

    use super::super::super::options::Options;
    use super::super::Notifier;
    use super::*;
    use crate::config::Config;

    fn subscribe(notifier: &Notifier, pattern: &Path) -> Subscription {
        let config = json!({"paths": [pattern]});
        let options = Options::read(&Config::new(config.as_object().unwrap()), "filestream").unwrap();
        notifier.subscribe(&Arc::new(options))
    }

    fn scan(subscription: &mut Subscription, directories: &[&Path]) {
        subscription.begin();
        directories.iter().for_each(|directory| subscription.watch(directory));
        subscription.end();
    }

    fn watches(notifier: &Notifier) -> usize {
        notifier.kernel().unwrap().shared.table().watches.len()
    }

    #[tokio::test]
    async fn a_watch_lasts_while_a_scan_asks_for_it() {
        let root = tempfile::tempdir().unwrap();
        let notifier = Notifier::default();
        let pattern = root.path().join("*.log");
        let mut first = subscribe(&notifier, &pattern);
        let mut second = subscribe(&notifier, &pattern);
        scan(&mut first, &[root.path(), Path::new("/")]);
        scan(&mut second, &[root.path()]);
        assert_eq!(watches(&notifier), 2);
        std::fs::write(root.path().join("a.txt"), "").unwrap();
        assert_eq!((first.news().changed, second.news().changed), (false, false));
        std::fs::write(root.path().join("a.log"), "").unwrap();
        assert_eq!((first.news().changed, second.news().changed), (true, true));
        scan(&mut first, &[]);
        assert_eq!(watches(&notifier), 1);
        std::fs::write(root.path().join("b.log"), "").unwrap();
        assert_eq!((first.news().changed, second.news().changed), (false, true));
        drop(second);
        assert_eq!(watches(&notifier), 0);
    }

    #[tokio::test]
    async fn a_file_that_grows_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let notifier = Notifier::default();
        let mut subscription = subscribe(&notifier, &root.path().join("*.log"));
        let mut file = tempfile::tempfile().unwrap();
        assert!(subscription.arm(&[(1, file.as_fd())]));
        for _ in 0..3 {
            std::io::Write::write_all(&mut file, b"x").unwrap();
        }
        subscription.wake.notified().await;
        assert_eq!(watches(&notifier), 0);
        assert!(subscription.arm(&[(1, file.as_fd())]));
        assert!(subscription.arm(&[]));
        assert_eq!(watches(&notifier), 0, "what is not read any more is not watched");
    }
}
