//! `fingerprint`: a hash of some fields, such as for a document's id.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{self, Algorithm};
use serde_json::json;

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{Config, Mistake, scalar};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct Fingerprint {
    /// In the order of their names.
    fields: Vec<FieldPath>,
    target: FieldPath,
    method: &'static Algorithm,
    encoding: Encoding,
    ignore_missing: bool,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Hex,
    Base32,
    Base64,
}

impl Attempt for Fingerprint {
    /// The hash is of `|name|value|name|value|`, as published.
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let mut digest = digest::Context::new(self.method);
        for field in &self.fields {
            let value = match event.get(field) {
                Some(value) => scalar(value).ok_or_else(|| {
                    format!("field {field} is a map or a list, of which there is no fingerprint")
                })?,
                None if self.ignore_missing => continue,
                None => return Err(format!("field {field} is not in the event")),
            };
            digest.update(format!("|{field}|{value}").as_bytes());
        }
        digest.update(b"|");
        event.put(&self.target, json!(self.encoding.text(digest.finish().as_ref())));
        Ok(())
    }
}

impl Encoding {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Encoding::Base32 => base32(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
        }
    }
}

/// RFC 4648, 6, with padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for group in bytes.chunks(5) {
        let bits =
            group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) << (8 * (5 - group.len()));
        let letters = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let letter = LETTERS[usize::try_from(bits >> (35 - 5 * index) & 31).unwrap_or_default()];
            text.push(if index < letters { char::from(letter) } else { '=' });
        }
    }
    text
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let mut names = config.texts("fields")?;
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(config.mistake("fields", "is missing: name the fields"));
    }
    let choice = |key: &str| Ok(config.text(key)?.map(|text| text.to_lowercase()));
    let method = match choice("method")?.as_deref() {
        None | Some("sha256") => &digest::SHA256,
        Some("sha1") => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        Some("sha384") => &digest::SHA384,
        Some("sha512") => &digest::SHA512,
        Some(other) => {
            let problem = format!("{other:?} is no method here: use sha1, sha256, sha384 or sha512");
            return Err(config.mistake("method", problem));
        }
    };
    let encoding = match choice("encoding")?.as_deref() {
        None | Some("hex") => Encoding::Hex,
        Some("base32") => Encoding::Base32,
        Some("base64") => Encoding::Base64,
        Some(other) => {
            let problem = format!("{other:?} is unknown: use hex, base32 or base64");
            return Err(config.mistake("encoding", problem));
        }
    };
    let target = config.text("target_field")?.unwrap_or_else(|| "fingerprint".to_owned());
    let fingerprint = Fingerprint {
        fields: names.iter().map(|name| FieldPath::new(name)).collect(),
        target: FieldPath::new(&target),
        method,
        encoding,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    Ok(attempt::always_telling(fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_the_standard() {
        // RFC 4648, 10.
        for (text, wanted) in [("", ""), ("f", "MY======"), ("foob", "MZXW6YQ="), ("fooba", "MZXW6YTB")] {
            assert_eq!(base32(text.as_bytes()), wanted);
        }
    }
}
