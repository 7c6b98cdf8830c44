//! What the kernel tells of directories and files, so that nothing has to be looked for until something has changed.
//!
//! It is an addition to looking, which goes on at each `check_interval`: notifications can be lost (the kernel's queue
//! is bounded, so are its watches), and those of other machines' writes to a shared file system never come.

mod inotify;
mod remote;
mod subscription;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::Options;

pub(crate) use inotify::Notifier;

/// Files that were renamed to where no pattern looks, and have not been looked at there.
const STRAYS: usize = 1024;

/// Renames of which the second half has not come yet. The halves follow each other closely; a file that was moved out
/// of the directories that are watched has no second half.
const HALVES: usize = 16;

/// Tells what has changed since the last scan, and where.
pub(super) trait Notices: Send {
    /// A scan begins: directories that it does not ask for are not watched any more when it has ended.
    fn begin(&mut self);

    /// From now on what changes in the directory is told. Called before the directory is read, so that nothing falls
    /// between.
    fn watch(&mut self, directory: &Path);

    /// The scan has ended.
    fn end(&mut self);

    /// What has been told up to this moment.
    fn news(&mut self) -> News;

    /// Files that had a name that fits, and now have this one, which has not been looked at.
    fn strays(&mut self) -> Vec<PathBuf>;

    /// Whether what was seen of a stray after [`strays`](Notices::strays) was the stray: it was not renamed again, and
    /// nothing else came to its place. Otherwise it is given again where it is now.
    fn is_settled(&mut self, stray: &Path) -> bool;

    /// The stray is to be given again by the next scan.
    fn keep_stray(&mut self, path: &Path);

    /// Asks to be woken when one of these files grows (device, descriptor), once; false: some cannot be watched.
    fn arm(&mut self, files: &[(u64, BorrowedFd<'_>)]) -> bool;

    /// Why looking is all that there is for some of the paths.
    fn lacking(&self) -> Option<String>;
}

/// What has been told since it was asked for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// A scan may find something.
    pub(super) changed: bool,
    /// There was more than the kernel could keep.
    pub(super) lost: bool,
}

/// One thing that the kernel tells of a directory that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file came, went, or has other rights.
    File(PathBuf),
    /// A file was renamed from here; where to comes with the same number.
    From(PathBuf, u32),
    /// A file was renamed to here.
    To(PathBuf, u32),
    /// The same for a directory in it.
    Directory(PathBuf),
    /// The directory that is watched is gone, or elsewhere.
    Watched,
    /// More has changed than the kernel could keep.
    Lost,
}

/// What has changed for one reader: no list of all that happened, so it is bounded however much happens.
pub(super) struct Changes {
    options: Arc<Options>,
    news: News,
    /// Whether the reader has looked at them since they came there.
    strays: BTreeMap<PathBuf, bool>,
    halves: VecDeque<u32>,
}

impl Changes {
    pub(super) fn new(options: Arc<Options>) -> Changes {
        Changes { options, news: News::default(), strays: BTreeMap::new(), halves: VecDeque::new() }
    }

    /// Takes note of a change; says whether it concerns the reader.
    pub(super) fn tell(&mut self, change: Change) -> bool {
        let concerns = match change {
            Change::File(path) => {
                self.strays.remove(&path);
                self.options.wants(&path)
            }
            Change::From(path, cookie) => self.leaves(&path, cookie),
            Change::To(path, cookie) => self.arrives(path, cookie),
            Change::Directory(path) => self.options.leads_through(&path),
            Change::Watched => true,
            Change::Lost => {
                self.news.lost = true;
                true
            }
        };
        self.news.changed |= concerns;
        concerns
    }

    fn leaves(&mut self, path: &Path, cookie: u32) -> bool {
        let stray = self.strays.remove(path).is_some();
        if !stray && !self.options.wants(path) {
            return false;
        }
        if self.halves.len() == HALVES {
            self.halves.pop_front();
        }
        self.halves.push_back(cookie);
        true
    }

    fn arrives(&mut self, path: PathBuf, cookie: u32) -> bool {
        // Whatever was there under this name is not there any more.
        self.strays.remove(&path);
        let known = self.halves.iter().position(|half| *half == cookie);
        let ours = known.is_some_and(|index| self.halves.remove(index).is_some());
        if self.options.wants(&path) {
            return true;
        }
        if ours && self.strays.len() == STRAYS {
            self.news.lost = true;
        } else if ours {
            self.strays.insert(path, false);
        }
        ours
    }

