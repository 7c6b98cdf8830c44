//! The agent's own log, and its level.

use fleet_service::logging::Verbosity;
use tracing::Level;

/// The level of the log, which can be changed while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct LogLevel(Option<Verbosity>);

/// Not the name of a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log level: use error, warning, info, debug or trace")]
pub struct UnknownLevel(pub String);

impl LogLevel {
    /// Of this log.
    #[must_use]
    pub fn of(verbosity: Verbosity) -> LogLevel {
        LogLevel(Some(verbosity))
    }

    /// Sets it by name.
    ///
    /// # Errors
    /// There is no such level.
    pub fn set(&self, name: &str) -> Result<(), UnknownLevel> {
        let level = parse(name)?;
        if let Some(verbosity) = &self.0 {
            verbosity.set_level(level);
        }
        Ok(())
    }
}

/// The level of that name.
///
/// # Errors
/// There is none.
pub fn parse(name: &str) -> Result<Level, UnknownLevel> {
    match name.to_ascii_lowercase().as_str() {
        "error" | "critical" => Ok(Level::ERROR),
        "warning" | "warn" => Ok(Level::WARN),
        "info" | "" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err(UnknownLevel(name.to_owned())),
    }
}
