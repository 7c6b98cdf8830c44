//! Processors that change texts in place.

use serde_json::{Value, json};

use super::replace::{Failure, Replace};
use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath, Overgrown};

/// Changes the texts of some fields, or says why it cannot.
#[derive(Debug)]
struct Texts {
    fields: Vec<(FieldPath, Change)>,
    ignore_missing: bool,
    fail_on_error: bool,
}

#[derive(Debug)]
enum Change {
    Replace(Replace),
    Bytes(usize),
    Characters(usize),
    Upper,
    Lower,
}

/// What has become of a text.
struct Applied {
    /// Whether something was cut off.
    cut: bool,
    /// By so many bytes it has grown.
    longer: usize,
}

impl Processor for Texts {
    fn run(&self, event: &mut Event) -> Flow {
        for (field, change) in &self.fields {
            let room = event.room();
            let problem = match event.get_mut(field) {
                Some(Value::String(text)) => match change.apply(text, room) {
                    Ok(applied) => {
                        if applied.cut {
                            let flag = ["truncated".to_owned()];
                            super::add::append(event, &FieldPath::new("log.flags"), &flag);
                        }
                        match event.spend(applied.longer) {
                            Ok(()) => continue,
                            Err(error) => format!("field {field}: {error}"),
                        }
                    }
                    Err(Failure::TooLong) => {
                        event.refuse_growth();
                        format!("field {field}: {Overgrown}")
                    }
                    Err(Failure::Late) => {
                        format!("field {field}: to find the pattern in it takes too long: use a simpler one")
                    }
                },
                Some(_) => format!("field {field} is no text"),
                None if self.ignore_missing => continue,
                None => format!("field {field} is not in the event"),
            };
            if self.fail_on_error {
                event.put(&FieldPath::new("error.message"), json!(problem));
                break;
            }
        }
        Flow::Keep
    }
}

impl Change {
    /// Changes a text, which may become longer by `room` bytes.
    ///
    /// # Errors
    /// Why that cannot be done: the text is as it was.
    fn apply(&self, text: &mut String, room: usize) -> Result<Applied, Failure> {
        let before = text.len();
        let cut = match self {
            Change::Replace(replace) => {
                if let Some(new) = replace.apply(text, room)? {
                    *text = new;
                }
                false
            }
            Change::Bytes(most) => {
                let mut end = (*most).min(text.len());
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                let cut = end < text.len();
                text.truncate(end);
                cut
            }
            Change::Characters(most) => match text.char_indices().nth(*most) {
                Some((end, _)) => {
                    text.truncate(end);
                    true
                }
                None => false,
            },
            Change::Upper | Change::Lower => {
                let is_upper = matches!(self, Change::Upper);
                let new = if is_upper { text.to_uppercase() } else { text.to_lowercase() };
                // A letter may become three.
                if new.len() > before.saturating_add(room) {
                    return Err(Failure::TooLong);
                }
                *text = new;
                false
            }
        };
        Ok(Applied { cut, longer: text.len().saturating_sub(before) })
    }
}

/// `replace`.
pub(super) fn replace(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let wrong = || config.mistake("fields", "must be a list of {field, pattern, replacement}");
    let list = config.value("fields").and_then(Value::as_array).ok_or_else(wrong)?;
    let mut fields = Vec::with_capacity(list.len());
    for item in list {
        let text = |key: &str| item.get(key).and_then(Value::as_str).ok_or_else(wrong);
        let pattern = crate::config::pattern(text("pattern")?)
            .map_err(|problem| config.mistake("fields.pattern", problem))?;
        fields.push((
            FieldPath::new(text("field")?),
            Change::Replace(Replace::new(pattern, text("replacement")?)),
        ));
    }
    texts(config, fields)
}

/// `truncate_fields`.
pub(super) fn truncate(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let bytes = config.count("max_bytes", 0)?;
    let characters = config.count("max_characters", 0)?;
    let change = || match (bytes, characters) {
        (0, 0) => Err(config.mistake("max_bytes", "is missing: give max_bytes or max_characters")),
        (0, characters) => Ok(Change::Characters(characters)),
        (bytes, _) => Ok(Change::Bytes(bytes)),
    };
    let fields = config.texts("fields")?;
    let fields =
        fields.iter().map(|field| Ok((FieldPath::new(field), change()?))).collect::<Result<_, Mistake>>()?;
    texts(config, fields)
}

/// `lowercase` and `uppercase`, of values.
pub(super) fn case(config: &Config, upper: bool) -> Result<Box<dyn Processor>, Mistake> {
    let fields = config.texts("values")?;
    let fields = if fields.is_empty() { config.texts("fields")? } else { fields };
    let change = || if upper { Change::Upper } else { Change::Lower };
    texts(config, fields.iter().map(|field| (FieldPath::new(field), change())).collect())
}

fn texts(config: &Config, fields: Vec<(FieldPath, Change)>) -> Result<Box<dyn Processor>, Mistake> {
    if fields.is_empty() {
        return Err(config.mistake("fields", "is missing: name the fields"));
    }
    Ok(Box::new(Texts {
        fields,
        ignore_missing: config.boolean("ignore_missing", false)?,
        fail_on_error: config.boolean("fail_on_error", true)?,
    }))
}
