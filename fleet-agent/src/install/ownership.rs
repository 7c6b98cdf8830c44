//! Whose the files of an agent are.
//!
//! Those of an agent without privileges are its user's, who may put there what it likes: a link in the place of a
//! directory, or another name of somebody else's file. Root must not be led elsewhere by either, whenever it comes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fstat, openat, readlinkat,
};

use super::{Account, InstallError, Record};
use crate::paths::Paths;

/// An installation has a few levels. Whoever makes more of them wants to exhaust something.
const DEEPEST: usize = 32;
/// The links that an installation has, in its home.
const OWN_LINKS: [&str; 2] = ["fleet-agent", "previous"];
/// Rights of others to write.
const OTHERS_WRITE: u32 = 0o022;

/// Whether the user and the group of a record are whom an agent's home belongs to (`owner`). The record is that user's,
/// and must not make root remove others.
#[must_use]
pub fn owns(record: &Record, owner: (u32, u32)) -> bool {
    owner.0 != 0
        && Account::id_of(&record.user).ok() == Some(owner.0)
        && Account::group_id(&record.group).ok() == Some(owner.1)
}

/// Whom a file belongs to: user and group. Root, if it is not there.
#[must_use]
pub fn owner(path: &Path) -> (u32, u32) {
    fs::symlink_metadata(path).map_or((0, 0), |file| (file.uid(), file.gid()))
}

/// Lets root, who works with what an agent without privileges keeps, become its user for the rest of the process.
/// Nothing is done for others, and for an agent of root.
///
/// # Errors
/// The system does not let it.
pub fn become_owner(paths: &Paths) -> Result<(), InstallError> {
    let (uid, gid) = owner(&paths.home);
    if !rustix::process::geteuid().is_root() || uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (nix::unistd::Uid::from_raw(uid), nix::unistd::Gid::from_raw(gid));
    // The user last: after that, nothing else may be given up.
    let became = nix::unistd::setgroups(&[gid])
        .and_then(|()| nix::unistd::setgid(gid))
        .and_then(|()| nix::unistd::setuid(uid));
    became.map_err(io::Error::from).map_err(InstallError::file("becoming the owner of", &paths.home))
}

/// What belongs to an agent's user, and is root's for a while.
#[must_use]
#[derive(Debug)]
pub struct Seized(Vec<(PathBuf, u32, u32)>);

impl Seized {
    /// Whom a directory belonged to.
    #[must_use]
    pub fn owner_of(&self, path: &Path) -> (u32, u32) {
        let taken = self.0.iter().find(|(taken, ..)| taken == path);
        taken.map_or_else(|| owner(path), |(_, uid, gid)| (*uid, *gid))
    }

    /// Gives it back.
    ///
    /// # Errors
    /// Something cannot be given.
    pub fn give_back(&self) -> Result<(), InstallError> {
        self.0.iter().try_for_each(|(path, uid, gid)| give(path, *uid, *gid))
    }
}

/// Takes for root what an agent's user has, so that nobody can change it any more, and looks that nothing in it leads
/// elsewhere. The agent must not run. What is root's is left as it is.
///
/// # Errors
/// Something cannot be taken, or leads elsewhere: it is the user's again then.
pub fn seize(paths: &Paths) -> Result<Seized, InstallError> {
    let mut seized = Seized(Vec::new());
    for path in [&paths.home, &paths.data, &paths.logs] {
        let (uid, gid) = owner(path);
        if uid == 0 {
            continue;
        }
        seized.0.push((path.clone(), uid, gid));
        let mut walk = Walk { to: (Uid::ROOT, Gid::ROOT), for_root: true, planted: None };
        let taken = walk.visit(CWD, path, path, DEEPEST).map_err(InstallError::file("taking", path));
        let taken = match walk.planted {
            Some(path) if taken.is_ok() => Err(InstallError::Planted { path }),
            _ => taken,
        };
        if let Err(error) = taken {
            // The first failure is what is told.
            let _ = seized.give_back();
            return Err(error);
        }
    }
    Ok(seized)
}

