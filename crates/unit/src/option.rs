//! One option of a unit file.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A `Name=Value` line and the section that it stands in.
///
/// As JSON it is the API's own form: keys in alphabetical order, empty ones left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitOption {
    /// The option's name: `ExecStart`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The section's name without brackets: `Service`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub section: String,
    /// The value. A continuation is kept: a backslash and a newline.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl UnitOption {
    /// An option of these parts, in the order in which they stand in a file.
    pub fn new(section: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> UnitOption {
        UnitOption { name: name.into(), section: section.into(), value: value.into() }
    }

    /// Bytes of the first line that it takes in a file.
    pub(crate) fn first_line_length(&self) -> usize {
        self.name.len() + 1 + self.value.find('\n').unwrap_or(self.value.len())
    }
}

impl fmt::Display for UnitOption {
    /// As it stands in a file: `Name=Value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}
