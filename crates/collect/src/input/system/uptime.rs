//! The metricset `uptime`.

use std::time::Duration;

use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// `uptime`.
#[derive(Debug, Default)]
pub(super) struct Uptime {
    buffer: Vec<u8>,
}

impl Metricset for Uptime {
    fn name(&self) -> &'static str {
        "uptime"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        root.read("proc/uptime", &mut self.buffer)?;
        let mut document = Document::default();
        let seconds = text::words(&self.buffer).next().and_then(text::real);
        let Some(uptime) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else {
            return Ok(Vec::new());
        };
        document.maybe("system.uptime.duration.ms", u64::try_from(uptime.as_millis()).ok());
        Ok(vec![document])
    }
}
