//! What a query asks of one field.

use super::pattern::Pattern;
use crate::timestamp::Timestamp;
use crate::version::Version;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A text.
    Text(String),
    /// A version.
    Version(Version),
    /// A moment.
    Time(Timestamp),
    /// A number.
    Number(i64),
}

/// What a query asks of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// That it has a value.
    Exists,
    /// That a value of it is of this form.
    Like(Pattern),
    /// That it lies from the first moment on, and before the second.
    Within(Timestamp, Timestamp),
    /// That it is the number.
    Equals(i64),
    /// That it is so compared with the bound.
    Compares(Comparison, Bound),
}

impl Comparison {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    fn holds<T: Ord>(self, value: &T, bound: &T) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::LessOrEqual => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::GreaterOrEqual => value >= bound,
        }
    }
}

impl Test {
    /// Whether a text passes. An empty one is no value.
    #[must_use]
    pub fn text(&self, value: &str) -> bool {
        match self {
            Test::Exists => !value.is_empty(),
            Test::Like(pattern) => pattern.matches(value),
            Test::Compares(comparison, Bound::Text(bound)) => {
                !value.is_empty() && comparison.holds(&value, &bound.as_str())
            }
            _ => false,
        }
    }

    /// Whether a version passes. One that cannot be read compares with nothing.
    #[must_use]
    pub fn version(&self, value: &str) -> bool {
        match self {
            Test::Compares(comparison, Bound::Version(bound)) => {
                Version::parse(value).is_some_and(|version| comparison.holds(&version, bound))
            }
            _ => self.text(value),
        }
    }

    /// Whether a moment passes.
    #[must_use]
    pub fn time(&self, value: Option<Timestamp>) -> bool {
        let Some(value) = value else { return false };
        match self {
            Test::Exists => true,
            Test::Within(from, until) => *from <= value && value < *until,
            Test::Compares(comparison, Bound::Time(bound)) => comparison.holds(&value, bound),
            _ => false,
        }
    }

    /// Whether a number passes.
    #[must_use]
    pub fn number(&self, value: u64) -> bool {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match self {
            Test::Exists => true,
            Test::Equals(number) => value == *number,
            Test::Compares(comparison, Bound::Number(bound)) => comparison.holds(&value, bound),
            _ => false,
        }
    }

    /// Whether a number of any kind passes, which is written as `text`.
    #[must_use]
    pub fn any_number(&self, value: f64, text: &str) -> bool {
        let Test::Compares(comparison, Bound::Text(bound)) = self else { return self.text(text) };
        bound.parse::<f64>().is_ok_and(|bound| match comparison {
            Comparison::Less => value < bound,
            Comparison::LessOrEqual => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::GreaterOrEqual => value >= bound,
        })
    }

    /// Whether `true` or `false` passes.
    #[must_use]
    pub fn bool(&self, value: bool) -> bool {
        self.text(if value { "true" } else { "false" })
    }
}
