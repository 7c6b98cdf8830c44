//! The lines of an INI file.
//!
//! `key=value`, `key="value"`, `key='value'`. `#` and `;` start a comment, at the start of a line and behind a
//! value; a value that contains one must be quoted. A backslash at a line's end joins the next line, without
//! the blanks around it. Keys are lower-cased. Only what stands before the first `[section]` counts.

/// An entry of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
    /// The section that it stands in, and where it means nothing.
    pub(super) section: Option<String>,
}

/// A line that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Reads all lines; what is wrong does not keep the rest from being read.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<BadLine>) {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut section: Option<String> = None;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut joined = line.trim().to_owned();
        while let Some(continued) = joined.strip_suffix('\\') {
            let next = lines.next().map_or("", |(_, next)| next.trim());
            joined = format!("{continued}{next}");
        }
        if joined.is_empty() || joined.starts_with(['#', ';']) {
            continue;
        }
        let line = index + 1;
        if let Some(name) = section_name(&joined) {
            section = Some(name.trim().to_owned());
        } else if let Some((key, value)) = key_and_value(&joined) {
            let (key, value) = (key.to_lowercase(), value.to_owned());
            entries.push(Entry { line, key, value, section: section.clone() });
        } else {
            bad.push(BadLine { line, text: joined });
        }
    }
    (entries, bad)
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim_end_matches([' ', '\t']), value.trim());
    if key.is_empty() || key.contains([' ', '\t']) {
        return None;
    }
    Some((key, quoted(value, '"').or_else(|| quoted(value, '\'')).unwrap_or_else(|| uncommented(value))))
}

/// What stands between quotes, if nothing but a comment follows them.
fn quoted(value: &str, quote: char) -> Option<&str> {
    let (inner, rest) = value.strip_prefix(quote)?.split_once(quote)?;
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with(['#', ';'])).then_some(inner)
}

fn uncommented(value: &str) -> &str {
    value.split(['#', ';']).next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::{BadLine, read};

    fn entries(text: &str) -> Vec<(usize, String, String)> {
        let (entries, bad) = read(text);
        assert_eq!(bad, [], "{text}");
        entries.into_iter().map(|entry| (entry.line, entry.key, entry.value)).collect()
    }

    #[test]
    fn all_forms_of_a_line_are_read() {
        let cases = [
            ("a=1", "1"),
            ("a = 1", "1"),
            ("\t a\t=\t1 \t", "1"),
            ("A=1", "1"),
            ("a=\"x y\"", "x y"),
            ("a='x y'", "x y"),
            ("a=\" x \"", " x "),
            ("a=\"x # y; z\" # comment", "x # y; z"),
            ("a='x' ;comment", "x"),
            ("a=\"it's\"", "it's"),
            ("a='say \"hi\"'", "say \"hi\""),
            ("a=x # comment", "x"),
            ("a=x;comment", "x"),
            ("a=x=y", "x=y"),
            ("a=", ""),
            ("a=\"\"", ""),
            ("a= # comment", ""),
            ("a=[\"x\", \"y\"]", "[\"x\", \"y\"]"),
            ("a=\"x\", \"y\"", "\"x\", \"y\""),
            ("a=x\\\n  y\\\n z", "xyz"),
            ("a=x \\\n  y", "x y"),
            ("a=\"x\\\ny\"", "xy"),
            ("a=x\r\n", "x"),
            ("\u{feff}a=x", "x"),
        ];
        for (text, value) in cases {
            assert_eq!(entries(text), [(1, "a".to_owned(), value.to_owned())], "{text}");
        }
    }

    #[test]
    fn lines_are_counted_through_comments_and_continuations() {
        let text = "# a=1\n\n;b=2\n # c \\\nd=3\ne=\\\n4\nf=5\n\\\n";
        let expected = [(6, "e".to_owned(), "4".to_owned()), (8, "f".to_owned(), "5".to_owned())];
        assert_eq!(entries(text), expected);
        assert_eq!(entries("\\"), []);
        assert_eq!(entries("a=1\\"), [(1, "a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn entries_behind_a_section_are_told_apart() {
        let (entries, bad) = read("a=1\n[ Other ]\nb=2\n[]\nc=3");
        let sections: Vec<_> = entries.iter().map(|entry| entry.section.as_deref()).collect();
        assert_eq!(sections, [None, Some("Other"), Some("")]);
        assert_eq!(bad, []);
    }

    #[test]
    fn other_lines_are_bad_and_keep_nothing_from_being_read() {
        let (entries, bad) = read("nonsense\n=1\na b=1\n[open\nc=1");
        let expected = [(1, "nonsense"), (2, "=1"), (3, "a b=1"), (4, "[open")];
        let expected = expected.map(|(line, text)| BadLine { line, text: text.to_owned() });
        assert_eq!(bad, expected);
        assert_eq!(entries.len(), 1);
    }
}
