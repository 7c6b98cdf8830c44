//! What a metricset is: something that is measured at a period of its own.

use std::time::Duration;

use super::document::Document;
use super::root::{ReadError, Root};

/// One set of metrics of a stream, with what it remembers from one measurement to the next.
pub(super) trait Metricset: Send {
    /// Its name in `metricsets` and `metricset.name`.
    fn name(&self) -> &'static str;

    /// Whether a measurement may take longer than a few hundred microseconds, or hang: then it gets a thread.
    fn is_slow(&self) -> bool {
        false
    }

    /// Measures. `now` is monotonic; only differences matter. The first measurement of what is made of two readings
    /// has nothing to say.
    fn measure(&mut self, root: &Root, now: Duration) -> Result<Vec<Document>, ReadError>;
}
