//! `replace`: what a pattern finds becomes something else.

use std::ops::Range;
use std::time::{Duration, Instant};

use regex::Regex;

/// Finding all matches may take the square of a text's length: a pattern that looks to the end at each letter, and then
/// matches that letter. A line of 10 MiB with a usual pattern takes less than a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many matches lie between two looks at the clock at most.
const LOOK: usize = 256;

/// Whoever looks for a match may come to the end of the text: so many bytes may be gone through between two looks, some
/// milliseconds' work. A text that is longer than this is looked through once.
const LOOK_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Replace {
    pattern: Regex,
    replacement: String,
    /// How often the replacement names a group, which may be all of a match.
    groups: usize,
}

impl Replace {
    pub(super) fn new(pattern: Regex, replacement: &str) -> Replace {
        let groups = replacement.matches('$').count();
        Replace { pattern, replacement: replacement.to_owned(), groups }
    }

    /// The text with all matches replaced, if there are any; it may be longer by `room` bytes.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub(super) fn apply(&self, text: &str, room: usize) -> Result<Option<String>, Failure> {
        let mut making = Making { text, out: String::new(), done: 0, most: text.len().saturating_add(room) };
        let began = Instant::now();
        let look = (LOOK_BYTES / text.len().max(1)).clamp(1, LOOK);
        let is_late = |count: usize| count.is_multiple_of(look) && began.elapsed() > PATIENCE;
        let mut count = 0;
        if self.groups == 0 {
            for found in self.pattern.find_iter(text) {
                making.put(found.range(), self.replacement.len(), |out| out.push_str(&self.replacement))?;
                count += 1;
                if is_late(count) {
                    return Err(Failure::Late);
                }
            }
        } else {
            for found in self.pattern.captures_iter(text) {
                let range = found.get_match().range();
                let most = self.replacement.len().saturating_add(self.groups.saturating_mul(range.len()));
                making.put(range, most, |out| found.expand(&self.replacement, out))?;
                count += 1;
                if is_late(count) {
                    return Err(Failure::Late);
                }
            }
        }
        if count == 0 {
            return Ok(None);
        }
        making.out.push_str(&text[making.done..]);
        Ok(Some(making.out))
    }
}

/// Why nothing was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The text would be too long.
    TooLong,
    /// It took too long.
    Late,
}

/// A text while it is made.
struct Making<'a> {
    text: &'a str,
    out: String,
    /// Up to here the text is in it.
    done: usize,
    most: usize,
}

impl Making<'_> {
    /// Adds what stands before a match, and what comes in its place: at most so many bytes.
    fn put(
        &mut self,
        found: Range<usize>,
        most: usize,
        write: impl FnOnce(&mut String),
    ) -> Result<(), Failure> {
        let rest = self.text.len() - found.end;
        let length = self.out.len().saturating_add(found.start - self.done).saturating_add(rest);
        if length.saturating_add(most) > self.most {
            return Err(Failure::TooLong);
        }
        self.out.push_str(&self.text[self.done..found.start]);
        write(&mut self.out);
        self.done = found.end;
        Ok(())
    }
}
