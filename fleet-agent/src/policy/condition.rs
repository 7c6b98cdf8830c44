//! Conditions of inputs and streams: a small language of comparisons, `and`/`or`/`not`, arithmetic and functions over
//! variables, as documented for agents (a part of EQL).
//!
//! A variable that is not known is `null`. The outcome must be true or false.

mod eval;
mod functions;
mod parse;
mod tokens;

pub use eval::EvalError;
pub use parse::ParseError;

use super::variables::Facts;

/// Why a condition decides nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConditionError {
    /// It cannot be read.
    #[error("the condition cannot be read")]
    Parse(#[source] ParseError),
    /// It cannot be worked out.
    #[error("the condition cannot be worked out")]
    Eval(#[source] EvalError),
}

/// Whether a condition holds.
///
/// # Errors
/// [`ConditionError`].
pub fn holds(text: &str, facts: &Facts) -> Result<bool, ConditionError> {
    let parsed = parse::parse(text).map_err(ConditionError::Parse)?;
    eval::outcome(&parsed, facts).map_err(ConditionError::Eval)
}

#[cfg(test)]
mod tests;
