//! `when`: for which events a processor is run.

use serde_json::{Map, Value};

use super::network::{Network, inside};
use crate::config::{Mistake, nested, pattern, scalar};
use crate::event::{Event, FieldPath};

/// A test of one event.
#[derive(Debug)]
pub(super) enum Condition {
    Equals(Vec<(FieldPath, Value)>),
    Contains(Vec<(FieldPath, String)>),
    Regexp(Vec<(FieldPath, regex::Regex)>),
    Range(Vec<(FieldPath, Comparison, f64)>),
    Network(Vec<(FieldPath, Vec<Network>)>),
    HasFields(Vec<FieldPath>),
    Or(Vec<Condition>),
    And(Vec<Condition>),
    Not(Box<Condition>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Reads `{equals: {field: value}}` and its kin. Several tests in one map must all hold.
    pub(super) fn read(value: &Value) -> Result<Condition, Mistake> {
        let map = value
            .as_object()
            .ok_or_else(|| Mistake::new("when", "must be a map, such as equals: {field: value}"))?;
        // `not.contains.tags: x` is short for maps in maps.
        let map = nested(map);
        let mut all = map.iter().map(|(kind, value)| one(kind, value)).collect::<Result<Vec<_>, _>>()?;
        match all.len() {
            0 => Err(Mistake::new("when", "is empty: give a condition, or leave it out")),
            1 => Ok(all.remove(0)),
            _ => Ok(Condition::And(all)),
        }
    }

    pub(super) fn holds(&self, event: &Event) -> bool {
        match self {
            Condition::Equals(tests) => {
                tests.iter().all(|(field, value)| event.get(field).is_some_and(|there| equal(there, value)))
            }
            Condition::Contains(tests) => tests.iter().all(|(field, part)| match event.get(field) {
                Some(Value::String(text)) => text.contains(part.as_str()),
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(|text| text == part),
                _ => false,
            }),
            Condition::Regexp(tests) => tests.iter().all(|(field, pattern)| match event.get(field) {
                Some(Value::Array(list)) => {
                    list.iter().filter_map(Value::as_str).any(|text| pattern.is_match(text))
                }
                Some(value) => scalar(value).is_some_and(|text| pattern.is_match(&text)),
                None => false,
            }),
            Condition::Range(tests) => tests.iter().all(|(field, comparison, bound)| {
                event.get(field).and_then(number).is_some_and(|value| comparison.holds(value, *bound))
            }),
            Condition::Network(tests) => tests.iter().all(|(field, networks)| match event.get(field) {
                Some(Value::Array(list)) => list.iter().any(|value| is_inside(value, networks)),
                Some(value) => is_inside(value, networks),
                None => false,
            }),
            Condition::HasFields(fields) => fields.iter().all(|field| event.get(field).is_some()),
            Condition::Or(all) => all.iter().any(|condition| condition.holds(event)),
            Condition::And(all) => all.iter().all(|condition| condition.holds(event)),
            Condition::Not(condition) => !condition.holds(event),
        }
    }

    /// The top-level fields that it looks at.
    pub(super) fn touches(&self) -> Option<Vec<String>> {
        fn gather<'a>(condition: &'a Condition, into: &mut Vec<&'a FieldPath>) {
            match condition {
                Condition::Equals(tests) => into.extend(tests.iter().map(|test| &test.0)),
                Condition::Contains(tests) => into.extend(tests.iter().map(|test| &test.0)),
                Condition::Regexp(tests) => into.extend(tests.iter().map(|test| &test.0)),
                Condition::Range(tests) => into.extend(tests.iter().map(|test| &test.0)),
                Condition::Network(tests) => into.extend(tests.iter().map(|test| &test.0)),
                Condition::HasFields(fields) => into.extend(fields),
                Condition::Or(all) | Condition::And(all) => all.iter().for_each(|one| gather(one, into)),
                Condition::Not(one) => gather(one, into),
            }
        }
        let mut fields = Vec::new();
        gather(self, &mut fields);
        Some(fields.into_iter().map(|field| field.first().to_owned()).collect())
    }
}

