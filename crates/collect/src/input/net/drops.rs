//! What the kernel dropped because a socket's buffer was full: it counts that for each socket of UDP in
//! `/proc/net/udp` and `/proc/net/udp6`, in the last column.

use std::fs;
use std::time::Duration;

/// How often that is looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// For so many looks without a new drop the input is said to be degraded.
const MEMORY: u32 = 12;

/// Follows the count of one socket.
#[derive(Debug)]
pub(super) struct Drops {
    inode: u64,
    last: u64,
    quiet: u32,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing new.
    None,
    /// More were dropped: so many since the last look, so many in all.
    Dropped { more: u64, total: u64 },
    /// There has been no drop for a while.
    Over,
}

impl Drops {
    pub(super) fn new(inode: u64) -> Drops {
        Drops { inode, last: 0, quiet: MEMORY }
    }

    /// Looks now.
    pub(super) fn look(&mut self) -> News {
        let files = ["/proc/self/net/udp", "/proc/self/net/udp6"];
        let total = files.iter().find_map(|file| count(&fs::read_to_string(file).ok()?, self.inode));
        self.news(total.unwrap_or(self.last))
    }

    fn news(&mut self, total: u64) -> News {
        let more = total.saturating_sub(self.last);
        self.last = total;
        if more > 0 {
            self.quiet = 0;
            return News::Dropped { more, total };
        }
        if self.quiet < MEMORY {
            self.quiet += 1;
            if self.quiet == MEMORY {
                return News::Over;
            }
        }
        News::None
    }
}

fn count(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let line =
        table.lines().skip(1).find(|line| line.split_ascii_whitespace().nth(9) == Some(inode.as_str()))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_in_the_last_column() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            \x20 117: 0100007F:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 0\n\
            \x20 118: 0100007F:2522 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6789 2 0000000000000000 42\n";
        assert_eq!((count(table, 6789), count(table, 12345), count(table, 1)), (Some(42), Some(0), None));
    }

    #[test]
    fn drops_are_news_until_they_have_been_over_for_a_while() {
        let mut drops = Drops::new(0);
        assert_eq!(drops.news(0), News::None);
        assert_eq!(drops.news(5), News::Dropped { more: 5, total: 5 });
        assert_eq!(drops.news(7), News::Dropped { more: 2, total: 7 });
        let looks: Vec<News> = (0..14).map(|_| drops.news(7)).collect();
        assert_eq!(looks.iter().position(|news| *news == News::Over), Some(11));
        assert_eq!(looks.iter().filter(|news| **news == News::None).count(), 13);
    }
}
