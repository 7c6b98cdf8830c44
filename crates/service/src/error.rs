//! Errors as a person reads them.

use std::error::Error;

/// An error with everything that caused it, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn all_causes_are_told_in_their_order() {
        let error = Outer("the file cannot be read", io::Error::other("the disk is away"));
        assert_eq!(chain(&error), "the file cannot be read: the disk is away");
        assert_eq!(chain(&io::Error::other("alone")), "alone");
    }
}
