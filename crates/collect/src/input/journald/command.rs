//! What journalctl is asked for. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::matches::Filter;

/// Which entries of which journal are wanted.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// journalctl, by name or path.
    pub(super) program: PathBuf,
    /// Entries of these units, and what systemd says about them.
    pub(super) units: Vec<String>,
    /// Everything else.
    pub(super) filter: Filter,
    /// Journals of other machines too.
    pub(super) merge: bool,
}

/// A journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// This machine's.
    Local,
    /// A directory with journals, those that will be put there too.
    Directory(PathBuf),
    /// A file, or files by a pattern.
    File(PathBuf),
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At the oldest entry.
    Head,
    /// At this moment.
    Since(OffsetDateTime),
    /// At this entry, or the next if it is not there any more. It comes again: journalctl's `--after-cursor` would
    /// skip an entry that nobody has read, when the one at the cursor has been vacuumed.
    At(String),
}

impl Source {
    /// Of an item of `paths`; a directory may come to be later, but then it must end with a slash to be known for one.
    pub(super) fn of(path: &str) -> Source {
        if path.is_empty() || path == "LOCAL_SYSTEM_JOURNAL" {
            return Source::Local;
        }
        let is_directory = path.ends_with('/') || PathBuf::from(path).is_dir();
        if is_directory { Source::Directory(path.into()) } else { Source::File(path.into()) }
    }

    /// Where its cursor is kept.
    pub(super) fn key(&self) -> String {
        match self {
            Source::Local => "cursor".to_owned(),
            Source::Directory(path) | Source::File(path) => {
                format!("cursor:{}", path.display().to_string().trim_end_matches('/'))
            }
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Source::Local => "the journal".to_owned(),
            Source::Directory(path) | Source::File(path) => format!("the journal {}", path.display()),
        }
    }

    fn argument(&self) -> Option<OsString> {
        let (option, path) = match self {
            Source::Local => return None,
            Source::Directory(path) => ("--directory=", path),
            Source::File(path) => ("--file=", path),
        };
        let mut argument = OsString::from(option);
        argument.push(path);
        Some(argument)
    }
}

impl Query {
    /// Whether [`Query::until_now`] has to be read before [`Query::follow`]: some versions of journalctl that follow
    /// this machine's journal leave out what is older than its last start.
    pub(super) fn needs_past(&self, source: &Source) -> bool {
        *source == Source::Local && !self.merge
    }

    /// Arguments that read from this place until the newest entry.
    pub(super) fn until_now(&self, source: &Source, start: &Start) -> Vec<OsString> {
        self.arguments(source, start, &["--quiet"])
    }

    /// Arguments that follow the journal from this place on.
    pub(super) fn follow(&self, source: &Source, start: &Start) -> Vec<OsString> {
        self.arguments(source, start, &["--follow", "--no-tail"])
    }

    fn arguments(&self, source: &Source, start: &Start, options: &[&str]) -> Vec<OsString> {
        let mut arguments = self.common(source);
        arguments.extend(options.iter().map(OsString::from));
        match start {
            Start::Head => {}
            Start::Since(moment) => arguments.push(format!("--since=@{}", moment.unix_timestamp()).into()),
            Start::At(cursor) => arguments.push(format!("--cursor={cursor}").into()),
        }
        // Not matches: journalctl adds what systemd itself says about a unit.
        arguments.extend(self.units.iter().map(|unit| format!("--unit={unit}").into()));
        arguments.push("--".into());
        arguments.extend(self.filter.words().iter().map(OsString::from));
        arguments
    }

    /// Arguments that tell the newest entry, of any kind.
    pub(super) fn newest(&self, source: &Source) -> Vec<OsString> {
        let mut arguments = self.common(source);
        arguments.extend(["--lines=1".into(), "--quiet".into()]);
        arguments
    }

    fn common(&self, source: &Source) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--output=export".into(), "--no-pager".into()];
        arguments.extend(source.argument());
        // Of journals in a directory or file, all is wanted: whichever machine and start they are of.
        if self.merge || *source != Source::Local {
            arguments.push("--merge".into());
        }
        arguments
    }
}

/// Whether two cursors name the same entry: its number in the same sequence. Of a cursor without them, all counts.
pub(super) fn same_entry(one: &str, other: &str) -> bool {
    let part = |cursor: &str, key: &str| {
        cursor.split(';').find_map(|part| part.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    };
    let place = |cursor: &str| Some((part(cursor, "s")?, part(cursor, "i")?));
    one == other || place(one).is_some_and(|place_one| place(other) == Some(place_one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn everything_that_is_asked_for_is_on_the_command_line() {
        let query = Query {
            program: "journalctl".into(),
            units: vec!["a.service".into(), "-x".into()],
            filter: Filter::read("include_matches", Some(&json!(["A=1"])), &[]).unwrap(),
            merge: false,
        };
        let text = |arguments: Vec<OsString>| {
            arguments
                .into_iter()
                .map(|argument| argument.into_string().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            text(query.follow(&Source::Directory("/j".into()), &Start::At("s=1;i=2".into()))),
            "--output=export --no-pager --directory=/j --merge --follow --no-tail --cursor=s=1;i=2 --unit=a.service \
             --unit=-x -- A=1",
        );
        assert_eq!(
            text(query.newest(&Source::File("/j/*.journal".into()))),
            "--output=export --no-pager --file=/j/*.journal --merge --lines=1 --quiet",
        );
        assert_eq!(
            text(query.until_now(&Source::Local, &Start::Head)),
            "--output=export --no-pager --quiet --unit=a.service --unit=-x -- A=1",
        );
        let since = query.follow(&Source::Local, &Start::Since(datetime!(2024-01-01 0:00 UTC)));
        assert!(text(since).contains("--since=@1704067200 "));
    }

    #[test]
    fn cursors_are_compared_by_sequence_and_number() {
        assert!(same_entry("s=a;i=1;b=c;x=1", "s=a;i=1;b=c;x=2"));
        assert!(!same_entry("s=a;i=1;b=c", "s=a;i=2;b=c"));
        assert!(same_entry("odd", "odd") && !same_entry("odd", "even"));
    }
}
