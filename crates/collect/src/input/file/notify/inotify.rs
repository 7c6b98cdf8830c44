//! The kernel's inotify: one instance for all readers of files, since a user may have 128 of them only.
//!
//! The watches of a directory last while a scan asks for it. Those of files that are read last until the file grows
//! once: a busy file costs one notification each time that its reader has caught up, not one for each line.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::options::Options;
use super::subscription::Subscription;
use super::{Change, Changes};

/// Watches of all readers together. The kernel needs about 1 KiB for each, and lets a user have 8192 at least.
const WATCHES: usize = 8192;

/// What is read from the kernel at once: some hundred changes.
const BUFFER: usize = 16 * 1024;

/// The inotify instance of a collector; made when the first reader asks for it.
pub(crate) struct Notifier {
    kernel: Mutex<Option<Arc<Kernel>>>,
    most: usize,
}

impl Default for Notifier {
    fn default() -> Notifier {
        Notifier { kernel: Mutex::default(), most: WATCHES }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl Notifier {
    /// With so few watches that a test can use them up.
    #[cfg(test)]
    pub(crate) fn with_watches(most: usize) -> Notifier {
        Notifier { most, ..Notifier::default() }
    }

    /// What changes for a reader with these options, from its first scan on. Called on a runtime.
    pub(in super::super) fn subscribe(&self, options: &Arc<Options>) -> Subscription {
        let wake = Arc::new(Notify::new());
        let (kernel, refusal) = match self.kernel() {
            Ok(kernel) => (Some(kernel), None),
            Err(error) => (None, Some(format!("the system gives no notifications: {error}"))),
        };
        let id = kernel.as_ref().map_or(0, |kernel| {
            let mut table = kernel.shared.table();
            table.last += 1;
            let id = table.last;
            let reader = Reader { changes: Changes::new(Arc::clone(options)), wake: Arc::clone(&wake) };
            table.readers.insert(id, reader);
            id
        });
        Subscription::new(kernel, id, wake, refusal)
    }

    pub(super) fn kernel(&self) -> std::io::Result<Arc<Kernel>> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kernel {
            Some(kernel) => Ok(Arc::clone(kernel)),
            None => Ok(Arc::clone(kernel.insert(Arc::new(Kernel::start(self.most)?)))),
        }
    }
}

/// The instance, with the task that reads it.
pub(super) struct Kernel {
    pub(super) shared: Arc<Shared>,
    _stop: DropGuard,
}

pub(super) struct Shared {
    descriptor: Arc<OwnedFd>,
    /// How many watches there may be.
    pub(super) most: usize,
    /// Held while the kernel is asked for a watch, too: what it then tells finds whoever asked for it.
    table: Mutex<Table>,
}

#[derive(Default)]
pub(super) struct Table {
    /// Who is told of each watch; of a directory, under the name by which that reader came to it.
    pub(super) watches: HashMap<i32, Vec<(u64, Option<PathBuf>)>>,
    pub(super) readers: HashMap<u64, Reader>,
    last: u64,
}

pub(super) struct Reader {
    pub(super) changes: Changes,
    wake: Arc<Notify>,
}

impl Kernel {
    fn start(most: usize) -> std::io::Result<Kernel> {
        let descriptor = Arc::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that close their descriptor early; this does not"
        )]
        let source = AsyncFd::with_interest(Arc::clone(&descriptor), Interest::READABLE)?;
        let shared = Arc::new(Shared { descriptor, most, table: Mutex::default() });
        let stop = CancellationToken::new();
        let told = Arc::clone(&shared);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok(mut ready) = source.readable().await {
                told.pump();
                ready.clear_ready();
            }
        }));
        Ok(Kernel { shared, _stop: stop.drop_guard() })
    }
}

impl Shared {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the kernel has to tell, and wakes those whom it concerns.
    pub(super) fn pump(&self) {
        let mut table = self.table();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = inotify::Reader::new(&*self.descriptor, &mut buffer);
        // It ends with `EAGAIN`, when nothing is left.
        while let Ok(event) = events.next() {
            table.tell(&event);
        }
    }

    /// Asks the kernel for a watch, for a reader, of a directory that goes by this name there, or of a file.
    ///
    /// # Errors
    /// `NOSPC`: there are too many. Others are those of `inotify_add_watch(2)`.
    pub(super) fn add(
        &self,
        table: &mut Table,
        path: &Path,
        flags: WatchFlags,
        reader: (u64, Option<&Path>),
    ) -> Result<i32, Errno> {
        let watch = inotify::add_watch(&*self.descriptor, path, flags)?;
        if table.watches.len() >= self.most && !table.watches.contains_key(&watch) {
            let _ = inotify::remove_watch(&*self.descriptor, watch);
            return Err(Errno::NOSPC);
        }
        let readers = table.watches.entry(watch).or_default();
        let is_there = readers.iter().any(|(id, path)| (*id, path.as_deref()) == reader);
        if !is_there {
            readers.push((reader.0, reader.1.map(Path::to_owned)));
        }
        Ok(watch)
    }

    /// The reader does not want to be told any more.
    pub(super) fn release(&self, table: &mut Table, watch: i32, reader: (u64, Option<&Path>)) {
        let Some(readers) = table.watches.get_mut(&watch) else { return };
        readers.retain(|(id, path)| (*id, path.as_deref()) != reader);
        if readers.is_empty() {
            table.watches.remove(&watch);
            // The kernel may have dropped it already.
            let _ = inotify::remove_watch(&*self.descriptor, watch);
        }
    }
}

impl Table {
    fn tell(&mut self, event: &inotify::Event<'_>) {
        let flags = event.events();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            for reader in self.readers.values_mut() {
                reader.tell(Change::Lost);
            }
            return;
        }
        let gone = flags.contains(ReadFlags::IGNORED);
        let Some(readers) = self.watches.get(&event.wd()) else { return };
        let mut is_file = false;
        for (id, directory) in readers {
            let Some(reader) = self.readers.get_mut(id) else { continue };
            match directory {
                Some(directory) => reader.tell(change(directory, event)),
                None => {
                    is_file = true;
                    reader.wake.notify_one();
                }
            }
        }
        // A watch of a file is for one growth.
        if gone || is_file {
            self.watches.remove(&event.wd());
        }
    }
}

impl Reader {
    fn tell(&mut self, change: Change) {
        if self.changes.tell(change) {
            self.wake.notify_one();
        }
    }
}

fn change(directory: &Path, event: &inotify::Event<'_>) -> Change {
    let flags = event.events();
    let Some(name) = event.file_name() else { return Change::Watched };
    let path = directory.join(OsStr::from_bytes(name.to_bytes()));
    if flags.contains(ReadFlags::ISDIR) {
        Change::Directory(path)
    } else if flags.contains(ReadFlags::MOVED_FROM) {
        Change::From(path, event.cookie())
    } else if flags.contains(ReadFlags::MOVED_TO) {
        Change::To(path, event.cookie())
    } else {
        Change::File(path)
    }
}
