//! Errors with all of their causes, for people.

use std::error::Error;

/// The error, and what it comes from, as far as that is told.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
