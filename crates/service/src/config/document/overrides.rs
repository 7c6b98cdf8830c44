//! Overrides from the command line: `key=value`.
//!
//! A value is a word, a text in quotes, `a,b` or `[a, b]`, `{x: 1}`, each with `${…}` in it if need be. A key
//! alone means `true`; a key with nothing behind its `=` is ignored.

use super::tree::{self, Map, Meeting, Node, Scalar, Style, Value};
use crate::config::{Mistake, Place};

/// How deep lists and objects may stand in each other.
const DEEPEST: usize = 16;

/// Reads overrides, the last of a key wins.
pub(super) fn read(overrides: &[String], shorthands: &[(&str, &str)], mistakes: &mut Vec<Mistake>) -> Map {
    let mut map = Map::new();
    for text in overrides {
        let (key, value) = match text.split_once('=') {
            Some((_, "")) => continue,
            Some((key, value)) => (key.trim(), value),
            None => (text.trim(), "true"),
        };
        let place = Place::Override(key.to_owned());
        match parse(value, &place) {
            Ok(node) => {
                let key = tree::spelled_out(key, &node, shorthands);
                tree::insert(&mut map, &key, node, Meeting::Overrides, mistakes);
            }
            Err(problem) => {
                let text = format!(
                    "{key} has a value that cannot be read: {problem}; a text that is meant as it stands goes \
                     into quotes"
                );
                mistakes.push(Mistake { key: Some(key.to_owned()), place, text });
            }
        }
    }
    map
}

fn parse(text: &str, place: &Place) -> Result<Node, String> {
    let mut reader = Reader { rest: text.trim(), place };
    let first = reader.value(&[','], 0)?;
    if reader.rest.is_empty() {
        return Ok(first);
    }
    let mut items = vec![first];
    while reader.take(',') {
        reader.blanks();
        // `a,` is a list of one.
        if !reader.rest.is_empty() {
            items.push(reader.value(&[','], 0)?);
        }
    }
    match reader.rest {
        "" => Ok(reader.node(Value::List(items))),
        // Not repeated, here as elsewhere: it may be a part of a password.
        _ => Err("something stands behind its end".to_owned()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    place: &'a Place,
}

impl Reader<'_> {
    fn node(&self, value: Value) -> Node {
        Node::new(self.place.clone(), value)
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, ends: &[char], depth: usize) -> Result<Node, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} levels"));
        }
        self.blanks();
        let value = match self.rest.chars().next() {
            Some('[') => self.list(depth)?,
            Some('{') => self.object(depth)?,
            Some(quote @ ('"' | '\'')) => Value::Scalar(Scalar::new(self.quoted(quote)?, Style::Quoted)),
            _ => self.word(ends)?,
        };
        self.blanks();
        Ok(self.node(value))
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        self.take('[');
        let mut items = Vec::new();
        loop {
            if self.take(']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(&[',', ']'], depth + 1)?);
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err("a [ is not closed by a ]".to_owned());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        self.take('{');
        let mut map = Map::new();
        loop {
            if self.take('}') {
                return Ok(Value::Map(map));
            }
            self.blanks();
            let key = match self.rest.chars().next() {
                Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                _ => self.until(&[':', ',', '}']),
            };
            if !self.take(':') {
                return Err("a key in {…} has no : and value".to_owned());
            }
            let node = self.value(&[',', '}'], depth + 1)?;
            let mut mistakes = Vec::new();
            tree::insert(&mut map, &key, node, Meeting::Clash, &mut mistakes);
            if let Some(mistake) = mistakes.pop() {
                return Err(mistake.text);
            }
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err("a { is not closed by a }".to_owned());
            }
        }
    }

    /// In double quotes a backslash takes the next letter as it is, or stands for a line's end or a tab.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.take(quote);
        let mut text = String::new();
        let mut letters = self.rest.chars();
        loop {
            match letters.next() {
                None => return Err("a quote is not closed".to_owned()),
                Some('\\') if quote == '"' => match letters.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(letter) => text.push(letter),
                    None => return Err("a quote is not closed".to_owned()),
                },
                Some(letter) if letter == quote => {
                    self.rest = letters.as_str();
                    return Ok(text);
                }
                Some(letter) => text.push(letter),
            }
        }
    }

    fn word(&mut self, ends: &[char]) -> Result<Value, String> {
        let text = self.until(ends);
        match text.as_str() {
            "" => Err("a value is missing".to_owned()),
            "null" => Ok(Value::Null),
            _ => Ok(Value::Scalar(Scalar::new(text, Style::Inserted))),
        }
    }

    /// What stands before the next of these, which do not count inside `${…}`.
    fn until(&mut self, ends: &[char]) -> String {
        let mut open = 0_usize;
        let mut before = '\0';
        let is_end = |letter: char| {
            match letter {
                '{' if before == '$' => open += 1,
                '}' if open > 0 => {
                    open -= 1;
                    before = letter;
                    return false;
                }
                _ => {}
            }
            before = letter;
            open == 0 && ends.contains(&letter)
        };
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        text.trim().to_owned()
    }
}

/// The items that a text stands for where a list is wanted: `a,b`, `[a, b]`, or one.
pub(super) fn items(text: &str, place: &Place) -> Vec<Node> {
    match parse(text, place) {
        Ok(Node { value: Value::List(items), .. }) => items,
        // In quotes, so that its commas are its own.
        Ok(node @ Node { value: Value::Scalar(Scalar { style: Style::Quoted, .. }), .. }) => vec![node],
        _ => vec![Node::new(place.clone(), Value::Scalar(Scalar::new(text, Style::Inserted)))],
    }
}
