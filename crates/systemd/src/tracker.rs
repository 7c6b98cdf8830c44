//! The states of the installed units, from systemd's signals.
//!
//! `PropertiesChanged` of a unit carries its active and its sub state as they are when it is sent. Two things
//! are not told that way. systemd announces a unit that it has just loaded by `UnitNew`, which tells no state
//! and takes the place of a `PropertiesChanged` that is due at that moment; and the load state of a loaded unit
//! changes only in a reload, without a signal. In both cases the states are read, by a call that never loads a
//! unit: loading one makes systemd announce it, and unload it again, for ever.
//!
//! All that is given to a [`Tracker`] comes from one connection in the order of its messages, answers to reads
//! included. So what is given later is true later.

use std::collections::{HashMap, HashSet};

use fleet_cluster::systemd::{Notice, UnitState};
use fleet_unit::UnitName;

use crate::bus::unit_path;

/// More units than this are read by asking for all: systemd compares each pattern to each of its units.
const PATTERNS: usize = 16;

/// What is known of the installed units.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// By the path of the unit's object.
    units: HashMap<String, Tracked>,
    /// Paths of units whose state must be read.
    unread: HashSet<String>,
}

#[derive(Debug)]
struct Tracked {
    name: UnitName,
    /// The last load state that was read. A unit whose state changes has been loaded.
    load: String,
    /// What the subscriber was told last.
    told: Option<UnitState>,
}

/// A read of states: which units, and whom to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Paths of the units that the answer will be about.
    paths: HashSet<String>,
    /// The patterns to send; none means all units.
    pub(crate) patterns: Vec<String>,
}

impl Tracker {
    /// Follows a unit.
    pub(crate) fn add(&mut self, unit: &UnitName) {
        self.units.entry(unit_path(unit.as_str())).or_insert_with(|| Tracked {
            name: unit.clone(),
            load: "loaded".to_owned(),
            told: None,
        });
    }

    /// Follows a unit no more.
    pub(crate) fn remove(&mut self, unit: &UnitName) {
        let path = unit_path(unit.as_str());
        self.units.remove(&path);
        self.unread.remove(&path);
    }

    /// Notes the load state of a unit that someone has read.
    pub(crate) fn learn(&mut self, unit: &UnitName, load: &str) {
        if let Some(tracked) = self.units.get_mut(&unit_path(unit.as_str())) {
            load.clone_into(&mut tracked.load);
        }
    }

    /// The subscriber knows nothing any more.
    pub(crate) fn forget(&mut self) {
        for tracked in self.units.values_mut() {
            tracked.told = None;
        }
    }

    /// Whether the object at `path` is a unit that is followed.
    pub(crate) fn follows(&self, path: &str) -> bool {
        self.units.contains_key(path)
    }

    /// A unit's properties have changed.
    pub(crate) fn changed(&mut self, path: &str, active: Option<&str>, sub: Option<&str>) -> Option<Notice> {
        let tracked = self.units.get_mut(path)?;
        let (Some(active), Some(sub)) = (active, sub) else {
            self.unread.insert(path.to_owned());
            return None;
        };
        self.unread.remove(path);
        tracked.tell(active, sub)
    }

    /// A unit was loaded.
    pub(crate) fn loaded(&mut self, path: &str) {
        if self.follows(path) {
            self.unread.insert(path.to_owned());
        }
    }

    /// A unit was unloaded, so it is not active.
    pub(crate) fn unloaded(&mut self, path: &str) -> Option<Notice> {
        self.unread.remove(path);
        let tracked = self.units.get_mut(path)?;
        // Without anything told, and without a change since, it was inactive already.
        tracked.told.as_ref()?;
        tracked.tell("inactive", "dead")
    }

    /// systemd has reloaded its configuration: everything may have changed.
    pub(crate) fn reloaded(&mut self) {
        self.unread.extend(self.units.keys().cloned());
    }

    /// Whether the state of the unit at `path` must be read.
    pub(crate) fn is_unread(&self, path: &str) -> bool {
        self.unread.contains(path)
    }

    /// Whether any state must be read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What must be read. The answer goes to [`Tracker::read`], unless the connection is lost.
    pub(crate) fn start_read(&mut self) -> Read {
        let paths = std::mem::take(&mut self.unread);
        let patterns = if paths.len() > PATTERNS {
            Vec::new()
        } else {
            paths.iter().filter_map(|path| self.units.get(path)).map(|unit| unit.name.to_string()).collect()
        };
        Read { paths, patterns }
    }

