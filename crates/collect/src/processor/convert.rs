//! `convert`: values from one type to another.

use serde_json::{Number, Value, json};

use super::{Flow, Processor};
use crate::config::{Config, Mistake, scalar};
use crate::event::{Event, FieldPath, weight};

#[derive(Clone, Copy, Debug)]
enum Type {
    Integer,
    Long,
    Float,
    Text,
    Boolean,
    Ip,
}

#[derive(Debug)]
struct Convert {
    fields: Vec<(FieldPath, Option<FieldPath>, Option<Type>)>,
    rename: bool,
    ignore_missing: bool,
    fail_on_error: bool,
    tag: Option<String>,
}

impl Processor for Convert {
    fn run(&self, event: &mut Event) -> Flow {
        for (from, to, kind) in &self.fields {
            if let Err(problem) = self.one(event, from, to.as_ref(), *kind)
                && self.fail_on_error
            {
                let tag = self.tag.as_ref().map(|tag| format!(" (tag {tag})")).unwrap_or_default();
                event.put(&FieldPath::new("error.message"), json!(format!("{problem}{tag}")));
                break;
            }
        }
        Flow::Keep
    }
}

impl Convert {
    fn one(
        &self,
        event: &mut Event,
        from: &FieldPath,
        to: Option<&FieldPath>,
        kind: Option<Type>,
    ) -> Result<(), String> {
        let Some(value) = event.get(from) else {
            return if self.ignore_missing {
                Ok(())
            } else {
                Err(format!("field {from} is not in the event"))
            };
        };
        if !self.rename && to.is_some() {
            event.spend(weight(value)).map_err(|error| format!("field {from}: {error}"))?;
        }
        let converted = match kind {
            None => value.clone(),
            Some(kind) => {
                convert(value, kind).ok_or_else(|| format!("field {from} cannot be converted: {value}"))?
            }
        };
        if self.rename && to.is_some() {
            event.remove(from);
        }
        event.put(to.unwrap_or(from), converted);
        Ok(())
    }
}

fn convert(value: &Value, kind: Type) -> Option<Value> {
    let text = scalar(value)?;
    let text = text.trim();
    match kind {
        Type::Integer => integer(text).and_then(|number| i32::try_from(number).ok()).map(Value::from),
        Type::Long => integer(text).map(Value::from),
        Type::Float => Number::from_f64(text.parse().ok()?).map(Value::Number),
        Type::Text => Some(json!(scalar(value)?)),
        Type::Boolean => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(json!(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(json!(false)),
            _ => None,
        },
        Type::Ip => text.parse::<std::net::IpAddr>().ok().map(|_| json!(text)),
    }
}

/// A whole number, `0x1f` too; of a number with a fraction, what is before the point.
fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok().or_else(|| {
            let whole: f64 = text.parse::<f64>().ok()?.trunc();
            // Written without fraction or exponent, so that what does not fit is refused.
            format!("{whole:.0}").parse().ok()
        }),
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    let wrong = || config.mistake("fields", "must be a list of {from, to, type}");
    let list = config.value("fields").and_then(Value::as_array).ok_or_else(wrong)?;
    let mut fields = Vec::with_capacity(list.len());
    for item in list {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let kind = match text("type") {
            None => None,
            Some("integer") => Some(Type::Integer),
            Some("long") => Some(Type::Long),
            Some("float" | "double") => Some(Type::Float),
            Some("string") => Some(Type::Text),
            Some("boolean") => Some(Type::Boolean),
            Some("ip") => Some(Type::Ip),
            Some(other) => {
                let problem =
                    format!("{other:?} is no type: use integer, long, float, double, string, boolean or ip");
                return Err(config.mistake("fields.type", problem));
            }
        };
        fields.push((FieldPath::new(text("from").ok_or_else(wrong)?), text("to").map(FieldPath::new), kind));
    }
    let mode = config.text("mode")?.unwrap_or_else(|| "copy".to_owned());
    if mode != "copy" && mode != "rename" {
        return Err(config.mistake("mode", format!("{mode:?} is unknown: use copy or rename")));
    }
    Ok(Box::new(Convert {
        fields,
        rename: mode == "rename",
        ignore_missing: config.boolean("ignore_missing", false)?,
        fail_on_error: config.boolean("fail_on_error", true)?,
        tag: config.text("tag")?,
    }))
}
