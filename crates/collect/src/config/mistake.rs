//! What is wrong with settings, in words for an operator.

use std::fmt;

/// A setting that cannot be used. Names the setting and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Mistake {
    /// The setting's whole name, such as `ssl.verification_mode`.
    pub field: String,
    /// What is wrong, and the fix.
    pub problem: String,
}

impl Mistake {
    /// A mistake in this setting.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Mistake {
        Mistake { field: field.into(), problem: without_logins(&problem.into()) }
    }
}

/// Addresses are told as they were given, but for who logs in there: mistakes are logged.
fn without_logins(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        // An address that is a mistake may have its parts anywhere.
        let end = after.find(|letter: char| letter == '"' || letter.is_whitespace()).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push_str("<REDACTED>");
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

/// As many mistakes of one unit are told; of the others, how many there are.
const TOLD: usize = 10;

/// All mistakes in the settings of a unit or stream that were found, at most one for each setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one down, unless there is one in the same setting already.
    pub(crate) fn add(&mut self, mistake: Mistake) {
        // What is read in place of a setting that is wrong may be found wrong as well.
        if !self.0.iter().any(|known| known.field == mistake.field) {
            self.0.push(mistake);
        }
    }

    /// The same of settings that are a part of others.
    pub(crate) fn within(self, place: &str) -> Mistakes {
        let inside = |mistake: Mistake| Mistake { field: format!("{place}.{}", mistake.field), ..mistake };
        Mistakes(self.0.into_iter().map(inside).collect())
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Mistakes {
        Mistakes(vec![mistake])
    }
}

impl IntoIterator for Mistakes {
    type Item = Mistake;
    type IntoIter = std::vec::IntoIter<Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().take(TOLD).enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{mistake}")?;
        }
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more mistakes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logs_in_is_not_told() {
        let mistake = Mistake::new("hosts", r#""http://u:secret@[bad" and https://u:se/cret@h/p@q are none"#);
        assert_eq!(
            mistake.to_string(),
            r#"hosts: "http://<REDACTED>@[bad" and https://<REDACTED>@q are none"#
        );
        for plain in ["give it as https://engine:9200", "a@b is no address", "://"] {
            assert_eq!(Mistake::new("hosts", plain).problem, plain);
        }
    }
}
