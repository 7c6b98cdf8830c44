//! The reader of unit files.
//!
//! The rules are those of go-systemd's `unit.Deserialize`, which the original reads files with, quirks
//! included, because a unit's hash depends on each of them:
//!
//! * What stands before the first `[` is ignored; there, `#` and `;` start a comment anywhere.
//! * A section's name ends at the first `]`, be it lines away, and is not trimmed.
//! * After that, `#` and `;` start a comment only as the first visible character of a line. A comment is
//!   continued by a backslash at its end (one blank may follow).
//! * A line that ends in a backslash is continued by the next one, unless that one is blank. Backslash and
//!   newline stay in the value. No comment is recognised in a continuation.
//! * Name and value lose the blanks around them, by Unicode's notion of blanks.
//! * A line of [`MAX_LINE`] bytes or more is refused. The original looks only at what its read buffer
//!   happens to hold, so in files of more than 4 KiB it misses some; here all are found.

/// A line must be shorter than this, in bytes (systemd's `LINE_MAX`).
pub const MAX_LINE: usize = 2048;

use crate::option::UnitOption;

/// Why a text is not a unit file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A `[` without a `]`.
    #[error("unable to find end of section")]
    UnclosedSection,
    /// Something other than blanks follows the `]`.
    #[error("found garbage after section name {section}: {garbage}")]
    GarbageAfterSection {
        /// The section.
        section: String,
        /// What follows.
        garbage: String,
    },
    /// A line that is neither section, comment nor option: it has no `=`.
    #[error("unexpected newline encountered while parsing option name")]
    NewlineInName,
    /// The same in the last line, which has no newline either.
    #[error("unexpected end of file encountered while parsing option name")]
    EndInName,
    /// A line has [`MAX_LINE`] bytes or more.
    #[error("line too long (max {MAX_LINE} bytes)")]
    LineTooLong,
}

/// Reads all options of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<UnitOption>, ParseError> {
    let mut reader = Reader { text, position: 0 };
    let mut options = Vec::new();
    reader.skip_to_first_section()?;
    let mut section = "";
    while let Some(c) = reader.peek() {
        reader.check_line()?;
        if c == '[' {
            section = reader.section()?;
        } else if is_comment(c) {
            reader.skip_comment(c)?;
        } else if c.is_whitespace() {
            reader.skip(c);
        } else {
            options.push(reader.option(section)?);
        }
    }
    Ok(options)
}

/// A value without the blanks around it. A newline stays if a backslash before it makes it a continuation:
/// without it, the backslash would continue with the next option.
pub(crate) fn trim_value(value: &str) -> &str {
    let leading = value.len() - value.trim_start().len();
    let trimmed = value.trim();
    if trimmed.ends_with('\\') && value[leading + trimmed.len()..].starts_with('\n') {
        &value[leading..=leading + trimmed.len()]
    } else {
        trimmed
    }
}

fn is_comment(c: char) -> bool {
    c == '#' || c == ';'
}

struct Reader<'a> {
    text: &'a str,
    /// A byte offset, always between two characters.
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self, c: char) {
        self.position += c.len_utf8();
    }

    /// Goes to the next line; answers what is left of this one, and whether the file ended before a newline.
    fn line(&mut self) -> (&'a str, bool) {
        let rest = self.rest();
        if let Some((line, _)) = rest.split_once('\n') {
            self.position += line.len() + 1;
            (line, false)
        } else {
            self.position = self.text.len();
            (rest.strip_suffix('\r').unwrap_or(rest), true)
        }
    }

    /// Refuses a line that goes on for too long from here.
    fn check_line(&self) -> Result<(), ParseError> {
        match self.rest().as_bytes().get(..MAX_LINE) {
            // The very first byte was not looked at by the original: its buffer was empty then.
            Some(_) if self.position == 0 => Ok(()),
            Some(start) if !start.iter().any(|byte| matches!(byte, b'\n' | b'\r')) => {
                Err(ParseError::LineTooLong)
            }
            _ => Ok(()),
        }
    }

    fn skip_to_first_section(&mut self) -> Result<(), ParseError> {
        while let Some(c) = self.peek() {
            self.check_line()?;
            if c == '[' {
                break;
            } else if is_comment(c) {
                self.skip_comment(c)?;
            } else {
                self.skip(c);
            }
        }
        Ok(())
    }

    fn skip_comment(&mut self, c: char) -> Result<(), ParseError> {
        self.skip(c);
        self.check_line()?;
        loop {
            let (line, end) = self.line();
            if end || !line.strip_suffix(' ').unwrap_or(line).ends_with('\\') {
                return Ok(());
            }
        }
    }

    /// Reads `[name]` and what is left of the line.
    fn section(&mut self) -> Result<&'a str, ParseError> {
        self.skip('[');
        self.check_line()?;
        let (section, _) = self.rest().split_once(']').ok_or(ParseError::UnclosedSection)?;
        self.position += section.len() + 1;
        self.check_line()?;
        let (garbage, _) = self.line();
        match garbage.trim() {
            "" => Ok(section),
            garbage => Err(ParseError::GarbageAfterSection {
                section: section.to_owned(),
                garbage: garbage.to_owned(),
            }),
        }
    }

    fn option(&mut self, section: &str) -> Result<UnitOption, ParseError> {
        let rest = self.rest();
        let end = rest.find(['=', '\n', '\r']).ok_or(ParseError::EndInName)?;
        if !rest[end..].starts_with('=') {
            return Err(ParseError::NewlineInName);
        }
        self.position += end + 1;
        let name = rest[..end].trim();
        let value = self.value()?;
        let option = UnitOption::new(section, name, trim_value(&value));
        // Blanks before a value may hide a carriage return, and with it that the line is too long.
        if option.first_line_length() >= MAX_LINE && !option.value.contains('\r') {
            return Err(ParseError::LineTooLong);
        }
        Ok(option)
    }

    fn value(&mut self) -> Result<String, ParseError> {
        let mut value = String::new();
        loop {
            self.check_line()?;
            let (line, end) = self.line();
            if line.trim().is_empty() {
                break;
            }
            value.push_str(line);
            if end || !line.ends_with('\\') {
                break;
            }
            value.push('\n');
        }
        Ok(value)
    }
}
