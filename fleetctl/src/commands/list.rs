//! What the three lists have in common.

use serde::Serialize;

use crate::cli::{Format, ListOptions};
use crate::context::{Context, Failure};
use crate::output::align;
use crate::yaml::to_text;

/// The columns that a list is to print.
pub(super) struct Columns {
    names: Vec<String>,
}

impl Columns {
    /// Reads `--fields`; every name must be one of `known`.
    pub(super) fn parse(fields: &str, known: &[&str]) -> Result<Columns, Failure> {
        if fields.is_empty() {
            return Err(Failure::new(format!("Must define output format: --fields={}", known.join(","))));
        }
        let names: Vec<String> = fields.split(',').map(str::to_owned).collect();
        match names.iter().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(Failure::new(format!(
                "Invalid key in output format: {unknown:?}. Valid are {}",
                known.join(",")
            ))),
            None => Ok(Columns { names }),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Prints the rows below their legend.
    pub(super) fn print(&self, context: &Context, options: &ListOptions, rows: Vec<Vec<String>>) {
        let mut table = Vec::with_capacity(rows.len() + 1);
        if !options.no_legend {
            table.push(self.names.iter().map(|name| name.to_uppercase()).collect());
        }
        table.extend(rows);
        context.console.data(align(&table).as_bytes());
    }
}

/// Prints data for a program.
pub(super) fn print_data(context: &Context, format: Format, data: &impl Serialize) -> Result<(), Failure> {
    let value = serde_json::to_value(data)
        .map_err(|error| Failure::new(format!("Error writing the list: {error}")))?;
    match format {
        Format::Json => context.console.line(format_args!("{value:#}")),
        Format::Yaml => context.console.data(to_text(&value).as_bytes()),
    }
    Ok(())
}

/// A cell that shows when there is nothing.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
