//! Unit names: `PREFIX[@[INSTANCE]].TYPE`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quote::{Quoted, QuotedChar};

/// The longest name, in bytes (systemd's `UNIT_NAME_MAX`).
pub const MAX_LENGTH: usize = 256;

/// Why a text is not a unit name. The texts are those that clients of the API know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text at all.
    #[error("unit name cannot be empty")]
    Empty,
    /// More than [`MAX_LENGTH`] bytes.
    #[error("unit name exceeds maximum length ({MAX_LENGTH})")]
    TooLong,
    /// Without a dot there is no type.
    #[error("unit name must contain \".\"")]
    NoDot,
    /// Nothing follows the last dot.
    #[error("unit name cannot end in \".\"")]
    EndsInDot,
    /// What follows the last dot is no type of systemd's.
    #[error("invalid unit type: {}", Quoted(.0))]
    UnknownKind(String),
    /// There is an `@`, but this type has no templates.
    #[error("invalid unit type for template: {}", Quoted(.0))]
    KindWithoutTemplates(String),
    /// A character that a name may not contain.
    #[error("invalid character {} in unit name", QuotedChar(*.0))]
    InvalidCharacter(char),
    /// A template needs a prefix.
    #[error("unit name cannot start in \"@\"")]
    StartsWithAt,
}

/// The types of units that a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnitKind {
    /// `.automount`
    Automount,
    /// `.busname`: gone from systemd since version 233
    Busname,
    /// `.device`
    Device,
    /// `.mount`
    Mount,
    /// `.path`
    Path,
    /// `.scope`
    Scope,
    /// `.service`
    Service,
    /// `.slice`
    Slice,
    /// `.snapshot`: gone from systemd since version 228
    Snapshot,
    /// `.socket`
    Socket,
    /// `.swap`
    Swap,
    /// `.target`
    Target,
    /// `.timer`
    Timer,
}

impl UnitKind {
    /// All of them, in the order of their names.
    pub const ALL: [UnitKind; 13] = [
        UnitKind::Automount,
        UnitKind::Busname,
        UnitKind::Device,
        UnitKind::Mount,
        UnitKind::Path,
        UnitKind::Scope,
        UnitKind::Service,
        UnitKind::Slice,
        UnitKind::Snapshot,
        UnitKind::Socket,
        UnitKind::Swap,
        UnitKind::Target,
        UnitKind::Timer,
    ];

    /// As it stands at the end of a name, without the dot.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            UnitKind::Automount => "automount",
            UnitKind::Busname => "busname",
            UnitKind::Device => "device",
            UnitKind::Mount => "mount",
            UnitKind::Path => "path",
            UnitKind::Scope => "scope",
            UnitKind::Service => "service",
            UnitKind::Slice => "slice",
            UnitKind::Snapshot => "snapshot",
            UnitKind::Socket => "socket",
            UnitKind::Swap => "swap",
            UnitKind::Target => "target",
            UnitKind::Timer => "timer",
        }
    }

    fn from_suffix(suffix: &str) -> Option<UnitKind> {
        UnitKind::ALL.into_iter().find(|kind| kind.as_str() == suffix)
    }

    /// Whether `NAME@.TYPE` and `NAME@INSTANCE.TYPE` are names of this type.
    #[must_use]
    pub fn has_templates(self) -> bool {
        matches!(
            self,
            UnitKind::Path | UnitKind::Service | UnitKind::Socket | UnitKind::Target | UnitKind::Timer
        )
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A valid unit name.
///
/// `foo@.service` is a *template*; `foo@bar.service` is an *instance* of it. What follows the first `@` up
/// to the last dot is the instance, so `foo@a@b.service` is the instance `a@b`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

impl UnitName {
    /// Checks a name. What is reported is the first rule that it breaks, in the original's order.
    ///
    /// # Errors
    /// The [`NameError`] of that rule.
    pub fn parse(name: &str) -> Result<UnitName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_LENGTH {
            return Err(NameError::TooLong);
        }
        let (stem, suffix) = name.rsplit_once('.').ok_or(NameError::NoDot)?;
        if suffix.is_empty() {
            return Err(NameError::EndsInDot);
        }
        let kind = UnitKind::from_suffix(suffix).ok_or_else(|| NameError::UnknownKind(suffix.into()))?;
        if stem.contains('@') && !kind.has_templates() {
            return Err(NameError::KindWithoutTemplates(suffix.into()));
        }
        if let Some(c) = stem.chars().find(|c| !is_valid_char(*c)) {
            return Err(NameError::InvalidCharacter(c));
        }
        if stem.starts_with('@') {
            return Err(NameError::StartsWithAt);
        }
        Ok(UnitName(name.to_owned()))
    }

    /// The whole name: systemd's `%n`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its type: systemd's `%N`.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.split().0
    }

    /// The unit's type.
    #[must_use]
    pub fn kind(&self) -> UnitKind {
        // The suffix was checked when the name was made.
        UnitKind::from_suffix(self.split().1).unwrap_or(UnitKind::Service)
    }

    /// What stands before the first `@`, or the stem if there is none: `%p`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let stem = self.stem();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// What stands between the first `@` and the last dot: `%i`. `None` for templates and plain names.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance).filter(|instance| !instance.is_empty())
    }

    /// Whether it is a template: it has an `@`, and no instance.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.stem().split_once('@').is_some_and(|(_, instance)| instance.is_empty())
    }

    /// Whether it is an instance of a template.
    #[must_use]
    pub fn is_instance(&self) -> bool {
        self.instance().is_some()
    }

    /// The template that this is an instance of.
    #[must_use]
    pub fn template(&self) -> Option<UnitName> {
        self.instance().map(|_| UnitName(format!("{}@.{}", self.prefix(), self.split().1)))
    }

    fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or((&self.0, ""))
    }
}

fn is_valid_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@')
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for UnitName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<UnitName, NameError> {
        UnitName::parse(name)
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl Serialize for UnitName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitName, D::Error> {
        let name = String::deserialize(deserializer)?;
        UnitName::parse(&name).map_err(serde::de::Error::custom)
    }
}
