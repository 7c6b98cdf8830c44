//! Syslog messages: RFC 3164 as it is met in the wild, and RFC 5424.
//!
//! Pure: text that anybody may have sent goes in, and a [`Message`] that borrows from it comes out, or a reason why
//! it is none. Nothing here knows a socket. What becomes of it in an event is in `fields`.

mod cursor;
mod date;
pub(crate) mod fields;
mod rfc3164;
mod rfc5424;
mod settings;
mod zone;

#[cfg(test)]
mod tests;

pub(crate) use date::written;
pub(crate) use settings::Settings;
pub use zone::{BadZone, Zone};

use time::OffsetDateTime;

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Each message is looked at: a version behind the priority makes it RFC 5424.
    #[default]
    Auto,
    /// The classic form, `<13>Oct 11 22:14:15 host app[12]: text`.
    Rfc3164,
    /// The structured form, `<13>1 2003-10-11T22:14:15.003Z host app 12 id [a b="c"] text`.
    Rfc5424,
}

impl Format {
    /// A format by its name in settings.
    #[must_use]
    pub fn named(name: &str) -> Option<Format> {
        match name {
            "auto" => Some(Format::Auto),
            "rfc3164" => Some(Format::Rfc3164),
            "rfc5424" => Some(Format::Rfc5424),
            _ => None,
        }
    }
}

/// One message, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility times eight plus severity, 0 to 191.
    pub priority: Option<u8>,
    /// The version of the protocol; the classic form has none.
    pub version: Option<u16>,
    /// When it was sent, as the sender says.
    pub timestamp: Option<OffsetDateTime>,
    /// Who sent it.
    pub hostname: Option<&'a str>,
    /// The program.
    pub appname: Option<&'a str>,
    /// The process, as a rule its number.
    pub procid: Option<&'a str>,
    /// The kind of message.
    pub msgid: Option<&'a str>,
    /// Structured data.
    pub data: Vec<Element<'a>>,
    /// The text.
    pub text: &'a str,
}

/// One element of structured data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its parameters in their order, escapes resolved.
    pub parameters: Vec<(&'a str, String)>,
}

/// Why a text is no syslog message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// It does not begin with `<0>` to `<191>`.
    #[error("the message does not begin with a priority, <0> to <191>")]
    Priority,
    /// Neither a priority nor a timestamp is there.
    #[error("the message has neither a priority nor a timestamp")]
    Unknown,
    /// The version of RFC 5424 is missing.
    #[error("the message has no version behind its priority")]
    Version,
    /// A timestamp that is none.
    #[error("the timestamp is neither - nor a time in the form of RFC 3339")]
    Timestamp,
    /// A field of the header is missing or empty.
    #[error("the header ends before its {0}")]
    Header(&'static str),
    /// Structured data that does not end, or is not in its form.
    #[error("the structured data is not in the form [id name=\"value\"]")]
    StructuredData,
    /// More structured data than any sender has reason for.
    #[error("the structured data has more than {MAX_PARAMETERS} elements and parameters")]
    TooMany,
}

/// How many elements and parameters of structured data one message may have. Each becomes an entry of a map, which
/// takes some ten times the memory of the shortest text that makes one.
pub const MAX_PARAMETERS: usize = 1024;

/// Takes a message apart. `now` supplies the year where the sender does not tell it, and the zone what its clock
/// means.
///
/// # Errors
/// [`SyntaxError`]: the text is no syslog message in this format.
pub fn parse<'a>(
    text: &'a str,
    format: Format,
    zone: &Zone,
    now: OffsetDateTime,
) -> Result<Message<'a>, SyntaxError> {
    let text = text.trim_end_matches(['\r', '\n', '\0']);
    match format {
        Format::Rfc3164 => rfc3164::parse(text, zone, now),
        Format::Rfc5424 => rfc5424::parse(text),
        Format::Auto if rfc5424::is_likely(text) => rfc5424::parse(text),
        Format::Auto => rfc3164::parse(text, zone, now),
    }
}
