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
    /// the others.
    pub(super) fn paths(&self, system: &dyn FileSystem, found: &mut BTreeSet<PathBuf>) {
        walk(system, &self.parts, Path::new("/"), found);
    }
}

fn walk(system: &dyn FileSystem, parts: &[Part], base: &Path, found: &mut BTreeSet<PathBuf>) {
    let Some((first, rest)) = parts.split_first() else {
        found.insert(base.to_owned());
        return;
    };
    match first {
        Part::Name(name) => {
            let path = base.join(name);
            if rest.is_empty() && system.look(&path, false).is_err() {
                return;
            }
            walk(system, rest, &path, found);
        }
        Part::Pattern(pattern) => {
            for (path, kind) in system.list(base).unwrap_or_default() {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                if (rest.is_empty() || kind != Kind::File) && matches(pattern, name) {
                    walk(system, rest, &path, found);
                }
            }
        }
        Part::Deep => deep(system, rest, base, DEPTH, found),
    }
}

fn deep(system: &dyn FileSystem, rest: &[Part], base: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    if !rest.is_empty() {
        walk(system, rest, base, found);
    }
    let entries = system.list(base).unwrap_or_default();
    for (path, kind) in entries {
        match kind {
            // Links are not followed: they may lead in circles.
            Kind::Directory if depth > 0 => deep(system, rest, &path, depth - 1, found),
            Kind::File if rest.is_empty() => {
                found.insert(path);
            }
            _ => {}
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
    fn trees_are_searched() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "a/b/y.log", "a/b/c/z.log", "a/b/n.txt"] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(root.path().join(path), "").unwrap();
        }
        let find = |pattern: &str, recursive| {
            let mut found = BTreeSet::new();
            let text = format!("{}/{pattern}", root.path().display());
            Glob::parse(&text, recursive).unwrap().paths(&Local, &mut found);
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