    /// The answer to a read: path, load, active and sub state of each unit that is loaded.
    pub(crate) fn read<'a>(
        &mut self,
        mut read: Read,
        rows: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str)>,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (path, load, active, sub) in rows {
            if read.paths.remove(path)
                && let Some(tracked) = self.units.get_mut(path)
            {
                load.clone_into(&mut tracked.load);
                notices.extend(tracked.tell(active, sub));
            }
        }
        // The others are not loaded.
        notices.extend(read.paths.iter().filter_map(|path| self.unloaded(path)));
        notices
    }
}

impl Tracked {
    fn tell(&mut self, active: &str, sub: &str) -> Option<Notice> {
        let known = |told: &UnitState| told.load == self.load && told.active == active && told.sub == sub;
        if self.told.as_ref().is_some_and(known) {
            return None;
        }
        let state = UnitState { load: self.load.clone(), active: active.to_owned(), sub: sub.to_owned() };
        self.told = Some(state.clone());
        Some(Notice::Changed { unit: self.name.clone(), state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/org/freedesktop/systemd1/unit/a_2eservice";

    fn tracker() -> Tracker {
        let mut tracker = Tracker::default();
        tracker.add(&UnitName::parse("a.service").unwrap());
        tracker
    }

    fn notice(load: &str, active: &str, sub: &str) -> Notice {
        let state = UnitState { load: load.into(), active: active.into(), sub: sub.into() };
        Notice::Changed { unit: UnitName::parse("a.service").unwrap(), state }
    }

    #[test]
    fn changes_are_told_once_and_only_of_installed_units() {
        let mut tracker = tracker();
        let running = Some(notice("loaded", "active", "running"));
        assert_eq!(tracker.changed(PATH, Some("active"), Some("running")), running);
        assert_eq!(tracker.changed(PATH, Some("active"), Some("running")), None);
        assert_eq!(tracker.changed("/other", Some("active"), Some("running")), None);
        tracker.forget();
        assert_eq!(tracker.changed(PATH, Some("active"), Some("running")), running);
        assert_eq!(tracker.unloaded(PATH), Some(notice("loaded", "inactive", "dead")));
        assert_eq!(tracker.unloaded(PATH), None);
        tracker.remove(&UnitName::parse("a.service").unwrap());
        assert_eq!(tracker.changed(PATH, Some("active"), Some("running")), None);
    }

    #[test]
    fn a_state_that_an_announcement_swallowed_is_read() {
        let mut tracker = tracker();
        tracker.loaded(PATH);
        assert!(tracker.is_unread(PATH));
        let read = tracker.start_read();
        assert_eq!(read.patterns, ["a.service"]);
        assert!(!tracker.has_unread());
        let rows = [(PATH, "loaded", "active", "exited"), ("/other", "loaded", "active", "running")];
        assert_eq!(tracker.read(read, rows.into_iter()), [notice("loaded", "active", "exited")]);
    }

    #[test]
    fn a_state_that_was_told_after_all_is_not_read() {
        let mut tracker = tracker();
        tracker.loaded(PATH);
        assert!(tracker.changed(PATH, Some("activating"), Some("start")).is_some());
        assert!(!tracker.has_unread());
    }

    #[test]
    fn a_signal_without_states_leads_to_a_read() {
        let mut tracker = tracker();
        assert_eq!(tracker.changed(PATH, None, Some("dead")), None);
        assert!(tracker.has_unread());
    }

    #[test]
    fn what_a_read_does_not_find_is_not_loaded() {
        let mut tracker = tracker();
        assert!(tracker.changed(PATH, Some("active"), Some("running")).is_some());
        tracker.reloaded();
        let read = tracker.start_read();
        assert_eq!(tracker.read(read, std::iter::empty()), [notice("loaded", "inactive", "dead")]);
        // Nothing was ever told, and nothing has changed since: there is nothing to tell.
        tracker.forget();
        tracker.loaded(PATH);
        let read = tracker.start_read();
        assert_eq!(tracker.read(read, std::iter::empty()), []);
    }

    #[test]
    fn a_reload_may_change_the_load_state() {
        let mut tracker = tracker();
        assert!(tracker.changed(PATH, Some("active"), Some("running")).is_some());
        tracker.reloaded();
        let read = tracker.start_read();
        let rows = [(PATH, "not-found", "active", "running")];
        assert_eq!(tracker.read(read, rows.into_iter()), [notice("not-found", "active", "running")]);
        tracker.learn(&UnitName::parse("a.service").unwrap(), "loaded");
        let stopped = Some(notice("loaded", "inactive", "dead"));
        assert_eq!(tracker.changed(PATH, Some("inactive"), Some("dead")), stopped);
    }

    #[test]
    fn many_units_are_read_at_once() {
        let mut tracker = Tracker::default();
        for number in 0..=PATTERNS {
            tracker.add(&UnitName::parse(&format!("u{number}.service")).unwrap());
        }
        tracker.reloaded();
        assert_eq!(tracker.start_read().patterns, Vec::<String>::new());
    }
}
