//! Files that rotation has compressed, read as if they were not.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::system::{Look, OpenFile};

/// A compressed file that is read as its content. Offsets are those of the content, so that a file that was read in
/// part before it was compressed goes on where it stood.
pub(super) struct Gzip {
    decoder: MultiGzDecoder<Sequential>,
    look: Look,
    /// Content that has been decoded but perhaps not used yet, and where it begins.
    window: Vec<u8>,
    start: u64,
}

struct Sequential {
    file: Box<dyn OpenFile>,
    offset: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.offset, buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Gzip {
    pub(super) fn new(file: Box<dyn OpenFile>) -> io::Result<Gzip> {
        let look = file.look()?;
        let decoder = MultiGzDecoder::new(Sequential { file, offset: 0 });
        Ok(Gzip { decoder, look, window: Vec::new(), start: 0 })
    }

    /// Decodes up to this many bytes more into the window.
    fn more(&mut self, count: usize) -> io::Result<usize> {
        let length = self.window.len();
        self.window.resize(length + count, 0);
        let read = self.decoder.read(&mut self.window[length..]);
        self.window.truncate(length + *read.as_ref().unwrap_or(&0));
        read
    }
}

impl OpenFile for Gzip {
    fn look(&self) -> io::Result<Look> {
        Ok(self.look)
    }

    /// What lies before an offset once read is forgotten: to go back means to open it again.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset < self.start {
            return Err(io::Error::other("compressed files are read forward only"));
        }
        while self.start + (self.window.len() as u64) < offset {
            self.start += self.window.len() as u64;
            self.window.clear();
            if self.more(64 * 1024)? == 0 {
                return Ok(0);
            }
        }
        let skip = usize::try_from(offset - self.start).map_err(io::Error::other)?;
        self.window.drain(..skip);
        self.start = offset;
        while self.window.len() < buffer.len() {
            let missing = buffer.len() - self.window.len();
            if self.more(missing)? == 0 {
                break;
            }
        }
        let count = buffer.len().min(self.window.len());
        buffer[..count].copy_from_slice(&self.window[..count]);
        Ok(count)
    }
}
