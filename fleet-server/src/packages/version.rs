//! Versions of packages: which is newer, and which fit a range.

use std::cmp::Ordering;

use semver::{Version, VersionReq};

/// A condition that nobody can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of versions such as ^8.12.0 || ^9.0.0")]
pub struct BadRange(String);

/// Which version is newer. What is not a version is older than any that is.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    match (Version::parse(a), Version::parse(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// Whether it comes before a release: `1.0.0-beta.1`, and all below 1.0.0.
#[must_use]
pub fn is_prerelease(version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| version.major == 0 || !version.pre.is_empty())
}

/// Takes `<name>-<version>` apart.
#[must_use]
pub fn split_key(key: &str) -> Option<(&str, &str)> {
    key.match_indices('-')
        .map(|(at, _)| (&key[..at], &key[at + 1..]))
        .find(|(name, version)| !name.is_empty() && Version::parse(version).is_ok())
}

/// Whether `version` fits `range`: comparators with spaces between them must all hold, of what `||` divides any
/// may. What stands behind the numbers of `version` (`-SNAPSHOT`) does not count.
///
/// # Errors
/// [`BadRange`].
pub fn fits(range: &str, version: &str) -> Result<bool, BadRange> {
    let bad = || BadRange(range.chars().take(200).collect());
    let version = Version::parse(version).map_err(|_| bad())?;
    let version = Version::new(version.major, version.minor, version.patch);
    for alternative in range.split("||") {
        let requirement = VersionReq::parse(&comparators(alternative)).map_err(|_| bad())?;
        if requirement.matches(&version) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One alternative, as the parser knows it: commas between comparators, and `=` where a version stands alone.
fn comparators(alternative: &str) -> String {
    let mut list: Vec<String> = Vec::new();
    let mut words = alternative.split([' ', ',', '\t']).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if word == "-" {
            // `1.0.0 - 2.0.0`: from the one to the other.
            if let (Some(from), Some(to)) = (list.pop(), words.next()) {
                list.push(format!(">={}", from.trim_start_matches('=')));
                list.push(format!("<={to}"));
            }
            continue;
        }
        let is_operator = word.bytes().all(|byte| matches!(byte, b'<' | b'>' | b'=' | b'^' | b'~'));
        let comparator = match words.peek() {
            Some(_) if is_operator => format!("{word}{}", words.next().unwrap_or_default()),
            _ => word.to_owned(),
        };
        let comparator = comparator.replace("^v", "^").trim_start_matches('v').to_owned();
        let is_bare = comparator.starts_with(|first: char| first.is_ascii_digit());
        let is_open = comparator.contains(['x', 'X', '*']);
        list.push(if is_bare && !is_open { format!("={comparator}") } else { comparator });
    }
    if list.is_empty() { "*".to_owned() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_real_packages() {
        for (range, version, expected) in [
            ("^8.12.0 || ^9.0.0", "9.6.0", true),
            ("^8.12.0||^9.0.0", "8.11.9", false),
            ("^7.14.1 || ^8.0.0", "9.6.0", false),
            (">=8.0.0 <9.7.0", "9.6.0", true),
            (">= 8.0.0 < 9.0.0", "9.6.0", false),
            ("~9.6.0", "9.6.3", true),
            ("~9.6.0", "9.7.0", false),
            ("9.6.0", "9.6.1", false),
            ("9.x", "9.6.1", true),
            ("9.6", "9.6.1", true),
            ("8.0.0 - 9.6.0", "9.6.0", true),
            ("8.0.0 - 9.5.0", "9.6.0", false),
            ("*", "9.6.0", true),
            ("", "9.6.0", true),
            ("^9.6.0", "9.6.0-SNAPSHOT", true),
        ] {
            assert_eq!(fits(range, version), Ok(expected), "{range} {version}");
        }
        for range in ["nine", "^", ">>1", "1.2.3.4", "^8.0.0 ||| ^9.0.0"] {
            assert!(fits(range, "9.6.0").is_err(), "{range}");
        }
    }

    #[test]
    fn versions_in_order() {
        let mut versions = ["1.10.0", "1.9.0", "2.0.0-beta.1", "2.0.0", "none"];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(versions, ["none", "1.9.0", "1.10.0", "2.0.0-beta.1", "2.0.0"]);
        assert!(is_prerelease("0.9.0") && is_prerelease("1.0.0-rc.1") && !is_prerelease("1.0.0"));
    }

    #[test]
    fn keys_of_both_spellings() {
        assert_eq!(split_key("nginx-1.2.3"), Some(("nginx", "1.2.3")));
        assert_eq!(split_key("a-b-1.2.3-beta.1"), Some(("a-b", "1.2.3-beta.1")));
        assert_eq!(split_key("nginx"), None);
        assert_eq!(split_key("my-package"), None);
        assert_eq!(split_key("-1.2.3"), None);
    }
}
