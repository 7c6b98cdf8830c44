//! Reading a text from its start, step by step.

/// What is left of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { rest: text }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Steps over this text if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The word until the next blank, which is stepped over. Empty at the end, and before a blank.
    pub(super) fn word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// A number of at most so many digits; nothing is read if there is none, or a longer one.
    pub(super) fn number(&mut self, digits: usize) -> Option<u32> {
        let end = self.rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        if end == 0 || end > digits {
            return None;
        }
        let number = self.rest[..end].parse().ok()?;
        self.rest = &self.rest[end..];
        Some(number)
    }

    /// `<13>`: a priority in angle brackets. Nothing is read if there is none.
    pub(super) fn priority(&mut self) -> Option<u8> {
        let mut ahead = *self;
        if !ahead.eat("<") {
            return None;
        }
        let number = u8::try_from(ahead.number(3)?).ok().filter(|number| *number <= 191)?;
        if !ahead.eat(">") {
            return None;
        }
        *self = ahead;
        Some(number)
    }
}