/// Gives a directory and all in it to a user. Links are not followed, not even one that comes into the place of a
/// directory meanwhile, and a file that has another name is left to whom it belongs.
///
/// # Errors
/// Something cannot be given.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<(), InstallError> {
    let mut walk = Walk { to: (Uid::from_raw(uid), Gid::from_raw(gid)), for_root: uid == 0, planted: None };
    walk.visit(CWD, path, path, DEEPEST).map_err(InstallError::file("giving away", path))
}

/// A way through a directory, from the top: what was visited is the new owner's, and stays as it is.
struct Walk {
    to: (Uid, Gid),
    /// Whether root takes it, who wants to know what was planted there.
    for_root: bool,
    planted: Option<PathBuf>,
}

impl Walk {
    /// `name` in `directory` is visited; `path` is what it is called in messages.
    fn visit(&mut self, directory: BorrowedFd<'_>, name: &Path, path: &Path, depth: usize) -> io::Result<()> {
        // What is looked at is what is given, whatever has its name meanwhile.
        let file = openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let about = fstat(&file)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        if kind != FileType::Directory && about.st_nlink > 1 {
            self.planted.get_or_insert_with(|| path.to_owned());
            return Ok(());
        }
        if kind == FileType::Symlink && !is_own_link(&file, path, depth) {
            self.planted.get_or_insert_with(|| path.to_owned());
        }
        chownat(
            &file,
            "",
            Some(self.to.0),
            Some(self.to.1),
            AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
        )?;
        if kind != FileType::Directory {
            return Ok(());
        }
        if depth == 0 {
            return Err(io::Error::other(format!("{} lies too deep", path.display())));
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let inner = openat(&file, ".", flags, Mode::empty())?;
        self.close_to_others(&inner, &about)?;
        for entry in Dir::read_from(&inner)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = Path::new(OsStr::from_bytes(name));
                self.visit(inner.as_fd(), name, &path.join(name), depth - 1)?;
            }
        }
        Ok(())
    }

    /// What root has taken, nobody else puts anything into.
    fn close_to_others(&self, directory: &OwnedFd, about: &Stat) -> io::Result<()> {
        if self.for_root && about.st_mode & OTHERS_WRITE != 0 {
            fchmod(directory, Mode::from_raw_mode(about.st_mode & 0o7777 & !OTHERS_WRITE))?;
        }
        Ok(())
    }
}

