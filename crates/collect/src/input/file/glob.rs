//! Patterns of paths: `*`, `?`, `[a-z]` and `\` within a name, and `**` for any number of directories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::system::{FileSystem, Kind};

/// `**` means this many directories at most.
const DEPTH: usize = 8;

/// A pattern of absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A name without anything special.
    Name(String),
    Pattern(Vec<char>),
    /// Any number of directories.
    Deep,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is not absolute, or has a `[` without its `]`.
    pub(super) fn parse(text: &str, recursive: bool) -> Result<Glob, String> {
        if !text.starts_with('/') {
            return Err(format!("{text:?} is not absolute: begin it with /"));
        }
        let mut parts = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            parts.push(match part {
                "**" if recursive => Part::Deep,
                _ if part.contains(['*', '?', '[', '\\']) => {
                    let pattern: Vec<char> = part.chars().collect();
                    check(&pattern)
                        .ok_or_else(|| format!("{text:?} has a [ without its ], or ends in \\"))?;
                    Part::Pattern(pattern)
                }
                _ => Part::Name(part.to_owned()),
            });
        }
        Ok(Glob { parts })
    }

    /// All paths that fit, each once. What cannot be read is left out: a directory without permission must not hide
    /// the others. `watch` is called with each directory whose changes may change the answer, before it is read.
    pub(super) fn paths(
        &self,
        system: &dyn FileSystem,
        watch: &mut dyn FnMut(&Path),
        found: &mut BTreeSet<PathBuf>,
    ) {
        Walk { system, watch, found }.walk(&self.parts, Path::new("/"));
    }

    /// Whether a file of this path would be found.
    pub(super) fn fits(&self, path: &Path) -> bool {
        names(path).is_some_and(|names| fits(&self.parts, &names))
    }

    /// Whether files in or below a directory of this path could be found.
    pub(super) fn leads_through(&self, directory: &Path) -> bool {
        names(directory).is_some_and(|names| leads_through(&self.parts, &names))
    }
}

/// The names of a path; `None` if one is no text, which no pattern fits.
fn names(path: &Path) -> Option<Vec<&str>> {
    path.iter().skip(1).map(|name| name.to_str()).collect()
}

fn fits(parts: &[Part], names: &[&str]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return names.is_empty() };
    match first {
        Part::Deep if rest.is_empty() => (1..=DEPTH + 1).contains(&names.len()),
        Part::Deep => (0..=DEPTH.min(names.len())).any(|skipped| fits(rest, &names[skipped..])),
        _ => names.split_first().is_some_and(|(name, names)| first.is(name) && fits(rest, names)),
    }
}

fn leads_through(parts: &[Part], names: &[&str]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return false };
    let Some((name, names)) = names.split_first() else { return true };
    match first {
        Part::Deep => true,
        _ => first.is(name) && leads_through(rest, names),
    }
}

impl Part {
    fn is(&self, name: &str) -> bool {
        match self {
            Part::Name(own) => own == name,
            Part::Pattern(pattern) => matches(pattern, name),
            Part::Deep => false,
        }
    }
}

/// A walk through the directories that a pattern leads to.
struct Walk<'a> {
    system: &'a dyn FileSystem,
    watch: &'a mut dyn FnMut(&Path),
    found: &'a mut BTreeSet<PathBuf>,
}

impl Walk<'_> {
    fn walk(&mut self, parts: &[Part], base: &Path) {
        let Some((first, rest)) = parts.split_first() else {
            self.found.insert(base.to_owned());
            return;
        };
        match first {
            Part::Name(name) => {
                let path = base.join(name);
                if self.is_there(&path, base, rest.is_empty()) {
                    self.walk(rest, &path);
                }
            }
            Part::Pattern(pattern) => {
                for (path, kind) in self.list(base) {
                    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                    if (rest.is_empty() || kind != Kind::File) && matches(pattern, name) {
                        self.walk(rest, &path);
                    }
                }
            }
            Part::Deep => self.deep(rest, base, DEPTH),
        }
    }

    /// Whether there is something at the path. A directory that is there need not be watched for that: when it goes
    /// away, its own watch tells.
    fn is_there(&mut self, path: &Path, base: &Path, is_last: bool) -> bool {
        if !is_last && self.system.look(path, true).is_ok() {
            return true;
        }
        (self.watch)(base);
        self.system.look(path, !is_last).is_ok()
    }

    fn list(&mut self, directory: &Path) -> Vec<(PathBuf, Kind)> {
        (self.watch)(directory);
        self.system.list(directory).unwrap_or_default()
    }

    fn deep(&mut self, rest: &[Part], base: &Path, depth: usize) {
        if !rest.is_empty() {
            self.walk(rest, base);
        }
        for (path, kind) in self.list(base) {
            match kind {
                // Links are not followed: they may lead in circles.
                Kind::Directory if depth > 0 => self.deep(rest, &path, depth - 1),
                Kind::File if rest.is_empty() => {
                    self.found.insert(path);
                }
                _ => {}
            }
        }
    }
}

fn check(pattern: &[char]) -> Option<()> {
    let mut index = 0;
    while index < pattern.len() {
        match pattern[index] {
            '\\' => index += 2,
            '[' => index = class(pattern, index, None)?.0,
            _ => index += 1,
        }
    }
    (index == pattern.len()).then_some(())
}

