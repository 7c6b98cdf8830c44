//! Members and elements of JSON texts, and values as the protocol writes them there: 64-bit numbers as texts,
//! identifiers in hexadecimal, bytes in base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Malformed;

/// Decodes a text.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(text).map_err(|error| Malformed(error.to_string()))
}

/// The value of an object's member; null counts as absent.
pub(super) fn member<'a>(text: &'a [u8], name: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = reader.deserialize_map(Member(name)).map_err(|error| Malformed(error.to_string()))?;
    Ok(found.map(|value| value.get().as_bytes()).filter(|value| *value != b"null"))
}

struct Member(&'static str);

impl<'de> Visitor<'de> for Member {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The elements of a list, found one after the other.
#[derive(Debug)]
pub(in crate::input::otlp) struct Elements<'a> {
    rest: &'a [u8],
    first: bool,
}

impl<'a> Elements<'a> {
    pub(super) fn new(list: &'a [u8]) -> Result<Elements<'a>, Malformed> {
        let rest = list.trim_ascii().strip_prefix(b"[");
        let rest =
            rest.ok_or_else(|| Malformed("a list is expected, and something else is there".to_owned()))?;
        Ok(Elements { rest, first: true })
    }

    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let mut rest = self.rest.trim_ascii_start();
        let first = std::mem::replace(&mut self.first, false);
        match rest.first() {
            Some(b']') => return Ok(None),
            Some(b',') if !first => rest = rest[1..].trim_ascii_start(),
            _ if first => {}
            _ => return Err(Malformed("a comma is missing between the elements of a list".to_owned())),
        }
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let value = match values.next() {
            Some(value) => value.map_err(|error| Malformed(error.to_string()))?,
            None => return Err(Malformed("a list does not end".to_owned())),
        };
        self.rest = rest.get(values.byte_offset()..).unwrap_or_default();
        Ok(Some(value.get().as_bytes()))
    }
}

/// A number or the text of one.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Loose<N> {
    Number(N),
    Text(String),
}

/// A whole number, which JSON has as a text when it has 64 bits.
pub(super) fn whole<'de, D, N>(reader: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + std::str::FromStr,
{
    match Loose::<N>::deserialize(reader)? {
        Loose::Number(number) => Ok(number),
        Loose::Text(text) => {
            text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no number of that kind")))
        }
    }
}

/// The same, if it is there.
pub(super) fn maybe_whole<'de, D, N>(reader: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + std::str::FromStr,
{
    whole(reader).map(Some)
}

/// Whole numbers.
pub(super) fn wholes<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<u64>, D::Error> {
    #[derive(serde::Deserialize)]
    struct One(#[serde(deserialize_with = "whole")] u64);
    Ok(Vec::<One>::deserialize(reader)?.into_iter().map(|one| one.0).collect())
}

/// A number, or the text of one, such as `NaN` and `-Infinity`.
pub(super) fn real<'de, D: Deserializer<'de>>(reader: D) -> Result<f64, D::Error> {
    whole(reader)
}

/// The same, if it is there.
pub(super) fn maybe_real<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<f64>, D::Error> {
    whole(reader).map(Some)
}

/// An identifier in hexadecimal.
pub(super) fn hexadecimal<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(reader)?;
    let digits: Option<Vec<u8>> =
        text.chars().map(|letter| u8::try_from(letter.to_digit(16)?).ok()).collect();
    match digits.filter(|digits| digits.len() % 2 == 0) {
        Some(digits) => Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()),
        None => Err(D::Error::custom(format!("{text:?} is no identifier in hexadecimal"))),
    }
}

/// Bytes in base64, if they are there.
pub(super) fn maybe_base64<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = String::deserialize(reader)?;
    STANDARD
        .decode(&text)
        .map(Some)
        .map_err(|error| D::Error::custom(format!("bytes are no base64: {error}")))
}
