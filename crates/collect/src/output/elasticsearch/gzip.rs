//! Compression of requests.
//!
//! A compressor of zlib's kind moves its tables along with its window of 32 KiB: at the fastest level that takes as long
//! as finding the repetitions does. So each piece is compressed from a fresh start, knowing the end of the one before
//! it as a dictionary (RFC 1951 lets a block refer to any 32 KiB before it): events of a stream are much alike, and the
//! last few have most of what the next ones repeat.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// The longest piece. With its dictionary it is less than two windows: the tables are never moved.
pub(super) const PIECE: usize = 48 * 1024;

/// What is known of the piece before.
const DICTIONARY: usize = 8 * 1024;

/// RFC 1952: deflate, no name, no time, nothing of the algorithm, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// As much room is made for what comes out at once.
const ROOM: usize = 16 * 1024;

/// A file of gzip while it is made.
pub(super) struct Packer {
    compress: Compress,
    /// Begins anew with each piece. At other levels, finding repetitions takes the time, and the size counts.
    restarts: bool,
    checksum: crc32fast::Hasher,
    /// The end of what was packed last.
    before: Vec<u8>,
    out: Vec<u8>,
}

impl Packer {
    /// For so many bytes, about.
    pub(super) fn new(level: u32, size: usize) -> Packer {
        // Logs shrink to a tenth and less.
        let mut out = Vec::with_capacity(size / 8 + ROOM);
        out.extend_from_slice(&HEADER);
        Packer {
            compress: Compress::new(Compression::new(level), false),
            restarts: level == 1,
            checksum: crc32fast::Hasher::new(),
            before: Vec::with_capacity(DICTIONARY),
            out,
        }
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        if !self.restarts {
            return self.run(bytes, FlushCompress::None);
        }
        for piece in bytes.chunks(PIECE) {
            self.compress.reset();
            if !self.before.is_empty() {
                self.compress.set_dictionary(&self.before).map_err(io::Error::other)?;
            }
            // Up to a whole byte, where the next one can begin.
            self.run(piece, FlushCompress::Sync)?;
            self.before.clear();
            self.before.extend_from_slice(&piece[piece.len().saturating_sub(DICTIONARY)..]);
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        if self.restarts {
            self.compress.reset();
        }
        self.run(&[], FlushCompress::Finish)?;
        // The length counts modulo 2^32.
        let length = self.checksum.total_len().to_le_bytes();
        self.out.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        self.out.extend_from_slice(&length[..4]);
        Ok(self.out)
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            self.out.reserve(ROOM);
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(input, &mut self.out, flush).map_err(io::Error::other)?;
            let used = usize::try_from(self.compress.total_in() - before).map_err(io::Error::other)?;
            input = input.get(used..).unwrap_or_default();
            // While there is room left, nothing is held back.
            let is_out = input.is_empty() && self.out.len() < self.out.capacity();
            if status == Status::StreamEnd || (flush != FlushCompress::Finish && is_out) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn packed(level: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut packer = Packer::new(level, 0);
        parts.iter().for_each(|part| packer.add(part).unwrap());
        packer.finish().unwrap()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        // Repeats itself farther apart than a dictionary is long, and closer.
        let events: Vec<u8> = (0..20_000_u32)
            .flat_map(|number| {
                format!("{{\"n\":{number},\"of\":\"{}\"}}\n", number.wrapping_mul(0x9e37_79b9)).into_bytes()
            })
            .collect();
        let noise: Vec<u8> =
            (0..300_000_u32).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        for level in [1, 6] {
            for parts in
                [&[&events[..1000], &events[1000..]][..], &[&noise], &[b"", b"x", &noise[..PIECE], b""], &[]]
            {
                let mut plain = Vec::new();
                let packed = packed(level, parts);
                GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
                assert!(plain == parts.concat(), "level {level}");
            }
            let size = packed(level, &[&events]).len();
            assert!(size * 2 < events.len(), "level {level}: {size} of {}", events.len());
        }
    }
}
