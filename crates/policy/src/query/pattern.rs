//! A value with `*` for any text.

/// A value as a query gives it, with `*` for any text. Upper and lower case are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the asterisks, in lower case; never empty.
    parts: Vec<String>,
}

impl Pattern {
    /// What stands between the asterisks; one part: there are none.
    #[must_use]
    pub fn new(parts: &[String]) -> Pattern {
        let parts: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
        Pattern { parts: if parts.is_empty() { vec![String::new()] } else { parts } }
    }

    /// This very text.
    #[must_use]
    pub fn exactly(text: &str) -> Pattern {
        Pattern { parts: vec![text.to_lowercase()] }
    }

    /// What stands between the asterisks.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The text, if it holds no asterisk.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether any value will do.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.parts.len() > 1 && self.parts.iter().all(String::is_empty)
    }

    /// Whether `value` is of this form.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        if value.is_ascii() {
            // The usual case, asked of every agent: nothing is copied unless an asterisk needs it.
            if let Some(text) = self.text() {
                return text.eq_ignore_ascii_case(value);
            }
            if !value.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return self.matches_lower(value);
            }
        }
        self.matches_lower(&value.to_lowercase())
    }

    fn matches_lower(&self, value: &str) -> bool {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else { return false };
        if self.parts.len() == 1 {
            return value == first;
        }
        let Some(rest) = value.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in &self.parts[1..self.parts.len() - 1] {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}
