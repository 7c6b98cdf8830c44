//! What is wrong with a package policy, field by field.

use schemars::JsonSchema;
use serde::Serialize;

use crate::package::{LayoutInput, Package};

/// What is wrong with a field, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Finding {
    /// As `inputs.<input type>.streams.<dataset>.vars.<name>`.
    pub field: String,
    /// For people.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { field: field.into(), message: message.into() }
    }
}

/// How an input is named in findings: by its type, where that tells which one it is.
pub(crate) fn input_field(package: &Package, layout: &LayoutInput) -> String {
    let is_only = package.inputs_of_kind(&layout.kind) < 2;
    if is_only { format!("inputs.{}", layout.kind) } else { format!("inputs.{}", layout.key()) }
}

/// " (did you mean x?)", or which names there are, or nothing.
pub(crate) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    /// Below this, two names have little to do with each other.
    const LIKE: f64 = 0.7;
    /// More names than these are no help.
    const FEW: usize = 8;
    // What is compared takes time by the square of its length.
    let name: String = name.chars().take(100).collect();
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let nearest = known
        .iter()
        .map(|other| (strsim::jaro_winkler(&name, other), *other))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, other)) => format!(": did you mean {other}?"),
        None if known.is_empty() => String::new(),
        None if known.len() == 1 => format!(": there is only {}", known.concat()),
        None if known.len() <= FEW => format!(": there are {}", known.join(", ")),
        None => String::new(),
    }
}
