//! Texts that are written as something else: escaped for addresses (`urldecode`), as durations (`decode_duration`).

use percent_encoding::percent_decode_str;
use serde_json::{Number, Value, json};

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{self, Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct UrlDecode {
    fields: Vec<(FieldPath, FieldPath)>,
    ignore_missing: bool,
}

impl Attempt for UrlDecode {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let mut decoded = Vec::with_capacity(self.fields.len());
        for (from, to) in &self.fields {
            let Some(text) = attempt::text(event, from, self.ignore_missing)? else { continue };
            decoded.push((to, unescaped(text).map_err(|problem| format!("field {from}: {problem}"))?));
        }
        decoded.into_iter().for_each(|(to, text)| event.put(to, Value::String(text)));
        Ok(())
    }
}

/// As in the query of an address: a plus is a space.
fn unescaped(text: &str) -> Result<String, &'static str> {
    let digits = |escape: &str| {
        let digits = escape.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(digits) {
        return Err("a % without two hexadecimal digits behind it");
    }
    let spaced = text.replace('+', " ");
    Ok(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// `urldecode`.
pub(super) fn url(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let decode = UrlDecode {
        fields: attempt::pairs(config)?,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::telling(config, decode)
}

#[derive(Debug)]
struct DecodeDuration {
    field: FieldPath,
    /// How many of the unit a second has.
    per_second: f64,
}

impl Attempt for DecodeDuration {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some(text) = attempt::text(event, &self.field, false)? else { return Ok(()) };
        let duration = config::duration(text).filter(|_| text.parse::<f64>().is_err());
        let duration =
            duration.ok_or_else(|| format!("field {} is no duration such as 1.5s: {text:?}", self.field))?;
        let number = Number::from_f64(duration.as_secs_f64() * self.per_second);
        event.put(&self.field, json!(number));
        Ok(())
    }
}

/// `decode_duration`.
pub(super) fn duration(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let per_second = match config.text("format")?.as_deref() {
        None | Some("milliseconds") => 1000.0,
        Some("seconds") => 1.0,
        Some("minutes") => 1.0 / 60.0,
        Some("hours") => 1.0 / 3600.0,
        Some(other) => {
            let problem = format!("{other:?} is unknown: use milliseconds, seconds, minutes or hours");
            return Err(config.mistake("format", problem));
        }
    };
    attempt::telling(config, DecodeDuration { field: attempt::needed(config, "field")?, per_second })
}
