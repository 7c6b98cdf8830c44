//! One process as `/proc/<pid>/stat` has it.

use super::text;

/// What is known of each process at each measurement: little, for there may be thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) threads: u64,
    /// Ticks after boot. With the pid it is one process and no other.
    pub(crate) started: u64,
    /// Ticks.
    pub(crate) user: u64,
    /// Ticks.
    pub(crate) system: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Pages.
    pub(crate) resident: u64,
}

impl Stat {
    /// The process and its name: `42 (a name) S 1 …`. The name may have parentheses and spaces in it, and bytes that
    /// are no text.
    pub(crate) fn parse(line: &[u8]) -> Option<(Stat, &[u8])> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
        let pid = u32::try_from(text::number(line[..open].trim_ascii())?).ok()?;
        let mut words = text::words(&line[close + 1..]);
        let state = *words.next()?.first()?;
        // Some are -1 for processes of the kernel; that is as good as 0.
        let mut skip = |count: usize| text::number(words.nth(count)?).or(Some(0));
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        let stat = Stat {
            pid,
            state,
            parent: small(skip(0)?),
            group: small(skip(0)?),
            user: skip(8)?,
            system: skip(0)?,
            threads: skip(4)?,
            started: skip(1)?,
            size: skip(0)?,
            resident: skip(0)?,
        };
        Some((stat, &line[open + 1..close]))
    }

    /// Time on a processor, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// The state as documents name it.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            b'R' => "running",
            b'I' => "idle",
            // Waiting for a disk is sleeping, only deeper.
            b'S' | b'D' => "sleeping",
            b'T' | b't' => "stopped",
            b'Z' => "zombie",
            b'X' | b'x' => "dead",
            b'K' => "wakekill",
            b'W' => "wake",
            b'P' => "parked",
            _ => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_look_like_the_rest() {
        let line = b"42 (a) R 9 (b)) S 7 8 8 0 -1 4194560 1 2 3 4 500 600 7 8 20 0 11 0 12345 4096000 77 18446744073709551615 1 1";
        let (stat, name) = Stat::parse(line).unwrap();
        assert_eq!(name, b"a) R 9 (b)");
        let expected = Stat {
            pid: 42,
            state: b'S',
            parent: 7,
            group: 8,
            threads: 11,
            started: 12_345,
            user: 500,
            system: 600,
            size: 4_096_000,
            resident: 77,
        };
        assert_eq!(stat, expected);
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "[0-9 ]{0,12}[()]{0,3}[a-z ()]{0,9}[()]{0,2} [A-Z]?( -?[0-9x]{1,21}){0,25}") {
            Stat::parse(line.as_bytes());
        }

        #[test]
        fn bytes_are_not_too_strange(line in prop::collection::vec(any::<u8>(), 0..200)) {
            Stat::parse(&line);
        }
    }
}
