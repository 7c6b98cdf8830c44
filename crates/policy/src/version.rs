//! Versions of agents, in their order.

use std::fmt;

/// The numbers of a version. What follows them (`-SNAPSHOT`, `+build…`) makes no difference to what an agent can
/// do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second; 0 if it is not given.
    pub minor: u32,
    /// The third; 0 if it is not given.
    pub patch: u32,
}

impl Version {
    /// Reads one to three numbers with dots between them. `None`: it is no version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = [0; 3];
        for (number, place) in numbers.split('.').zip(0..) {
            *parts.get_mut(place)? = number.parse().ok()?;
        }
        let [major, minor, patch] = parts;
        Some(Version { major, minor, patch })
    }

    /// Whether it is of a later release than `other`, however patched that is.
    #[must_use]
    pub fn is_later_release_than(self, other: Version) -> bool {
        (self.major, self.minor) > (other.major, other.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order() {
        let of = |text| Version::parse(text).unwrap();
        assert!(of("8.15.3") < of("8.16.0") && of("9.6") < of("10"));
        assert_eq!(of("9.6.0-SNAPSHOT"), of("9.6.0+build202601"));
        assert!(of("9.7.0").is_later_release_than(of("9.6.4")));
        assert!(!of("9.6.4").is_later_release_than(of("9.6.0")));
        for text in ["", "latest", "9.6.x", "1.2.3.4", "-1", "99999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
