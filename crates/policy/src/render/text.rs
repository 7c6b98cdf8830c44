//! The text of a policy while nobody fetches it.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// Below so many bytes a text is kept as it is: it is small beside what else is known of a policy.
const SMALL: usize = 8 * 1024;

/// The text of a policy. A server knows the newest revision of every policy, and most of them are fetched by nobody at the
/// moment: large ones are compressed, which makes them some ten times smaller.
#[derive(Clone, Debug)]
pub struct PolicyText {
    bytes: Bytes,
    /// Of the text itself, in bytes.
    length: usize,
    is_packed: bool,
}

impl PolicyText {
    /// Keeps a text.
    #[must_use]
    pub fn new(text: String) -> PolicyText {
        let length = text.len();
        let packed = (length > SMALL).then(|| pack(text.as_bytes())).flatten();
        match packed.filter(|packed| packed.len() < length) {
            Some(packed) => PolicyText { bytes: packed.into(), length, is_packed: true },
            None => PolicyText { bytes: text.into(), length, is_packed: false },
        }
    }

    /// How long the text is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The text. Whoever needs it often keeps it.
    #[must_use]
    pub fn text(&self) -> Bytes {
        if !self.is_packed {
            return self.bytes.clone();
        }
        let mut text = Vec::with_capacity(self.length);
        // What was packed here is whole, and memory does not fail.
        let _ = ZlibDecoder::new(&*self.bytes).read_to_end(&mut text);
        text.into()
    }
}

fn pack(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).ok()?;
    let mut packed = encoder.finish().ok()?;
    packed.shrink_to_fit();
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_was() {
        for text in [String::new(), "a".repeat(SMALL), "{\"id\":\"web\"}".repeat(10_000)] {
            let kept = PolicyText::new(text.clone());
            assert_eq!((kept.text(), kept.len()), (Bytes::from(text.clone()), text.len()));
            assert!(kept.bytes.len() <= SMALL, "{}", kept.bytes.len());
        }
    }
}
