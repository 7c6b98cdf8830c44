//! Quotes text the way Go's `%q` does: error texts that clients know contain it.

use std::fmt;

/// Displays its text in double quotes, special characters escaped.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            write_escaped(f, c, '"')?;
        }
        f.write_str("\"")
    }
}

/// Displays its character in single quotes, escaped if special.
pub(crate) struct QuotedChar(pub(crate) char);

impl fmt::Display for QuotedChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        write_escaped(f, self.0, '\'')?;
        f.write_str("'")
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, c: char, quote: char) -> fmt::Result {
    match c {
        '\\' => f.write_str("\\\\"),
        '\u{07}' => f.write_str("\\a"),
        '\u{08}' => f.write_str("\\b"),
        '\u{0c}' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\u{0b}' => f.write_str("\\v"),
        c if c == quote => write!(f, "\\{c}"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32),
        c if is_printable(c) => write!(f, "{c}"),
        c if (c as u32) < 0x10000 => write!(f, "\\u{:04x}", c as u32),
        c => write!(f, "\\U{:08x}", c as u32),
    }
}

/// Rust's own notion of what debug output shows as it is; blanks other than the plain one are not printed.
fn is_printable(c: char) -> bool {
    c == ' ' || c == '\'' || c == '"' || (!c.is_whitespace() && c.escape_debug().len() == 1)
}

#[cfg(test)]
mod tests {
    use super::{Quoted, QuotedChar};

    #[test]
    fn text_is_quoted_as_go_does() {
        let cases = [
            ("foo", r#""foo""#),
            ("", r#""""#),
            (r#"a"b'c\d"#, r#""a\"b'c\\d""#),
            ("a\n\t\u{1}\u{7f}", r#""a\n\t\x01\x7f""#),
            ("größe\u{a0}\u{feff}", r#""größe\u00a0\ufeff""#),
        ];
        for (text, expected) in cases {
            assert_eq!(Quoted(text).to_string(), expected);
        }
        assert_eq!(QuotedChar(' ').to_string(), "' '");
        assert_eq!(QuotedChar('\'').to_string(), r"'\''");
        assert_eq!(QuotedChar('\n').to_string(), r"'\n'");
    }
}
