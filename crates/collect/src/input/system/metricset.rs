//! What a metricset is: something that is measured at a period of its own.

use std::time::Duration;

use super::document::Document;
use crate::procfs::root::{ReadError, Root};

/// How long a measurement may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// A few hundred microseconds: it needs no thread of its own.
    Quick,
    /// More, with many processes or sockets.
    Slow,
    /// For as long as a server of files does not answer.
    MayHang,
}

/// One set of metrics of a stream, with what it remembers from one measurement to the next.
pub(super) trait Metricset: Send {
    /// Its name in `metricsets` and `metricset.name`.
    fn name(&self) -> &'static str;

    /// How long a measurement may take.
    fn pace(&self) -> Pace {
        Pace::Quick
    }

    /// Measures. `now` is monotonic; only differences matter. The first measurement of what is made of two readings
    /// has nothing to say.
    fn measure(&mut self, root: &Root, now: Duration) -> Result<Vec<Document>, ReadError>;
}