fn one(kind: &str, value: &Value) -> Result<Condition, Mistake> {
    let at = || format!("when.{kind}");
    let wrong = |problem: &str| Mistake::new(at(), problem);
    let fields = || value.as_object().map(flat).ok_or_else(|| wrong("must be a map of fields"));
    let list = || value.as_array().ok_or_else(|| wrong("must be a list"));
    Ok(match kind {
        "equals" => Condition::Equals(
            fields()?.into_iter().map(|(name, value)| (FieldPath::new(&name), value)).collect(),
        ),
        "contains" => Condition::Contains(
            fields()?
                .into_iter()
                .map(|(name, value)| {
                    Ok((FieldPath::new(&name), scalar(&value).ok_or_else(|| wrong("must name texts"))?))
                })
                .collect::<Result<_, _>>()?,
        ),
        "regexp" => Condition::Regexp(
            fields()?
                .into_iter()
                .map(|(name, value)| {
                    let text = scalar(&value).ok_or_else(|| wrong("must name patterns"))?;
                    Ok((FieldPath::new(&name), pattern(&text).map_err(|problem| wrong(&problem))?))
                })
                .collect::<Result<_, _>>()?,
        ),
        "range" => Condition::Range(
            range(&fields()?).ok_or_else(|| wrong("must be fields with lt, lte, gt or gte and a number"))?,
        ),
        "network" => Condition::Network(networks(value).map_err(|problem| wrong(&problem))?),
        "has_fields" => {
            Condition::HasFields(list()?.iter().filter_map(Value::as_str).map(FieldPath::new).collect())
        }
        "or" => Condition::Or(list()?.iter().map(Condition::read).collect::<Result<_, _>>()?),
        "and" => Condition::And(list()?.iter().map(Condition::read).collect::<Result<_, _>>()?),
        "not" => Condition::Not(Box::new(Condition::read(value)?)),
        _ => {
            return Err(wrong(
                "is not a condition: use equals, contains, regexp, range, network, has_fields, or, and, not",
            ));
        }
    })
}

/// Nested maps as dotted names.
fn flat(map: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (key, value) in map {
        match value {
            Value::Object(inner) => {
                out.extend(flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            _ => out.push((key.clone(), value.clone())),
        }
    }
    out
}

fn range(fields: &[(String, Value)]) -> Option<Vec<(FieldPath, Comparison, f64)>> {
    fields
        .iter()
        .map(|(name, value)| {
            let (field, comparison) = name.rsplit_once('.')?;
            let comparison = match comparison {
                "lt" => Comparison::Less,
                "lte" => Comparison::LessOrEqual,
                "gt" => Comparison::Greater,
                "gte" => Comparison::GreaterOrEqual,
                _ => return None,
            };
            Some((FieldPath::new(field), comparison, number(value)?))
        })
        .collect()
}

fn networks(value: &Value) -> Result<Vec<(FieldPath, Vec<Network>)>, String> {
    let map = value.as_object().ok_or("must be a map of fields")?;
    flat(map)
        .into_iter()
        .map(|(name, value)| {
            let texts: Vec<String> = match &value {
                Value::Array(list) => list.iter().filter_map(scalar).collect(),
                other => scalar(other).into_iter().collect(),
            };
            let networks = texts.iter().map(|text| Network::read(text)).collect::<Result<_, _>>()?;
            Ok((FieldPath::new(&name), networks))
        })
        .collect()
}

fn is_inside(value: &Value, networks: &[Network]) -> bool {
    value.as_str().and_then(|text| text.parse().ok()).is_some_and(|address| inside(address, networks))
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::LessOrEqual => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::GreaterOrEqual => value >= bound,
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A policy may say `"200"` where the event says `200`.
fn equal(there: &Value, wanted: &Value) -> bool {
    there == wanted || scalar(there).zip(scalar(wanted)).is_some_and(|(there, wanted)| there == wanted)
}
