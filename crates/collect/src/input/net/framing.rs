//! From a stream of bytes to messages: RFC 6587, or a delimiter. Pure.

use bytes::{Buf, BytesMut};
use memchr::memmem;

/// How the messages of a stream are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each ends with this, which is not empty.
    Delimiter(Vec<u8>),
    /// RFC 6587: a message that begins with a number is as long as that says; any other ends with a line feed.
    OctetCounting,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its bytes, without delimiter or length.
    pub(crate) bytes: BytesMut,
    /// It was longer than allowed: the rest of it was thrown away.
    pub(crate) truncated: bool,
}

/// Takes messages off the front of a buffer. Holds no bytes of its own.
#[derive(Debug)]
pub(crate) struct Splitter {
    framing: Framing,
    most: usize,
    /// So far the buffer has been searched for the delimiter.
    searched: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a message.
    Start,
    /// In one that ends with a delimiter.
    Line,
    /// In one of which so many bytes are still to come.
    Counted(usize),
    /// The rest of one that was too long, until its delimiter.
    SkipLine,
    /// The same, so many bytes.
    SkipCounted(u64),
}

/// Digits of a length. Ten say more than any message that is let through.
const MAX_DIGITS: usize = 10;

impl Splitter {
    /// Messages of at most so many bytes.
    pub(crate) fn new(framing: Framing, most: usize) -> Splitter {
        Splitter { framing, most, searched: 0, state: State::Start }
    }

