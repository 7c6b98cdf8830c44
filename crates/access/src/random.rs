//! Chance from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gives no random bytes: nothing secret can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct RandomError;

/// `N` random bytes.
///
/// # Errors
/// [`RandomError`].
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` with random ones.
///
/// # Errors
/// [`RandomError`].
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    SystemRandom::new().fill(bytes).map_err(|_| RandomError)
}

/// A text of `length` characters, each drawn evenly from `alphabet` (ASCII, 1 to 256 characters).
///
/// # Errors
/// [`RandomError`].
pub(crate) fn text(alphabet: &[u8], length: usize) -> Result<String, RandomError> {
    // A byte at or above the greatest multiple of the alphabet's size would favour its first characters.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in bytes::<32>()? {
            let byte = usize::from(byte);
            if byte < fair && text.len() < length {
                text.push(char::from(alphabet[byte % alphabet.len()]));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn text_has_its_length_and_uses_the_whole_alphabet() {
        let text = text(b"abc", 600).unwrap();
        assert_eq!(text.len(), 600);
        let letters: BTreeSet<char> = text.chars().collect();
        assert_eq!(letters, BTreeSet::from(['a', 'b', 'c']));
    }

    #[test]
    fn no_two_draws_are_alike() {
        assert_ne!(bytes::<16>().unwrap(), bytes::<16>().unwrap());
    }
}
