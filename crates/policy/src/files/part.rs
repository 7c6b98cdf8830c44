//! Bytes as a document: a part of something larger.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

/// Bytes of each part but a chunk's last: in base64 they fit into a document.
pub const PART: usize = 512 * 1024;

const HEAD: &[u8] = br#"{"data":""#;
const TAIL: &[u8] = br#""}"#;

#[derive(Deserialize)]
struct Part<'a> {
    data: &'a str,
}

/// The document that holds these bytes, written by hand: a value for serde would be one more copy.
#[must_use]
pub fn encode(data: &[u8]) -> Vec<u8> {
    let length = data.len().div_ceil(3) * 4;
    let mut document = vec![0; HEAD.len() + length + TAIL.len()];
    let (head, rest) = document.split_at_mut(HEAD.len());
    let (middle, tail) = rest.split_at_mut(length);
    head.copy_from_slice(HEAD);
    tail.copy_from_slice(TAIL);
    // The length is exactly what is written.
    let written = STANDARD.encode_slice(data, middle);
    debug_assert_eq!(written, Ok(length));
    document
}

/// The bytes in the document. `None`: it holds something else.
#[must_use]
pub fn decode(document: &[u8]) -> Option<Bytes> {
    let part: Part<'_> = serde_json::from_slice(document).ok()?;
    STANDARD.decode(part.data).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 2, 3, 4, 1000, PART - 1, PART] {
            let data: Vec<u8> = (0..=255).cycle().take(length).collect();
            let document = encode(&data);
            assert!(document.len() <= 1024 * 1024);
            assert_eq!(decode(&document).unwrap(), data, "{length}");
        }
        assert!(decode(b"{}").is_none());
        assert!(decode(br#"{"data":"%"}"#).is_none());
    }
}