    /// The next message that is there as a whole, or whose beginning is as long as is allowed. The buffer needs no
    /// more room than the longest message with its delimiter.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        loop {
            match self.state {
                State::Start => self.state = self.begin(buffer)?,
                State::Line => return self.line(buffer),
                State::Counted(length) => return self.counted(buffer, length),
                State::SkipLine => self.skip_line(buffer)?,
                State::SkipCounted(left) => {
                    let here = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    buffer.advance(here);
                    match left - here as u64 {
                        0 => self.state = State::Start,
                        left => {
                            self.state = State::SkipCounted(left);
                            return None;
                        }
                    }
                }
            }
        }
    }

    /// What is left when the stream has ended: a last message without its delimiter, or a part of one.
    pub(crate) fn finish(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let skipping = matches!(self.state, State::SkipLine | State::SkipCounted(_));
        let is_part = matches!(self.state, State::Counted(_));
        self.state = State::Start;
        self.searched = 0;
        let mut bytes = buffer.split();
        // A part of a delimiter may stand behind a message that is as long as is allowed.
        let truncated = is_part || bytes.len() > self.most;
        bytes.truncate(self.most);
        if skipping || bytes.is_empty() { None } else { Some(Frame { bytes, truncated }) }
    }

    /// Which kind of message begins here; nothing if that takes more bytes.
    fn begin(&mut self, buffer: &mut BytesMut) -> Option<State> {
        self.searched = 0;
        if self.framing != Framing::OctetCounting {
            return Some(State::Line);
        }
        // Between counted messages some senders leave a line feed, as if it were the other kind.
        while buffer.first().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            buffer.advance(1);
        }
        let first = buffer.first()?;
        if !(b'1'..=b'9').contains(first) {
            return Some(State::Line);
        }
        let digits = buffer.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        match buffer.get(digits) {
            None if digits <= MAX_DIGITS => None,
            Some(b' ') => {
                let length =
                    buffer[..digits].iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                buffer.advance(digits + 1);
                // Longer than this machine's memory is longer than allowed.
                Some(State::Counted(usize::try_from(length).unwrap_or(usize::MAX)))
            }
            _ => Some(State::Line),
        }
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        let delimiter = self.delimiter();
        let length = delimiter.len();
        // A delimiter may have begun at the end of what was searched before.
        let from = self.searched.saturating_sub(length - 1).min(buffer.len());
        if let Some(found) = memmem::find(&buffer[from..], delimiter) {
            let end = from + found;
            let mut bytes = buffer.split_to(end + length);
            self.state = State::Start;
            self.searched = 0;
            let truncated = end > self.most;
            bytes.truncate(end.min(self.most));
            return Some(Frame { bytes, truncated });
        }
        if buffer.len() < self.most.saturating_add(length) {
            self.searched = buffer.len();
            return None;
        }
        self.state = State::SkipLine;
        self.searched = 0;
        Some(Frame { bytes: buffer.split_to(self.most), truncated: true })
    }

    fn counted(&mut self, buffer: &mut BytesMut, length: usize) -> Option<Frame> {
        if buffer.len() < length.min(self.most) {
            return None;
        }
        let truncated = length > self.most;
        let bytes = buffer.split_to(length.min(self.most));
        self.state = if truncated { State::SkipCounted((length - self.most) as u64) } else { State::Start };
        Some(Frame { bytes, truncated })
    }

    /// Nothing: all that is there belongs to what is thrown away.
    fn skip_line(&mut self, buffer: &mut BytesMut) -> Option<()> {
        let delimiter = self.delimiter();
        match memmem::find(buffer, delimiter) {
            Some(found) => {
                buffer.advance(found + delimiter.len());
                self.state = State::Start;
                Some(())
            }
            None => {
                let kept = buffer.len().min(delimiter.len() - 1);
                buffer.advance(buffer.len() - kept);
                None
            }
        }
    }

    fn delimiter(&self) -> &[u8] {
        match &self.framing {
            Framing::Delimiter(delimiter) => delimiter,
            Framing::OctetCounting => b"\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds bytes in pieces of these sizes, round and round.
    fn split(framing: &Framing, most: usize, input: &[u8], pieces: &[usize]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::new(framing.clone(), most);
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        let mut rest = input;
        let mut sizes = pieces.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            while let Some(frame) = splitter.next(&mut buffer) {
                frames.push((frame.bytes.to_vec(), frame.truncated));
            }
            assert!(buffer.len() <= most + 16, "{} bytes are held", buffer.len());
        }
        frames.extend(splitter.finish(&mut buffer).map(|frame| (frame.bytes.to_vec(), frame.truncated)));
        frames
    }

    fn texts(frames: &[(Vec<u8>, bool)]) -> Vec<(&str, bool)> {
        frames.iter().map(|(bytes, cut)| (std::str::from_utf8(bytes).unwrap(), *cut)).collect()
    }

    #[test]
    fn lines_end_with_their_delimiter() {
        let newline = Framing::Delimiter(b"\n".to_vec());
        let frames = split(&newline, 100, b"one\n\ntwo\nthree", &[2]);
        assert_eq!(texts(&frames), [("one", false), ("", false), ("two", false), ("three", false)]);
        let long = Framing::Delimiter(b"--end--".to_vec());
        let frames = split(&long, 100, b"one--end--t--wo--end--", &[1, 3]);
        assert_eq!(texts(&frames), [("one", false), ("t--wo", false)]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
        let newline = Framing::Delimiter(b"\n".to_vec());
        for pieces in [&[1][..], &[5], &[100]] {
            let frames = split(&newline, 4, b"12345678\nab\n1234\n12345\nx", pieces);
            let expected = [("1234", true), ("ab", false), ("1234", false), ("1234", true), ("x", false)];
            assert_eq!(texts(&frames), expected, "{pieces:?}");
        }
    }

    #[test]
    fn counted_messages_and_lines_may_be_mixed() {
        let input = b"5 a\nb c3 xyz<13>line\n2 ab\n1234567890123 no length\n99 cut off";
        for pieces in [&[1][..], &[4], &[7, 2], &[1000]] {
            let frames = split(&Framing::OctetCounting, 100, input, pieces);
            let expected = [
                ("a\nb c", false),
                ("xyz", false),
                ("<13>line", false),
                ("ab", false),
                ("1234567890123 no length", false),
                ("cut off", true),
            ];
            assert_eq!(texts(&frames), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_counted_message_that_is_too_long_is_cut() {
        let frames = split(&Framing::OctetCounting, 4, b"8 123456782 ab", &[3]);
        assert_eq!(texts(&frames), [("1234", true), ("ab", false)]);
        let frames = split(&Framing::OctetCounting, 4, b"9999999999 123456782 ab", &[3]);
        assert_eq!(texts(&frames), [("1234", true)]);
    }

    proptest! {
        #[test]
        fn how_bytes_arrive_makes_no_difference(
            input in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), b'0'..=b'9', any::<u8>()], 0..200),
            most in 1usize..40,
            pieces in prop::collection::vec(1usize..30, 1..8),
            counted in any::<bool>(),
        ) {
            let framing = if counted { Framing::OctetCounting } else { Framing::Delimiter(b"\n \n".to_vec()) };
            let whole = split(&framing, most, &input, &[1]);
            prop_assert_eq!(&split(&framing, most, &input, &pieces), &whole);
            prop_assert!(whole.iter().all(|(bytes, _)| bytes.len() <= most));
        }

        #[test]
        fn counted_messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 0..20),
            pieces in prop::collection::vec(1usize..50, 1..5),
        ) {
            let mut input = Vec::new();
            for message in &messages {
                input.extend_from_slice(format!("{} ", message.len()).as_bytes());
                input.extend_from_slice(message);
            }
            let frames: Vec<Vec<u8>> =
                split(&Framing::OctetCounting, 60, &input, &pieces).into_iter().map(|frame| frame.0).collect();
            prop_assert_eq!(frames, messages);
        }
    }
}
