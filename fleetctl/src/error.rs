//! How errors are told: what failed, then why, in one line.

use std::error::Error;
use std::io;

/// The error and everything below it, joined by colons. Errors of the operating system are told as C
/// programs tell them, without a number: scripts match those words.
pub(crate) fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = match error.downcast_ref::<io::Error>() {
            Some(io_error) => io_words(io_error),
            None => error.to_string(),
        };
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&words);
        next = error.source();
    }
    text
}

/// An error of the operating system in its plain words.
pub(crate) fn io_words(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.find(" (os error ")) {
        (Some(_), Some(end)) => {
            let mut characters = text[..end].chars();
            match characters.next() {
                Some(first) => first.to_lowercase().chain(characters).collect(),
                None => text,
            }
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("dial unix /x: connect")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_chain_is_one_line() {
        let error = Outer(io::Error::from_raw_os_error(2));
        assert_eq!(report(&error), "dial unix /x: connect: no such file or directory");
        assert_eq!(report(&Outer(io::Error::other("Own words"))), "dial unix /x: connect: Own words");
    }
}
