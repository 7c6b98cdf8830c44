//! The files of a queue: numbered, written one after the other, deleted when all in them has been acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::{self, Found, HEAD};

/// A place in a queue: a file, and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// The files, and the one that is written.
#[derive(Debug)]
pub(super) struct Segments {
    directory: PathBuf,
    sizes: BTreeMap<u64, u64>,
    open: Option<File>,
    roll_at: u64,
}

impl Segments {
    /// Opens a queue, or makes it. The torn end of the last file is cut off.
    pub(super) fn open(directory: &Path, roll_at: u64) -> io::Result<Segments> {
        crate::disk::make_private_directory(directory)?;
        let mut sizes = BTreeMap::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let number =
                entry.file_name().to_str().and_then(|name| name.strip_suffix(".queue")?.parse().ok());
            if let Some(number) = number {
                sizes.insert(number, entry.metadata()?.len());
            }
        }
        let mut segments = Segments { directory: directory.to_owned(), sizes, open: None, roll_at };
        if let Some((number, size)) = segments.sizes.last_key_value().map(|(number, size)| (*number, *size)) {
            let whole = segments.whole(number)?;
            if whole < size {
                OpenOptions::new().write(true).open(segments.path(number))?.set_len(whole)?;
                segments.sizes.insert(number, whole);
            }
        }
        Ok(segments)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}.queue"))
    }

    /// How many bytes of a file are whole records.
    fn whole(&self, number: u64) -> io::Result<u64> {
        let bytes = fs::read(self.path(number))?;
        let mut offset = 0;
        while let Found::Whole(length) = record::look(&bytes[offset..]) {
            offset += HEAD + length;
        }
        Ok(offset as u64)
    }

    /// All bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Where the oldest record is.
    pub(super) fn start(&self) -> Place {
        Place { segment: self.sizes.first_key_value().map_or(1, |(number, _)| *number), offset: 0 }
    }

    /// Where the next record will be written.
    pub(super) fn end(&self) -> Place {
        match self.sizes.last_key_value() {
            Some((number, size)) => Place { segment: *number, offset: *size },
            None => Place { segment: 1, offset: 0 },
        }
    }

    /// Appends records, and waits for the disk once. After an error nothing of them is there.
    pub(super) fn append(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        let mut end = self.end();
        if self.open.is_none() || end.offset >= self.roll_at {
            if end.offset >= self.roll_at {
                end = Place { segment: end.segment + 1, offset: 0 };
            }
            let mut options = OpenOptions::new();
            let path = self.path(end.segment);
            self.open = Some(options.create(true).append(true).mode(0o600).open(path)?);
            File::open(&self.directory)?.sync_all()?;
        }
        let Some(file) = &mut self.open else { return Err(io::Error::other("no file is open")) };
        let mut written = 0;
        let result = records.iter().try_for_each(|record| {
            written += record.len() as u64;
            file.write_all(record)
        });
        if let Err(error) = result.and_then(|()| file.sync_data()) {
            // Cut back, so that the next record does not stand behind half a one.
            let _ = file.set_len(end.offset);
            self.open = None;
            return Err(error);
        }
        self.sizes.insert(end.segment, end.offset + written);
        Ok(())
    }

    /// The record at a place and the place behind it. At the end of a file, the first one of the next. A file with
    /// damage is set aside, and reading goes on behind it.
    pub(super) fn read(&mut self, mut place: Place) -> io::Result<Option<(Vec<u8>, Place)>> {
        loop {
            let size = self.sizes.get(&place.segment).copied().unwrap_or_default();
            if place.offset >= size {
                let next = self.sizes.range(place.segment + 1..).next().map(|(number, _)| *number);
                match next {
                    Some(number) => place = Place { segment: number, offset: 0 },
                    None => return Ok(None),
                }
                continue;
            }
            let file = File::open(self.path(place.segment))?;
            let mut head = [0; HEAD];
            let body = file.read_exact_at(&mut head, place.offset).ok().and_then(|()| {
                let length = u64::from(u32::from_le_bytes([head[0], head[1], head[2], head[3]]));
                // Never more than the file has: a damaged length must not ask for memory.
                (place.offset + HEAD as u64 + length <= size).then_some(length)
            });
            if let Some(length) = body {
                let mut bytes = vec![0; HEAD + usize::try_from(length).map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, place.offset)?;
                if let Found::Whole(_) = record::look(&bytes) {
                    let next = Place { segment: place.segment, offset: place.offset + bytes.len() as u64 };
                    return Ok(Some((bytes, next)));
                }
            }
            self.set_aside(place)?;
        }
    }

    fn set_aside(&mut self, place: Place) -> io::Result<()> {
        let path = self.path(place.segment);
        let aside = path.with_extension("damaged");
        tracing::error!(
            path = %aside.display(),
            offset = place.offset,
            "a file of the queue is damaged: what lies behind the damage is not sent, and kept for a look",
        );
        fs::rename(&path, &aside)?;
        if self.end().segment == place.segment {
            self.open = None;
        }
        self.sizes.insert(place.segment, 0);
        Ok(())
    }

    /// Deletes the files before this place, which have been acknowledged.
    pub(super) fn release(&mut self, place: Place) -> io::Result<()> {
        let last = self.end().segment;
        let done = |number: u64, size: u64| {
            number < place.segment
                || (number == place.segment && place.offset >= size && size > 0 && number < last)
        };
        let gone: Vec<u64> = self
            .sizes
            .iter()
            .filter(|(number, size)| done(**number, **size))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            match fs::remove_file(self.path(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {
                    self.sizes.remove(&number);
                }
            }
        }
        // All has been acknowledged: the file that is written begins anew, so that an idle queue has no bytes.
        if place == self.end() && place.offset >= self.roll_at.min(1 << 20) {
            self.open = None;
            let number = place.segment;
            let mut options = OpenOptions::new();
            self.open = Some(options.create(true).append(true).mode(0o600).open(self.path(number + 1))?);
            self.sizes.insert(number + 1, 0);
            fs::remove_file(self.path(number))?;
            self.sizes.remove(&number);
        }
        Ok(())
    }
}
