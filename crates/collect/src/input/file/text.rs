//! From bytes to lines and texts.

use std::borrow::Cow;

use super::options::Charset;

impl Charset {
    /// Where the first line ends: the length of its content, and that with its terminator.
    pub(super) fn line(self, bytes: &[u8]) -> Option<(usize, usize)> {
        match self {
            Charset::Utf8 | Charset::Other(_) => {
                let end = memchr::memchr(b'\n', bytes)?;
                let content = if end > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
                Some((content, end + 1))
            }
            Charset::Utf16(big) => {
                let newline = if big { [0, b'\n'] } else { [b'\n', 0] };
                let carriage = if big { [0, b'\r'] } else { [b'\r', 0] };
                let end = bytes.chunks_exact(2).position(|pair| pair == newline)? * 2;
                let content = if bytes[..end].ends_with(&carriage) { end - 2 } else { end };
                Some((content, end + 2))
            }
        }
    }

    /// The text of a line. Bytes that mean nothing become replacement characters: a line is never lost for them.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Charset::Utf8 => {
                let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
                // Nearly every line is valid, and finding that is much faster than looking for what is not.
                std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
            }
            Charset::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
            Charset::Utf16(true) => encoding_rs::UTF_16BE.decode_with_bom_removal(bytes).0,
            Charset::Utf16(false) => encoding_rs::UTF_16LE.decode_with_bom_removal(bytes).0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_their_charset_says() {
        assert_eq!(Charset::Utf8.line(b"ab\r\ncd"), Some((2, 4)));
        assert_eq!(Charset::Utf8.line(b"ab"), None);
        let text: Vec<u8> = "a\u{0a00}b\r\nc".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Charset::Utf16(false).line(&text), Some((6, 10)));
        assert_eq!(Charset::Utf16(false).decode(&text[..6]), "a\u{0a00}b");
        assert_eq!(Charset::Other(encoding_rs::WINDOWS_1252).decode(b"caf\xe9"), "café");
        assert_eq!(Charset::Utf8.decode(b"a\xffb"), "a\u{fffd}b");
    }
}
