//! `format` and `timezone`, wherever a policy says that syslog messages are to be taken apart.

use time::OffsetDateTime;

use super::{Format, Message, SyntaxError, Zone, parse};
use crate::config::{Config, Mistake};

/// What is known of messages before they come.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    format: Format,
    zone: Zone,
}

impl Settings {
    /// Reads both; the zone is the machine's unless it is named.
    pub(crate) fn read(config: &Config, default: Format) -> Result<Settings, Mistake> {
        let format = match config.text("format")? {
            None => default,
            Some(name) => {
                let wrong = || config.mistake("format", "must be auto, rfc3164 or rfc5424");
                config.or(default, Format::named(&name).ok_or_else(wrong))?
            }
        };
        let zone = config.text("timezone")?.unwrap_or_default();
        let zone = Zone::named(&zone).map_err(|error| config.mistake("timezone", error.to_string()));
        let zone = config.or(Zone::utc(), zone)?;
        Ok(Settings { format, zone })
    }

    /// Takes a message apart.
    pub(crate) fn parse<'a>(&self, text: &'a str, now: OffsetDateTime) -> Result<Message<'a>, SyntaxError> {
        parse(text, self.format, &self.zone, now)
    }
}
