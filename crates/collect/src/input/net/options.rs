//! Settings that several of these inputs have.

use std::time::Duration;

use super::connection::Reading;
use super::framing::Framing;
use crate::config::{Config, Mistake};

/// Longer messages than this are nobody's log lines, whatever a policy says.
const LONGEST: u64 = 128 << 20;

/// Where a policy sets no limit, or 0, which means none, this is the limit all the same: each connection takes a
/// descriptor and a task.
const CONNECTIONS: usize = 16_384;

/// `framing`, `line_delimiter`, `max_message_size`, `timeout`.
pub(super) fn reading(config: &Config) -> Result<Reading, Mistake> {
    let delimiter = config.text("line_delimiter")?.unwrap_or_else(|| "\n".to_owned());
    if delimiter.is_empty() || delimiter.len() > 64 {
        config.or((), Err(config.mistake("line_delimiter", "must have 1 to 64 bytes")))?;
    }
    let framing = match config.text("framing")?.as_deref() {
        None | Some("delimiter") => Framing::Delimiter(delimiter.into_bytes()),
        Some("rfc6587") => Framing::OctetCounting,
        Some(_) => {
            let mistake = config.mistake("framing", "must be delimiter or rfc6587");
            config.or(Framing::OctetCounting, Err(mistake))?
        }
    };
    let most = longest(config, 20 << 20)?;
    let idle = config.duration("timeout", Duration::from_secs(300))?;
    // 0 means that a connection may be quiet for ever; a day is that long for a socket.
    let idle = if idle.is_zero() { Duration::from_secs(86_400) } else { idle };
    Ok(Reading { framing, most, idle })
}

/// `max_message_size`.
pub(super) fn longest(config: &Config, default: u64) -> Result<usize, Mistake> {
    let size = config.size("max_message_size", default)?;
    let size = if (1..=LONGEST).contains(&size) { usize::try_from(size).ok() } else { None };
    let wrong = || config.mistake("max_message_size", "must be 1 byte to 128MiB");
    config.or(1, size.ok_or_else(wrong))
}

/// `max_connections`.
pub(super) fn connections(config: &Config) -> Result<usize, Mistake> {
    let number = config.count("max_connections", 0)?;
    Ok(if number == 0 { CONNECTIONS } else { number.min(CONNECTIONS) })
}

/// What all these inputs take and need not be told.
pub(super) fn allow(config: &Config) {
    // Fields without a value are never made.
    config.allow(&["keep_null", "number_of_workers"]);
}
