//! Reading the texts of `/proc`. Whatever is not as it should be is absent, never an error: kernels differ, and what
//! is under another root need not come from a kernel at all.

/// The words of a line.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The lines of a file.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// A whole number; absent if there is anything else in the word, or the number is too large.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A number with a fraction.
pub(crate) fn real(word: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// The next word as a number.
pub(crate) fn next<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    number(words.next()?)
}

/// A text for a document.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_absent() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"-1", b"1x", b"\xff"] {
            assert_eq!(number(bad), None);
        }
        assert_eq!(real(b"0.25"), Some(0.25));
        assert_eq!(real(b"inf"), None);
        assert_eq!(words(b"  a \t b\n").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
