//! JSON as Go's `encoding/json` writes it, and errors of reading in its words.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::Formatter;

/// Why a body is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is no body.
    #[error("EOF")]
    Empty,
    /// The body ends too early.
    #[error("unexpected EOF")]
    Incomplete,
    /// It is not JSON, or not of this shape.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a body.
///
/// # Errors
/// What is wrong with it, as a text for its sender.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|error| {
        if body.trim_ascii().is_empty() {
            DecodeError::Empty
        } else if error.is_eof() {
            DecodeError::Incomplete
        } else {
            DecodeError::Invalid(error.to_string())
        }
    })
}

/// Writes an object as a body, without a newline at its end.
///
/// # Errors
/// None for the types of this crate: their keys are strings.
pub fn encode<T: Serialize>(object: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::with_capacity(256);
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut body, GoFormatter))?;
    Ok(body)
}

/// Escapes what Go escapes beyond JSON's own rules, so that a body can stand in HTML and in JavaScript.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = special.chars();
            if let Some(c) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Reads `null` as the empty value: clients written in Go send it for an empty list.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
