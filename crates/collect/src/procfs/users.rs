//! Names of users, from `/etc/passwd`.

use std::fs;
use std::time::SystemTime;

use super::root::Root;
use super::text;

/// The file's users, read again when the file changes. Users of a directory service have their number for a name.
#[derive(Debug, Default)]
pub(crate) struct Users {
    changed: Option<SystemTime>,
    /// By number.
    names: Vec<(u64, String)>,
    buffer: Vec<u8>,
}

impl Users {
    /// Looks whether the file has changed.
    pub(crate) fn refresh(&mut self, root: &Root) {
        let path = root.path("etc/passwd");
        let changed = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if changed.is_some() && changed == self.changed {
            return;
        }
        self.changed = changed;
        self.names.clear();
        if root.read("etc/passwd", &mut self.buffer).is_err() {
            return;
        }
        let user = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((text::number(fields.nth(1)?)?, text::text(name)))
        };
        self.names.extend(text::lines(&self.buffer).filter_map(user));
        // The first line of a number wins, as it does for everyone else.
        self.names.sort_by_key(|(number, _)| *number);
        self.names.dedup_by_key(|(number, _)| *number);
        self.buffer = Vec::new();
    }

    /// The user's name, or its number.
    pub(crate) fn name(&self, number: u64) -> String {
        let found = self.names.binary_search_by_key(&number, |(number, _)| *number).ok();
        let known = found.and_then(|index| self.names.get(index));
        known.map_or_else(|| number.to_string(), |(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbad:x:y:\n:x:5:\nweb:x:33:33::/:\n",
        )
        .unwrap();
        let mut users = Users::default();
        users.refresh(&Root::new(root.path()));
        assert_eq!([users.name(0), users.name(33), users.name(5)], ["root", "web", "5"]);
    }
}
