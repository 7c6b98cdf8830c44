//! The versions that agents and servers say they are.

use std::fmt;
use std::str::FromStr;

/// What every agent's `User-Agent` starts with, in any case.
const USER_AGENT: &str = "elastic agent ";

/// A version `major.minor.patch`. What follows a `-` or a `+` is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes with what is not compatible.
    pub major: u32,
    /// Changes with what is new.
    pub minor: u32,
    /// Changes with what is mended.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version of the form 9.6.0")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Version, VersionError> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Version { major, minor, patch }),
            _ => Err(VersionError(text.to_owned())),
        }
    }
}

/// What is wrong with an agent's `User-Agent`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserAgentError {
    /// It is not an agent's, or it names no version.
    #[error("user-agent is invalid: it is {0:?}, an agent's is \"elastic agent 9.6.0\"")]
    Invalid(String),
    /// The agent is older than [`Version::OLDEST_AGENT`].
    #[error("agent version {0} is not supported: the oldest that is, is {oldest}", oldest = Version::OLDEST_AGENT)]
    TooOld(Version),
}

impl Version {
    /// The oldest agent that is served.
    pub const OLDEST_AGENT: Version = Version { major: 7, minor: 13, patch: 0 };

    /// The version of the agent whose `User-Agent` this is. Real ones write `Elastic Agent v9.6.0`. Any newer
    /// agent than the server is served.
    pub fn of_user_agent(header: &str) -> Result<Version, UserAgentError> {
        let invalid = || UserAgentError::Invalid(header.chars().take(100).collect());
        let prefix = header.get(..USER_AGENT.len()).ok_or_else(invalid)?;
        if !prefix.eq_ignore_ascii_case(USER_AGENT) {
            return Err(invalid());
        }
        let text = header[USER_AGENT.len()..].trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let version: Version = text.parse().map_err(|_| invalid())?;
        if version < Version::OLDEST_AGENT {
            return Err(UserAgentError::TooOld(version));
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_say_their_version_in_several_ways() {
        for (header, version) in [
            ("elastic agent 8.1.0", "8.1.0"),
            ("Elastic Agent v9.6.0", "9.6.0"),
            ("Elastic Agent v9.7.0-SNAPSHOT", "9.7.0"),
            ("elastic agent 99.0.1+build2026", "99.0.1"),
            ("ELASTIC AGENT 7.13.0", "7.13.0"),
        ] {
            assert_eq!(Version::of_user_agent(header).unwrap().to_string(), version, "{header}");
        }
    }

    #[test]
    fn others_are_refused() {
        for header in [
            "",
            "curl/8.1",
            "elastic agent",
            "elastic agent ",
            "elastic agent 8",
            "elastic agent 8.x.0",
            "é",
            "elastic agenté8.1.0",
        ] {
            assert!(matches!(Version::of_user_agent(header), Err(UserAgentError::Invalid(_))), "{header}");
        }
        assert!(matches!(Version::of_user_agent("elastic agent 7.12.9"), Err(UserAgentError::TooOld(_))));
    }
}
