//! The journal's export format, as `journalctl --output=export` writes it: entries of fields, bytes as they are. Pure.
//!
//! `NAME=text` with a line feed, or, where the value has bytes that are no text, `NAME`, a line feed, the length in
//! eight bytes, the value and a line feed. An empty line ends an entry.
//! (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>)

use bytes::{Buf, BytesMut};

/// Of a longer value the beginning is kept. The journal's own limit on lines of services is 48 KiB, but programs may
/// send more.
pub(super) const MAX_VALUE: usize = 1 << 20;
/// What an entry may hold in all; what comes beyond is left out.
const MAX_ENTRY: usize = 4 << 20;
/// How many fields are kept; the journal's own limit is the same.
const MAX_FIELDS: usize = 1024;
/// Names have 64 letters at most; addresses, which begin with two underscores, too.
const MAX_NAME: usize = 256;

/// What was read is no journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journalctl wrote something that is not in the journal's export format")]
pub(super) struct Garbled;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    fields: Vec<(String, Vec<u8>)>,
    size: usize,
    truncated: bool,
}

impl Entry {
    /// The first value of a field, if it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }

    /// All fields in their order; one may come more than once.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Whether a field has this value, among others perhaps.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.fields().any(|(key, there)| key == name && there == value.as_bytes())
    }

    /// Its place in the journal.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.text("__CURSOR")
    }

    /// When the journal got it, in microseconds since 1970.
    pub(super) fn realtime(&self) -> Option<i128> {
        self.text("__REALTIME_TIMESTAMP")?.parse::<u64>().ok().map(i128::from)
    }

    /// Whether something of it was left out.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    fn push(&mut self, name: &str, mut value: Vec<u8>, truncated: bool) {
        self.truncated |= truncated;
        if self.fields.len() >= MAX_FIELDS || self.size + value.len() > MAX_ENTRY {
            self.truncated = true;
            return;
        }
        value.shrink_to_fit();
        self.size += value.len();
        self.fields.push((name.to_owned(), value));
    }
}

/// Takes entries off the front of a buffer.
#[derive(Debug, Default)]
pub(super) struct Reader {
    entry: Entry,
    state: State,
    /// So far the buffer has been searched for the end of a line.
    searched: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// The rest of a line that was too long.
    SkipLine,
    /// Before the length of a value that is not text.
    Length(String),
    /// In such a value, with so many bytes to come.
    Value { name: String, value: Vec<u8>, left: u64, truncated: bool },
}

impl Reader {
    /// The next whole entry. The buffer needs no more room than [`MAX_VALUE`] and a name.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Entry>, Garbled> {
        loop {
            match &mut self.state {
                State::Line => match self.line(buffer)? {
                    Step::Again => {}
                    Step::Wait => return Ok(None),
                    Step::Done => return Ok(Some(std::mem::take(&mut self.entry))),
                },
                State::SkipLine => {
                    let end = buffer.iter().position(|byte| *byte == b'\n');
                    buffer.advance(end.map_or(buffer.len(), |end| end + 1));
                    if end.is_none() {
                        return Ok(None);
                    }
                    self.state = State::Line;
                }
                State::Length(name) => {
                    let Some(length) = buffer.first_chunk::<8>() else { return Ok(None) };
                    let left = u64::from_le_bytes(*length);
                    let name = std::mem::take(name);
                    buffer.advance(8);
                    self.state = State::Value { name, value: Vec::new(), left, truncated: false };
                }
                State::Value { value, left, truncated, .. } => {
                    let here = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let kept = here.min(MAX_VALUE - value.len());
                    value.extend_from_slice(&buffer[..kept]);
                    *truncated |= kept < here;
                    *left -= here as u64;
                    buffer.advance(here);
                    match buffer.first() {
                        Some(b'\n') if *left == 0 => buffer.advance(1),
                        Some(_) if *left == 0 => return Err(Garbled),
                        _ => return Ok(None),
                    }
                    if let State::Value { name, value, truncated, .. } = std::mem::take(&mut self.state) {
                        self.entry.push(&name, value, truncated);
                    }
                }
            }
        }
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Result<Step, Garbled> {
        let from = self.searched.min(buffer.len());
        let Some(end) = memchr::memchr(b'\n', &buffer[from..]).map(|end| from + end) else {
            self.searched = buffer.len();
            if buffer.len() < MAX_VALUE + MAX_NAME {
                return Ok(Step::Wait);
            }
            self.searched = 0;
            let line = buffer.split();
            let (name, value) = assignment(&line)?.ok_or(Garbled)?;
            self.entry.push(name, value[..MAX_VALUE].to_vec(), true);
            self.state = State::SkipLine;
            return Ok(Step::Again);
        };
        self.searched = 0;
        let line = buffer.split_to(end + 1);
        let line = &line[..end];
        if line.is_empty() {
            // Blank lines between entries are let through.
            return Ok(if self.entry.fields.is_empty() { Step::Again } else { Step::Done });
        }
        match assignment(line)? {
            Some((name, value)) => {
                let cut = value.len() > MAX_VALUE;
                self.entry.push(name, value[..value.len().min(MAX_VALUE)].to_vec(), cut);
            }
            None => self.state = State::Length(name(line)?.to_owned()),
        }
        Ok(Step::Again)
    }
}

