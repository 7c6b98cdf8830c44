//! Answers that share most of their body, compressed once.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The head of a gzip stream without name, time and system (RFC 1952, 2.3).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The most bytes of a stored block of deflate (RFC 1951, 3.2.4).
const LARGEST_STORED: usize = 65_535;

/// A part of a body that many answers have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// As it is.
    pub(super) plain: Bytes,
    /// Whole blocks of deflate, none of them the last.
    deflated: Bytes,
    crc: Crc,
}

impl Shared {
    /// Compresses `plain` at `level` (0 to 9).
    #[must_use]
    pub(super) fn new(plain: Bytes, level: u32) -> Shared {
        let mut compress = Compress::new(Compression::new(level.min(9)), false);
        let mut deflated = Vec::with_capacity(plain.len() / 3 + 64);
        // A sync flush ends at a byte, so that other blocks can follow. It is done when there is room left.
        loop {
            deflated.reserve(1024 + plain.len() / 8);
            let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
            let rest = plain.get(done..).unwrap_or_default();
            let status = compress.compress_vec(rest, &mut deflated, FlushCompress::Sync);
            if !matches!(status, Ok(Status::Ok)) || deflated.len() < deflated.capacity() {
                break;
            }
        }
        let mut crc = Crc::new();
        crc.update(&plain);
        Shared { plain, deflated: deflated.into(), crc }
    }

    /// The gzip stream of `before`, this, and `after`. `before` and `after` are stored as they are: they are
    /// short.
    #[must_use]
    pub(super) fn gzip(&self, before: &[u8], after: &[u8]) -> Vec<Bytes> {
        let mut crc = Crc::new();
        crc.update(before);
        crc.combine(&self.crc);
        crc.update(after);
        let mut head = Vec::with_capacity(HEAD.len() + before.len() + 16);
        head.extend_from_slice(&HEAD);
        store(&mut head, before, false);
        let mut tail = Vec::with_capacity(after.len() + 16);
        store(&mut tail, after, true);
        tail.extend_from_slice(&crc.sum().to_le_bytes());
        tail.extend_from_slice(&crc.amount().to_le_bytes());
        vec![head.into(), self.deflated.clone(), tail.into()]
    }
}

fn store(into: &mut Vec<u8>, bytes: &[u8], is_last: bool) {
    let mut rest = bytes;
    loop {
        let (block, after) = rest.split_at(rest.len().min(LARGEST_STORED));
        let is_final = is_last && after.is_empty();
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        into.push(u8::from(is_final));
        into.extend_from_slice(&length.to_le_bytes());
        into.extend_from_slice(&(!length).to_le_bytes());
        into.extend_from_slice(block);
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decoded(pieces: &[Bytes]) -> Vec<u8> {
        let whole = pieces.concat();
        let mut decoder = GzDecoder::new(whole.as_slice());
        let mut decoded = Vec::new();
        decoder.read_to_end(&mut decoded).unwrap();
        decoded
    }

    proptest! {
        #[test]
        fn one_stream_holds_all_three(
            before in prop::collection::vec(any::<u8>(), 0..300),
            shared in "[a-d{}\":,]{0,20000}",
            after in prop::collection::vec(any::<u8>(), 0..10),
            level in 0_u32..10,
        ) {
            let shared = Shared::new(Bytes::from(shared), level);
            let whole = [&before, &shared.plain[..], &after].concat();
            prop_assert_eq!(decoded(&shared.gzip(&before, &after)), whole);
        }
    }

    #[test]
    fn large_parts_are_divided() {
        let random: Vec<u8> =
            (0..300_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let shared = Shared::new(Bytes::from(random.clone()), 1);
        let whole = [random.as_slice(), &random, &random].concat();
        assert_eq!(decoded(&shared.gzip(&random, &random)), whole);
    }

    #[test]
    fn texts_become_small() {
        let shared = Shared::new(Bytes::from("policy ".repeat(2000)), 1);
        assert!(shared.gzip(b"", b"").concat().len() < 400);
    }
}
