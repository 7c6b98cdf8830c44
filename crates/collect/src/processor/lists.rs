//! Lists: made of comma-separated values (`decode_csv_fields`), taken apart into fields (`extract_array`).

use serde_json::{Value, json};

use super::Processor;
use super::attempt::{self, Attempt};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath, weight};

#[derive(Debug)]
struct DecodeCsv {
    fields: Vec<(FieldPath, FieldPath)>,
    separator: u8,
    trim_leading_space: bool,
    overwrite: bool,
    ignore_missing: bool,
}

impl Attempt for DecodeCsv {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let mut decoded = Vec::with_capacity(self.fields.len());
        for (from, to) in &self.fields {
            let Some(text) = attempt::text(event, from, self.ignore_missing)? else { continue };
            if !self.overwrite && from != to && event.get(to).is_some() {
                return Err(format!("target field {to} already exists: drop or rename it first"));
            }
            let record = self.record(text).map_err(|error| format!("field {from} is no CSV: {error}"))?;
            decoded.push((to, record));
        }
        decoded.into_iter().for_each(|(to, record)| event.put(to, record));
        Ok(())
    }
}

impl DecodeCsv {
    /// The first record of a text.
    fn record(&self, text: &str) -> Result<Value, csv::Error> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(self.separator)
            .from_reader(text.as_bytes());
        let mut record = csv::StringRecord::new();
        reader.read_record(&mut record)?;
        let space = |text| if self.trim_leading_space { str::trim_start(text) } else { text };
        Ok(record.iter().map(|value| json!(space(value))).collect())
    }
}

/// `decode_csv_fields`.
pub(super) fn csv(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let wrong = || config.mistake("fields", "must be a map of fields, each with the field for its values");
    let fields = attempt::mapped(config, "fields")?.into_iter();
    let fields = fields.map(|(from, to)| Ok((from, FieldPath::new(to.as_str().ok_or_else(wrong)?))));
    let separator = config.text("separator")?.unwrap_or_else(|| ",".to_owned());
    let [separator] = *separator.as_bytes() else {
        return Err(config.mistake("separator", format!("{separator:?} must be one character of ASCII")));
    };
    let decode = DecodeCsv {
        fields: fields.collect::<Result<_, _>>()?,
        separator,
        trim_leading_space: config.boolean("trim_leading_space", false)?,
        overwrite: config.boolean("overwrite_keys", false)?,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::telling(config, decode)
}

#[derive(Debug)]
struct ExtractArray {
    field: FieldPath,
    mappings: Vec<(FieldPath, usize)>,
    overwrite: bool,
    omit_empty: bool,
    ignore_missing: bool,
}

impl Attempt for ExtractArray {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let list = match event.get(&self.field) {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(format!("field {} is no list", self.field)),
            None if self.ignore_missing => return Ok(()),
            None => return Err(format!("field {} is not in the event", self.field)),
        };
        let mut taken = Vec::with_capacity(self.mappings.len());
        for (to, index) in &self.mappings {
            let value = list.get(*index).ok_or_else(|| format!("field {} has no [{index}]", self.field))?;
            if self.omit_empty && (value.is_null() || value == "") {
                continue;
            }
            if !self.overwrite && event.get(to).is_some() {
                return Err(format!("target field {to} already exists: drop or rename it first"));
            }
            event.spend(weight(value)).map_err(|error| format!("field {}: {error}", self.field))?;
            taken.push((to, value.clone()));
        }
        taken.into_iter().for_each(|(to, value)| event.put(to, value));
        Ok(())
    }
}

/// `extract_array`.
pub(super) fn extract(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let wrong =
        || config.mistake("mappings", "must be a map of fields, each with a place in the list, from 0");
    let place =
        |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok()).ok_or_else(wrong);
    let mappings = attempt::mapped(config, "mappings")?.into_iter();
    let mappings = mappings.map(|(to, index)| Ok((to, place(&index)?)));
    let extract = ExtractArray {
        field: attempt::needed(config, "field")?,
        mappings: mappings.collect::<Result<_, _>>()?,
        overwrite: config.boolean("overwrite_keys", false)?,
        omit_empty: config.boolean("omit_empty", false)?,
        ignore_missing: config.boolean("ignore_missing", false)?,
    };
    attempt::telling(config, extract)
}
