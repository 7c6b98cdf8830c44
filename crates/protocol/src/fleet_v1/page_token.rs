//! Page tokens: where a list goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

/// A place in a list: four bytes, page size and page number as little-endian 16-bit numbers, in URL-safe
/// base64 with padding. `ZAACAA==` is the second page of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Entries of a page.
    pub limit: u16,
    /// The page's number, from 1.
    pub page: u16,
}

/// Why a token is refused. The texts are the original's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    /// The parameter stands there more than once.
    #[error("too many values for page token")]
    Repeated,
    /// Not base64.
    #[error("illegal base64 data at input byte {0}")]
    Encoding(usize),
    /// No bytes at all.
    #[error("EOF")]
    Empty,
    /// Fewer than four bytes.
    #[error("unexpected EOF")]
    Short,
    /// The token is of a list with another page size.
    #[error("token limit must be {0}")]
    Limit(u16),
    /// Pages are counted from one.
    #[error("token page must be greater than zero")]
    Page,
}

impl PageToken {
    /// The first page.
    #[must_use]
    pub fn first(limit: u16) -> PageToken {
        PageToken { limit, page: 1 }
    }

    /// The page after this one; `None` where the numbers end.
    #[must_use]
    pub fn next(self) -> Option<PageToken> {
        self.page.checked_add(1).map(|page| PageToken { page, ..self })
    }

    /// The index of the page's first entry.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::from(self.page.saturating_sub(1)) * usize::from(self.limit)
    }

    /// As text.
    #[must_use]
    pub fn encode(self) -> String {
        let ([a, b], [c, d]) = (self.limit.to_le_bytes(), self.page.to_le_bytes());
        URL_SAFE.encode([a, b, c, d])
    }

    /// Reads a token. It may be of another list: see [`PageToken::of_request`].
    ///
    /// # Errors
    /// It is not base64, or too short. Bytes after the fourth are ignored.
    pub fn decode(text: &str) -> Result<PageToken, PageTokenError> {
        let bytes = decode_base64(text.as_bytes()).map_err(PageTokenError::Encoding)?;
        match bytes.as_slice() {
            [] => Err(PageTokenError::Empty),
            [a, b, c, d, ..] => {
                Ok(PageToken { limit: u16::from_le_bytes([*a, *b]), page: u16::from_le_bytes([*c, *d]) })
            }
            _ => Err(PageTokenError::Short),
        }
    }

    /// The page that a request asks for, by all values of its parameter `nextPageToken`, in a list with pages
    /// of `limit` entries. Without any it is the first.
    ///
    /// # Errors
    /// What is wrong with the token.
    pub fn of_request<'a>(
        values: impl IntoIterator<Item = &'a str>,
        limit: u16,
    ) -> Result<PageToken, PageTokenError> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Ok(PageToken::first(limit)) };
        if values.next().is_some() {
            return Err(PageTokenError::Repeated);
        }
        let token = PageToken::decode(value)?;
        if token.limit != limit {
            Err(PageTokenError::Limit(limit))
        } else if token.page == 0 {
            Err(PageTokenError::Page)
        } else {
            Ok(token)
        }
    }
}

/// Decodes URL-safe base64 by the rules of Go's decoder, whose error texts clients see: newlines are
/// skipped, bits left over in the last character are ignored. The error is the offset that Go would name.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut group: Vec<u8> = Vec::with_capacity(4);
    let mut input = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r'));
    while let Some((at, byte)) = input.next() {
        if let Some(value) = base64_value(*byte) {
            group.push(value);
            if group.len() == 4 {
                push_group(&mut bytes, &group);
                group.clear();
            }
            continue;
        }
        if *byte != b'=' || group.len() < 2 {
            return Err(at);
        }
        if group.len() == 2 {
            match input.next() {
                Some((_, b'=')) => {}
                Some((second, _)) => return Err(second - 1),
                None => return Err(text.len()),
            }
        }
        if let Some((garbage, _)) = input.next() {
            return Err(garbage);
        }
        push_group(&mut bytes, &group);
        return Ok(bytes);
    }
    if group.is_empty() { Ok(bytes) } else { Err(text.len() - group.len()) }
}

/// Appends the whole bytes that the values of a group hold, six bits each.
fn push_group(bytes: &mut Vec<u8>, group: &[u8]) {
    let value = |index| u32::from(group.get(index).copied().unwrap_or(0));
    let bits = value(0) << 18 | value(1) << 12 | value(2) << 6 | value(3);
    bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
}

fn base64_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}