    pub(super) fn news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Begins a scan: strays that were looked at where they still are, are done.
    pub(super) fn begin(&mut self) {
        self.strays.retain(|_, looked| !*looked);
    }

    pub(super) fn strays(&mut self) -> Vec<PathBuf> {
        let new = self.strays.iter_mut().filter(|(_, looked)| !**looked);
        let take = |(path, looked): (&PathBuf, &mut bool)| {
            *looked = true;
            path.clone()
        };
        new.map(take).collect()
    }

    pub(super) fn is_settled(&self, stray: &Path) -> bool {
        self.strays.get(stray) == Some(&true)
    }

    pub(super) fn keep_stray(&mut self, path: &Path) {
        if let Some(looked) = self.strays.get_mut(path) {
            *looked = false;
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("news", &self.news)
            .field("strays", &self.strays)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn changes() -> Changes {
        let config = json!({"paths": ["/logs/app.log", "/deep/**/*.log"], "exclude_files": ["secret"]});
        let config = Config::new(config.as_object().unwrap());
        Changes::new(Arc::new(Options::read(&config, "filestream").unwrap()))
    }

    fn from(path: &str, cookie: u32) -> Change {
        Change::From(path.into(), cookie)
    }

    fn to(path: &str, cookie: u32) -> Change {
        Change::To(path.into(), cookie)
    }

    #[test]
    fn only_what_fits_or_leads_to_it_concerns_a_reader() {
        let mut changes = changes();
        for path in ["/logs/other.log", "/deep/x.txt", "/deep/a/secret.log"] {
            assert!(!changes.tell(Change::File(path.into())), "{path}");
        }
        assert!(!changes.tell(Change::Directory("/logs/app".into())));
        assert!(!changes.tell(to("/logs/else", 7)), "of a rename that began elsewhere");
        assert_eq!(changes.news(), News::default());
        for path in ["/logs/app.log", "/deep/x.log", "/deep/a/b/x.log"] {
            assert!(changes.tell(Change::File(path.into())), "{path}");
        }
        assert!(changes.tell(Change::Directory("/deep/a/new".into())));
        assert_eq!(changes.news(), News { changed: true, lost: false });
        assert_eq!(changes.news(), News::default(), "it is told once");
    }

    #[test]
    fn a_file_is_followed_through_its_renames() {
        let mut changes = changes();
        for change in [
            from("/logs/app.log", 1),
            to("/logs/app.log.1", 1),
            from("/logs/app.log.1", 2),
            to("/logs/app.log.2", 2),
            from("/logs/app.log", 3),
            to("/logs/app.log.1", 3),
        ] {
            changes.tell(change);
        }
        assert_eq!(changes.strays(), [Path::new("/logs/app.log.1"), Path::new("/logs/app.log.2")]);
        // Renamed again after its name was looked at, or before: nobody knows.
        changes.tell(from("/logs/app.log.2", 4));
        changes.tell(to("/logs/app.log.3", 4));
        assert!(changes.is_settled(Path::new("/logs/app.log.1")));
        assert!(!changes.is_settled(Path::new("/logs/app.log.2")));
        changes.begin();
        assert_eq!(changes.strays(), [Path::new("/logs/app.log.3")]);
        changes.keep_stray(Path::new("/logs/app.log.3"));
        changes.begin();
        assert_eq!(changes.strays(), [Path::new("/logs/app.log.3")]);
        changes.keep_stray(Path::new("/logs/app.log.3"));
        changes.tell(Change::File("/logs/app.log.3".into()));
        assert!(changes.strays().is_empty(), "it is deleted");
    }

    #[test]
    fn what_is_kept_has_a_bound_and_beyond_it_the_reader_looks() {
        let mut changes = changes();
        for number in 0..=u32::try_from(STRAYS).unwrap() {
            changes.tell(from("/logs/app.log", number));
            changes.tell(to(&format!("/logs/app.log.{number}"), number));
        }
        assert!(changes.news().lost);
        assert_eq!(changes.strays().len(), STRAYS);
        for number in 0..100 {
            changes.tell(from("/logs/app.log", number));
        }
        assert_eq!(changes.halves.len(), HALVES);
    }
}