/// Where the class that opens here ends, and whether the letter is in it.
fn class(pattern: &[char], open: usize, letter: Option<char>) -> Option<(usize, bool)> {
    let mut index = open + 1;
    let negated = matches!(pattern.get(index), Some('^' | '!'));
    if negated {
        index += 1;
    }
    let first = index;
    let mut inside = false;
    loop {
        let mut low = *pattern.get(index)?;
        if low == ']' && index > first {
            return Some((index + 1, inside != negated));
        }
        if low == '\\' {
            index += 1;
            low = *pattern.get(index)?;
        }
        let mut high = low;
        if pattern.get(index + 1) == Some(&'-') && pattern.get(index + 2).is_some_and(|next| *next != ']') {
            high = pattern[index + 2];
            index += 2;
        }
        inside |= letter.is_some_and(|letter| (low..=high).contains(&letter));
        index += 1;
    }
}

/// Whether a name fits a pattern. In time of their product: a `*` goes back to the last one only.
fn matches(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut pos) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while pos < name.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, pos));
                at += 1;
                continue;
            }
            Some('?') => Some(at + 1),
            Some('[') => {
                class(pattern, at, Some(name[pos])).filter(|(_, inside)| *inside).map(|(end, _)| end)
            }
            Some('\\') => (pattern.get(at + 1) == Some(&name[pos])).then_some(at + 2),
            Some(letter) => (*letter == name[pos]).then_some(at + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                at = next;
                pos += 1;
            }
            (None, Some((star_at, star_pos))) => {
                star = Some((star_at, star_pos + 1));
                at = star_at + 1;
                pos = star_pos + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::super::system::Local;
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        matches(&pattern.chars().collect::<Vec<_>>(), name)
    }

    #[test]
    fn names_fit_patterns() {
        for (pattern, name) in [
            ("*.log", "a.log"),
            ("a*b*c", "aXbYbZc"),
            ("[a-c]?", "bz"),
            ("[^a]", "b"),
            ("\\*", "*"),
            ("*", "x"),
            ("[]]", "]"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.log", "a.log.1"), ("[a-c]", "d"), ("a", "ab"), ("?", ""), ("[!x]", "x")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(Glob::parse("/a/[b", true).is_err());
        assert!(Glob::parse("a/b", true).is_err());
    }

    #[test]
    fn paths_are_judged_as_they_would_be_found() {
        let glob = |text| Glob::parse(text, true).unwrap();
        for (pattern, path, found) in [
            ("/a/*.log", "/a/x.log", true),
            ("/a/*.log", "/a/b/x.log", false),
            ("/a/*.log", "/a", false),
            ("/a/**/*.log", "/a/x.log", true),
            ("/a/**/*.log", "/a/1/2/3/4/5/6/7/8/x.log", true),
            ("/a/**/*.log", "/a/1/2/3/4/5/6/7/8/9/x.log", false),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/a", false),
        ] {
            assert_eq!(glob(pattern).fits(Path::new(path)), found, "{pattern} {path}");
        }
        for (pattern, path, leads) in [
            ("/a/*/x.log", "/a/b", true),
            ("/a/*/x.log", "/a/b/c", false),
            ("/a/b/x.log", "/a/c", false),
            ("/a/b/x.log", "/a/b/x.log", false),
            ("/a/**/x.log", "/a/b/c/d", true),
        ] {
            assert_eq!(glob(pattern).leads_through(Path::new(path)), leads, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_in_what_is() {
        let root = tempfile::tempdir().unwrap();
        let glob = Glob::parse(&format!("{}/new/deep/*.log", root.path().display()), true).unwrap();
        let watched = || {
            let mut watched = Vec::new();
            glob.paths(&Local, &mut |path| watched.push(path.to_owned()), &mut BTreeSet::new());
            watched
        };
        assert_eq!(watched(), [root.path()]);
        std::fs::create_dir_all(root.path().join("new/deep")).unwrap();
        assert_eq!(watched(), [root.path().join("new/deep")]);
    }

    #[test]
    fn trees_are_searched() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "a/b/y.log", "a/b/c/z.log", "a/b/n.txt"] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(path), "").unwrap();
        }
        let find = |pattern: &str, recursive| {
            let mut found = BTreeSet::new();
            let text = format!("{}/{pattern}", root.path().display());
            let glob = Glob::parse(&text, recursive).unwrap();
            let mut watched = BTreeSet::new();
            let mut watch = |path: &Path| {
                watched.insert(path.to_owned());
            };
            glob.paths(&Local, &mut watch, &mut found);
            for path in &found {
                assert!(glob.fits(path), "{}", path.display());
                assert!(watched.contains(path.parent().unwrap()), "{}", path.display());
            }
            for path in &watched {
                assert!(glob.leads_through(path), "{}", path.display());
            }
            let short = |path: &PathBuf| path.strip_prefix(root.path()).unwrap().display().to_string();
            found.iter().map(short).collect::<Vec<_>>()
        };
        assert_eq!(find("**/*.log", true), ["a/b/c/z.log", "a/b/y.log", "a/x.log"]);
        assert_eq!(find("a/*/*.log", true), ["a/b/y.log"]);
        assert_eq!(find("a/b/**", true), ["a/b/c/z.log", "a/b/n.txt", "a/b/y.log"]);
        assert_eq!(find("a/**/*.log", false), ["a/b/y.log"]);
        assert_eq!(find("a/x.log", true), ["a/x.log"]);
        assert_eq!(find("a/none.log", true), Vec::<String>::new());
    }
}
