//! What is said when a command line cannot be read: in the words that users of the original know.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use thiserror::Error;

use super::nouns::is_remote;

/// A command line that makes no sense. Exit code 2.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    message: String,
}

impl UsageError {
    /// The same error, saying that the value came from a variable.
    pub(super) fn because_of(self, variable: &str) -> UsageError {
        UsageError { message: format!("{} (set by the variable {variable})", self.message) }
    }
}

/// Says what is wrong with the command line that consists of `words`.
pub(super) fn explain(definition: &clap::Command, words: &[OsString], error: &clap::Error) -> UsageError {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = word(ContextKind::InvalidSubcommand).unwrap_or_default();
            let (path, command) = command_of(definition, words, &name);
            unknown(&path, command, &name)
        }
        ErrorKind::UnknownArgument => {
            let flag = word(ContextKind::InvalidArg).unwrap_or_default();
            if flag.starts_with("--") {
                format!("unknown flag: {flag}{}", suggestion(error))
            } else if flag.starts_with('-') {
                format!("unknown shorthand flag: {flag}")
            } else {
                format!("unexpected argument {flag:?}")
            }
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let flag = word(ContextKind::InvalidArg).unwrap_or_default();
            let flag = flag.split([' ', '=', '[']).next().unwrap_or_default();
            match word(ContextKind::InvalidValue) {
                Some(value) if !value.is_empty() => {
                    format!("invalid argument {value:?} for {flag}: {}", reason(error))
                }
                _ => format!("flag needs an argument: {flag}"),
            }
        }
        _ => plain(error),
    };
    UsageError { message }
}

/// The command whose verb `name` should be, and how it is called.
fn command_of<'a>(
    definition: &'a clap::Command,
    words: &[OsString],
    name: &str,
) -> (String, &'a clap::Command) {
    let (mut path, mut command) = (definition.get_name().to_owned(), definition);
    let texts = words.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != name);
    for inner in texts {
        if let Some(found) = command.find_subcommand(inner) {
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    (path, command)
}

/// What is said of a command that does not exist, with those that may have been meant.
pub(crate) fn unknown_command(definition: &clap::Command, name: &str) -> String {
    unknown("fleetctl", definition, name)
}

fn unknown(path: &str, definition: &clap::Command, name: &str) -> String {
    let mut message = format!("unknown command {name:?} for {path:?}");
    let similar: Vec<&str> = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|known| {
            !name.is_empty() && (known.starts_with(name) || distance(known, name) <= nearness(known))
        })
        .collect();
    if !similar.is_empty() {
        message.push_str("\n\nDid you mean this?");
        for known in similar {
            message.push_str("\n\t");
            message.push_str(known);
        }
        message.push('\n');
    }
    message
}

fn suggestion(error: &clap::Error) -> String {
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => format!(". Did you mean {flag}?"),
        _ => String::new(),
    }
}

fn reason(error: &clap::Error) -> String {
    use std::error::Error as _;
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => format!("expected one of {}", values.join(", ")),
        _ => "not a valid value".to_owned(),
    }
}

/// clap's own words without its prefix and usage lines.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\nUsage:").next().unwrap_or_default().trim_end().to_owned()
}

/// How far off a name may be to have been meant: what is told of the commands of units is what users of the
/// original know.
fn nearness(command: &str) -> usize {
    if is_remote(command) { 1 } else { 2 }
}

/// How many characters must be inserted, removed or changed to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("start", "start"), 0);
        assert_eq!(distance("start", "strat"), 2);
        assert_eq!(distance("", "cat"), 3);
        assert_eq!(distance("destroy", "destory"), 2);
    }
}
