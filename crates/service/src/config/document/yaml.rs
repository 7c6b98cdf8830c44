//! YAML, read into a tree.
//!
//! A configuration is one document of maps, lists and scalars. Anchors, aliases and `<<` work. What a scalar
//! means is decided by whoever asks for it, not here.

use std::collections::HashMap;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::tree::{self, DEEPEST, Map, Meeting, Node, Scalar, Style, Value};
use crate::config::{Mistake, Place};

/// The most values in a file. Aliases count as what they stand for, so that a few lines cannot fill the memory.
const MOST_VALUES: usize = 50_000;

/// The largest file that is read, in bytes.
pub(super) const LARGEST_FILE: usize = 4 * 1024 * 1024;

/// Reads a file's bytes. What is wrong is told; what could be read is answered.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    shorthands: &[(&str, &str)],
    mistakes: &mut Vec<Mistake>,
) -> Map {
    let (open, anchors) = (Vec::new(), HashMap::new());
    let mut reader = Reader { path, shorthands, mistakes, open, anchors, values: 0, root: None };
    if bytes.len() > LARGEST_FILE {
        reader.complain(1, format!("the file is larger than {LARGEST_FILE} bytes"));
        return Map::new();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => reader.read(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            reader.complain(line, "the file is not UTF-8 text".to_owned());
        }
    }
    match reader.root.take() {
        Some(Node { value: Value::Map(map), .. }) => map,
        None | Some(Node { value: Value::Null, .. }) => Map::new(),
        Some(other) => {
            let text = format!("the file must hold keys and values (key: value), not {}", other.kind());
            mistakes.push(Mistake { key: None, place: other.place, text });
            Map::new()
        }
    }
}

/// A list or a map whose end has not come yet.
enum Open {
    List { line: usize, anchor: usize, items: Vec<Node> },
    Map { line: usize, anchor: usize, entries: Map, key: Option<(String, usize)>, merged: Vec<Node> },
}

struct Reader<'a> {
    path: &'a Path,
    /// Of the outermost map.
    shorthands: &'a [(&'a str, &'a str)],
    mistakes: &'a mut Vec<Mistake>,
    open: Vec<Open>,
    /// By the parser's number: the value, and how many values it holds.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
    root: Option<Node>,
}

/// Reading ends here: what follows cannot be trusted.
struct Stop;

impl Reader<'_> {
    fn read(&mut self, text: &str) {
        for event in Parser::new_from_str(text) {
            let outcome = match event {
                Ok((event, span)) => self.event(event, span),
                Err(error) => {
                    let text = format!("this is not YAML: {}", error.info());
                    self.complain(error.marker().line(), text);
                    Err(Stop)
                }
            };
            if outcome.is_err() {
                self.root = None;
                return;
            }
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                self.value(Node::new(self.place(line), value), line, anchor, 1)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some((node, count)) => self.value(node, line, 0, count),
                None => self.stop(line, "an alias stands inside the value that it is for"),
            },
            Event::SequenceStart(anchor, _) => {
                self.descend(line, Open::List { line, anchor, items: Vec::new() })
            }
            Event::MappingStart(anchor, _) => {
                let (entries, merged) = (Map::new(), Vec::new());
                self.descend(line, Open::Map { line, anchor, entries, key: None, merged })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentStart(_) if self.root.is_some() => {
                self.stop(line, "a second document begins here (---): put all keys into one")
            }
            _ => Ok(()),
        }
    }

    fn descend(&mut self, line: usize, open: Open) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            return self.stop(line, &format!("values are nested deeper than {DEEPEST} levels"));
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return self.stop(line, "a key must be a word, not a list or a map");
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        match self.open.pop() {
            Some(Open::List { line, anchor, items }) => {
                let node = Node::new(self.place(line), Value::List(items));
                self.value(node, line, anchor, 1)
            }
            Some(Open::Map { line, anchor, mut entries, merged, .. }) => {
                // What is merged in by `<<` gives way to what stands beside it.
                for node in merged {
                    if let Value::Map(map) = node.value {
                        for (key, node) in map {
                            entries.entry(key).or_insert(node);
                        }
                    }
                }
                let node = Node::new(self.place(line), Value::Map(entries));
                self.value(node, line, anchor, 1)
            }
            None => Ok(()),
        }
    }

    /// Takes a complete value: as a key, an item, an entry's value, or the whole document.
    fn value(&mut self, mut node: Node, line: usize, anchor: usize, count: usize) -> Result<(), Stop> {
        self.values += count;
        if self.values > MOST_VALUES {
            return self.stop(line, &format!("there are more than {MOST_VALUES} values"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size(&node)));
        }
        let shorthands = if self.open.len() == 1 { self.shorthands } else { &[] };
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { key: slot @ None, .. }) => match node.value {
                Value::Scalar(scalar) => *slot = Some((scalar.text, line)),
                _ => return self.stop(line, "a key must be a word"),
            },
            Some(Open::Map { key: slot @ Some(_), entries, merged, .. }) => {
                let Some((key, line)) = slot.take() else { return Ok(()) };
                if key == "<<" {
                    match node.value {
                        Value::List(items) => merged.extend(items),
                        _ => merged.push(node),
                    }
                    return Ok(());
                }
                // The key's line is what people look for, even if the value begins on the next.
                node.place = Place::File(self.path.to_owned(), line);
                let key = tree::spelled_out(&key, &node, shorthands);
                tree::insert(entries, &key, node, Meeting::Clash, self.mistakes);
            }
        }
        Ok(())
    }

    fn place(&self, line: usize) -> Place {
        Place::File(self.path.to_owned(), line)
    }

    fn complain(&mut self, line: usize, text: String) {
        self.mistakes.push(Mistake { key: None, place: self.place(line), text });
    }

    fn stop(&mut self, line: usize, text: &str) -> Result<(), Stop> {
        self.complain(line, text.to_owned());
        Err(Stop)
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Value::Scalar(Scalar::new(text, Style::Quoted));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::Scalar(Scalar::new(text, Style::Plain)),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