/// Whether this is a link that an installation has: in the top directory, by its name, and to a version of the agent.
fn is_own_link(link: &OwnedFd, path: &Path, depth: usize) -> bool {
    let is_named =
        depth + 1 == DEEPEST && path.file_name().is_some_and(|name| OWN_LINKS.iter().any(|own| name == *own));
    let Some(home) = path.parent().filter(|_| is_named) else { return false };
    let Ok(target) = readlinkat(link, "", Vec::new()) else { return false };
    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
    // A version that was upgraded to is named by where the home really is.
    let homes = [home.to_owned(), home.canonicalize().unwrap_or_default()];
    let versions = homes.iter().map(|home| home.join("versions"));
    let mut rests = versions.filter_map(|versions| target.strip_prefix(versions).ok());
    rests.any(|rest| rest.components().all(|part| matches!(part, Component::Normal(_))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::paths::Given;

    /// Only root may give to others.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn what_is_given_away_does_not_lead_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (home, elsewhere) = (root.path().join("home"), root.path().join("elsewhere"));
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "x").unwrap();
        symlink(&elsewhere, home.join("a/link")).unwrap();
        symlink("/no/such/file", home.join("a/dangling")).unwrap();
        fs::hard_link(elsewhere.join("file"), home.join("a/name")).unwrap();
        let own = owner(root.path());
        give(&home, own.0, own.1).unwrap();
        assert!(give(&root.path().join("none"), own.0, own.1).is_err());
        if !is_root() {
            return;
        }
        give(&home, 4242, 4243).unwrap();
        for path in ["", "a", "a/b", "a/link", "a/dangling"] {
            assert_eq!(owner(&home.join(path)), (4242, 4243), "{path}");
        }
        assert_eq!((owner(&elsewhere).0, owner(&elsewhere.join("file")).0), (0, 0));
    }

    /// An agent of user 4242, as `install` lays it out.
    fn of_user() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let below = |name: &str| Some(root.path().join(name));
        let given =
            Given { home: below("home"), data: below("data"), logs: below("logs"), ..Given::default() };
        let paths = Paths::of(&given);
        for path in [&paths.versions().join("1.0.0"), &paths.state(), &paths.logs] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(paths.versions().join("1.0.0/fleet-agent"), "program").unwrap();
        symlink(paths.versions().join("1.0.0/fleet-agent"), paths.program()).unwrap();
        fs::set_permissions(&paths.logs, fs::Permissions::from_mode(0o777)).unwrap();
        for path in [&paths.home, &paths.data, &paths.logs] {
            give(path, 4242, 4243).unwrap();
        }
        (root, paths)
    }

    #[test]
    fn what_root_has_taken_is_its_own_until_it_is_given_back() {
        if !is_root() {
            return;
        }
        let (_root, paths) = of_user();
        let seized = seize(&paths).unwrap();
        for path in [&paths.home, &paths.program(), &paths.state(), &paths.logs] {
            assert_eq!(owner(path), (0, 0), "{}", path.display());
        }
        assert_eq!(fs::metadata(&paths.logs).unwrap().permissions().mode() & 0o777, 0o755);
        seized.give_back().unwrap();
        for path in [&paths.home, &paths.program(), &paths.state(), &paths.logs] {
            assert_eq!(owner(path), (4242, 4243), "{}", path.display());
        }
        // There is nothing to take of root's own.
        for path in [&paths.home, &paths.data, &paths.logs] {
            give(path, 0, 0).unwrap();
        }
        assert!(seize(&paths).unwrap().0.is_empty());
    }

    #[test]
    fn what_leads_elsewhere_is_told_and_root_takes_nothing() {
        if !is_root() {
            return;
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("file");
        fs::write(&file, "root's").unwrap();
        type Plant = fn(&Paths, &Path) -> PathBuf;
        let plants: [Plant; 5] = [
            |paths, elsewhere| {
                fs::remove_dir(paths.state()).unwrap();
                symlink(elsewhere, paths.state()).unwrap();
                paths.state()
            },
            |paths, elsewhere| {
                let log = paths.logs.join("fleet-agent.ndjson");
                symlink(elsewhere.join("file"), &log).unwrap();
                log
            },
            |paths, elsewhere| {
                let log = paths.logs.join("fleet-agent.ndjson");
                fs::hard_link(elsewhere.join("file"), &log).unwrap();
                log
            },
            |paths, elsewhere| {
                fs::remove_file(paths.program()).unwrap();
                symlink(elsewhere.join("file"), paths.program()).unwrap();
                paths.program()
            },
            |paths, _| {
                fs::remove_file(paths.program()).unwrap();
                symlink(paths.versions().join("../../logs"), paths.program()).unwrap();
                paths.program()
            },
        ];
        for plant in plants {
            let (_root, paths) = of_user();
            let planted = plant(&paths, elsewhere.path());
            let told = seize(&paths).unwrap_err();
            assert!(matches!(&told, InstallError::Planted { path } if *path == planted), "{told}");
            assert_eq!((owner(elsewhere.path()), owner(&file)), ((0, 0), (0, 0)));
            assert_eq!((owner(&paths.home), owner(&paths.data)), ((4242, 4243), (4242, 4243)));
        }
    }

    #[test]
    fn a_record_that_names_somebody_elses_group_owns_nothing() {
        let record = |user: &str, group: &str| Record {
            user: user.to_owned(),
            group: group.to_owned(),
            made_user: true,
            made_group: true,
            ..Record::default()
        };
        assert!(!owns(&record("root", "root"), (0, 0)), "root's is nobody's to remove");
        let daemon = (Account::id_of("daemon").unwrap(), Account::group_id("daemon").unwrap());
        assert!(owns(&record("daemon", "daemon"), daemon));
        assert!(!owns(&record("daemon", "root"), daemon));
        assert!(!owns(&record("root", "daemon"), daemon));
    }
}