enum Step {
    Again,
    Wait,
    Done,
}

fn assignment(line: &[u8]) -> Result<Option<(&str, &[u8])>, Garbled> {
    let Some(equals) = memchr::memchr(b'=', line) else { return Ok(None) };
    Ok(Some((name(&line[..equals])?, &line[equals + 1..])))
}

fn name(bytes: &[u8]) -> Result<&str, Garbled> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if bytes.is_empty() || bytes.len() > MAX_NAME || !bytes.iter().all(good) {
        return Err(Garbled);
    }
    std::str::from_utf8(bytes).map_err(|_| Garbled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8], piece: usize) -> Result<Vec<Entry>, Garbled> {
        let mut reader = Reader::default();
        let mut buffer = BytesMut::new();
        let mut entries = Vec::new();
        for part in input.chunks(piece.max(1)) {
            buffer.extend_from_slice(part);
            while let Some(entry) = reader.next(&mut buffer)? {
                entries.push(entry);
            }
            assert!(buffer.len() < MAX_VALUE + MAX_NAME + piece);
        }
        Ok(entries)
    }

    /// As journalctl writes it.
    fn write(entries: &[Vec<(String, Vec<u8>)>]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            for (name, value) in entry {
                out.extend_from_slice(name.as_bytes());
                if std::str::from_utf8(value).is_ok_and(|text| !text.contains(|letter: char| letter < ' ')) {
                    out.push(b'=');
                } else {
                    out.push(b'\n');
                    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
                }
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn text_and_bytes_are_read() {
        let mut input = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1700000000000001\nMESSAGE\n".to_vec();
        input.extend_from_slice(&5u64.to_le_bytes());
        input.extend_from_slice(b"a\n\nb\xff\nA=1\nA=2\n\n");
        for piece in [1, 3, 1000] {
            let entries = read(&input, piece).unwrap();
            let [entry] = &entries[..] else { panic!("{entries:?}") };
            assert_eq!(entry.cursor(), Some("s=1;i=2"));
            assert_eq!(entry.realtime(), Some(1_700_000_000_000_001));
            assert_eq!(entry.text("MESSAGE"), None);
            assert!(entry.fields().any(|field| field == ("MESSAGE", b"a\n\nb\xff".as_slice())));
            assert!(entry.has("A", "2") && entry.has("A", "1") && !entry.has("A", "3"));
        }
    }

    #[test]
    fn long_values_are_cut_and_the_rest_is_read() {
        let long = vec![b'x'; MAX_VALUE + MAX_VALUE / 2];
        let entry = vec![("A".to_owned(), long.clone()), ("B".to_owned(), b"1".to_vec())];
        let mut binary = long;
        binary[0] = 0;
        let other = vec![("C".to_owned(), binary), ("D".to_owned(), b"2".to_vec())];
        for piece in [4096, usize::MAX >> 1] {
            let entries = read(&write(&[entry.clone(), other.clone()]), piece).unwrap();
            assert_eq!(entries.len(), 2);
            assert!(entries.iter().all(Entry::truncated));
            assert!(entries[0].has("B", "1") && entries[1].has("D", "2"));
            assert!(entries.iter().flat_map(Entry::fields).all(|(_, value)| value.len() <= MAX_VALUE));
        }
        let many: Vec<_> =
            (0..MAX_FIELDS + 9).map(|number| ("A".to_owned(), vec![b'a'; number % 7])).collect();
        let entries = read(&write(&[many]), 4096).unwrap();
        assert_eq!((entries[0].fields().count(), entries[0].truncated()), (MAX_FIELDS, true));
    }

    #[test]
    fn what_is_no_journal_is_told_so() {
        for input in
            [&b"Failed to open: x\n"[..], b"=x\n", "\u{e9}=1\n".as_bytes(), b"A\n\x01\0\0\0\0\0\0\0xx"]
        {
            assert_eq!(read(input, 5), Err(Garbled), "{input:?}");
        }
    }

    proptest! {
        #[test]
        fn entries_come_out_as_they_went_in(
            entries in prop::collection::vec(
                prop::collection::vec(("[A-Z_]{1,10}", prop::collection::vec(any::<u8>(), 0..30)), 1..6), 0..6),
            piece in 1usize..50,
        ) {
            let read = read(&write(&entries), piece).unwrap();
            let read: Vec<_> = read.into_iter().map(|entry| entry.fields).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
            let _ = read(&input, piece);
        }
    }
}
